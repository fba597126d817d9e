//! The operations: one struct per driver method, which can run again on another connection.

use std::sync::Arc;

use bytes::Buf;
use futures_util::future::BoxFuture;
use tokio_postgres::types::{BorrowToSql, ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};
use wrapper_core::session::Operation;
use wrapper_core::{Error, ErrorKind, Result};

use super::send;
use crate::connection::PgConnection;
use crate::statement::{Statement, StatementRef};

type Connection = Arc<PgConnection>;

/// Sends a request of the raw client with the raw statement, whichever form it has. The request is pinned where it is
/// made: the driver's futures are large, and every move of one is a copy.
macro_rules! with_statement {
    ($connection:expr, $operation:literal, $statement:expr, |$client:ident, $raw:ident| $request:expr) => {{
        let $client = $connection.client();
        match $statement {
            StatementRef::Sql(sql) => {
                let $raw = sql;
                let request = std::pin::pin!($request);
                send($connection, $operation, Some(sql), request).await
            }
            StatementRef::Prepared(statement) => {
                let prepared = match statement.ready_on($connection) {
                    Some(prepared) => prepared,
                    None => Box::pin(statement.on($connection)).await?,
                };
                let $raw = &prepared;
                let request = std::pin::pin!($request);
                // As `send` does, with what is known of the text; written out, because this is nearly every call.
                let started = $connection.start(statement.announced());
                let unheard = $connection.unheard(statement.observed());
                let answer = request.await;
                unheard.over();
                match answer {
                    Ok(out) => {
                        $connection.succeeded(statement.observed());
                        Ok(out)
                    }
                    Err(error) => Err($connection.failed(error, &started, $operation)),
                }
            }
        }
    }};
}

pub(crate) struct Query<'a> {
    pub(crate) statement: StatementRef<'a>,
    pub(crate) params: &'a [&'a (dyn ToSql + Sync)],
}

impl Operation<PgConnection> for Query<'_> {
    type Out = Vec<Row>;
    async fn run(&self, connection: &Connection) -> Result<Vec<Row>> {
        with_statement!(connection, "query", self.statement, |client, raw| client.query(raw, self.params))
    }
}

pub(crate) struct Execute<'a> {
    pub(crate) statement: StatementRef<'a>,
    pub(crate) params: &'a [&'a (dyn ToSql + Sync)],
}

impl Operation<PgConnection> for Execute<'_> {
    type Out = u64;
    async fn run(&self, connection: &Connection) -> Result<u64> {
        with_statement!(connection, "execute", self.statement, |client, raw| client.execute(raw, self.params))
    }
}

pub(crate) struct ExecuteRaw<'a, P> {
    pub(crate) statement: StatementRef<'a>,
    pub(crate) params: Vec<P>,
}

impl<P: BorrowToSql + Send + Sync> Operation<PgConnection> for ExecuteRaw<'_, P> {
    type Out = u64;
    async fn run(&self, connection: &Connection) -> Result<u64> {
        with_statement!(connection, "execute", self.statement, |client, raw| client
            .execute_raw(raw, self.params.iter().map(BorrowToSql::borrow_to_sql)))
    }
}

pub(crate) struct RawQuery<'a, P> {
    pub(crate) statement: StatementRef<'a>,
    pub(crate) params: Vec<P>,
}

impl<P: BorrowToSql + Send + Sync> Operation<PgConnection> for RawQuery<'_, P> {
    type Out = (tokio_postgres::RowStream, Connection);
    async fn run(&self, connection: &Connection) -> Result<Self::Out> {
        let stream = with_statement!(connection, "query_raw", self.statement, |client, raw| client
            .query_raw(raw, self.params.iter().map(BorrowToSql::borrow_to_sql)))?;
        Ok((stream, Arc::clone(connection)))
    }
}

pub(crate) struct QueryTyped<'a> {
    pub(crate) sql: &'a str,
    pub(crate) params: &'a [(&'a (dyn ToSql + Sync), Type)],
}

impl Operation<PgConnection> for QueryTyped<'_> {
    type Out = Vec<Row>;
    async fn run(&self, connection: &Connection) -> Result<Vec<Row>> {
        let request = connection.client().query_typed(self.sql, self.params);
        send(connection, "query_typed", Some(self.sql), request).await
    }
}

pub(crate) struct QueryTypedRaw<'a, P> {
    pub(crate) sql: &'a str,
    pub(crate) params: Vec<(P, Type)>,
}

impl<P: BorrowToSql + Send + Sync> Operation<PgConnection> for QueryTypedRaw<'_, P> {
    type Out = (tokio_postgres::RowStream, Connection);
    async fn run(&self, connection: &Connection) -> Result<Self::Out> {
        let params = self.params.iter().map(|(value, type_)| (value.borrow_to_sql(), type_.clone()));
        let request = connection.client().query_typed_raw(self.sql, params);
        let stream = send(connection, "query_typed_raw", Some(self.sql), request).await?;
        Ok((stream, Arc::clone(connection)))
    }
}

pub(crate) struct ExecuteTyped<'a> {
    pub(crate) sql: &'a str,
    pub(crate) params: &'a [(&'a (dyn ToSql + Sync), Type)],
}

impl Operation<PgConnection> for ExecuteTyped<'_> {
    type Out = u64;
    async fn run(&self, connection: &Connection) -> Result<u64> {
        let request = connection.client().execute_typed(self.sql, self.params);
        send(connection, "execute_typed", Some(self.sql), request).await
    }
}

pub(crate) struct Prepare<'a> {
    pub(crate) sql: &'a str,
    pub(crate) types: &'a [Type],
}

impl Operation<PgConnection> for Prepare<'_> {
    type Out = Statement;
    async fn run(&self, connection: &Connection) -> Result<Statement> {
        Statement::prepare(connection, self.sql, self.types).await
    }
}

pub(crate) struct Batch<'a>(pub(crate) &'a str);

impl Operation<PgConnection> for Batch<'_> {
    type Out = ();
    async fn run(&self, connection: &Connection) -> Result<()> {
        send(connection, "batch_execute", Some(self.0), connection.client().batch_execute(self.0)).await
    }
}

pub(crate) struct SimpleQuery<'a>(pub(crate) &'a str);

impl Operation<PgConnection> for SimpleQuery<'_> {
    type Out = Vec<SimpleQueryMessage>;
    async fn run(&self, connection: &Connection) -> Result<Vec<SimpleQueryMessage>> {
        send(connection, "simple_query", Some(self.0), connection.client().simple_query(self.0)).await
    }
}

pub(crate) struct SimpleQueryRaw<'a>(pub(crate) &'a str);

impl Operation<PgConnection> for SimpleQueryRaw<'_> {
    type Out = (tokio_postgres::SimpleQueryStream, Connection);
    async fn run(&self, connection: &Connection) -> Result<Self::Out> {
        let request = connection.client().simple_query_raw(self.0);
        let stream = send(connection, "simple_query_raw", Some(self.0), request).await?;
        Ok((stream, Arc::clone(connection)))
    }
}

pub(crate) struct Check;

impl Operation<PgConnection> for Check {
    type Out = ();
    async fn run(&self, connection: &Connection) -> Result<()> {
        send(connection, "check_connection", None, connection.client().check_connection()).await
    }
}

pub(crate) struct CopyOut<'a>(pub(crate) StatementRef<'a>);

impl Operation<PgConnection> for CopyOut<'_> {
    type Out = (tokio_postgres::CopyOutStream, Connection);
    async fn run(&self, connection: &Connection) -> Result<Self::Out> {
        let stream = with_statement!(connection, "copy_out", self.0, |client, raw| client.copy_out(raw))?;
        Ok((stream, Arc::clone(connection)))
    }
}

pub(crate) struct CopyIn<'a, U> {
    pub(crate) statement: StatementRef<'a>,
    pub(crate) data: std::marker::PhantomData<fn(U)>,
}

impl<U: Buf + Send + 'static> Operation<PgConnection> for CopyIn<'_, U> {
    type Out = (tokio_postgres::CopyInSink<U>, Connection);
    async fn run(&self, connection: &Connection) -> Result<Self::Out> {
        let sink = with_statement!(connection, "copy_in", self.statement, |client, raw| client.copy_in(raw))?;
        Ok((sink, Arc::clone(connection)))
    }
}

pub(crate) struct WithRaw<F>(pub(crate) F);

impl<T, F> Operation<PgConnection> for WithRaw<F>
where
    T: Send + 'static,
    F: for<'c> Fn(&'c tokio_postgres::Client) -> BoxFuture<'c, Result<T, tokio_postgres::Error>>
        + Send
        + Sync,
{
    type Out = T;
    async fn run(&self, connection: &Connection) -> Result<T> {
        send(connection, "with_raw", None, (self.0)(connection.client())).await
    }
}

/// The error for a number of rows that the caller did not expect.
pub(crate) fn row_count(operation: &'static str, expected: &'static str, found: usize) -> Error {
    Error::new(ErrorKind::Driver, format!("the query returned {found} rows, expected {expected}"))
        .with_operation(operation)
}
