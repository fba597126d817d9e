//! The methods that a client and a transaction share, written once.

use std::marker::PhantomData;

use bytes::Buf;
use tokio_postgres::types::{BorrowToSql, FromSqlOwned, ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};
use wrapper_core::plugin::Call;
use wrapper_core::{Error, ErrorKind, Result};

use super::ops::{self, row_count};
use super::stream::Watched;
use super::{
    Batch, Client, CopyInSink, CopyOutStream, Execute, ExecuteTyped, Prepare, Query, QueryTyped, RawQuery,
    RowStream, Runner, SimpleQuery, SimpleQueryStream,
};
use crate::statement::{Statement, ToStatement};
use crate::transaction::Transaction;

fn scalar<R: FromSqlOwned>(row: &Row, operation: &'static str) -> Result<R> {
    row.try_get(0).map_err(|error| {
        Error::new(ErrorKind::Driver, "the first column could not be read as the type asked for")
            .with_operation(operation)
            .with_source(error)
    })
}

/// Writes the shared methods for one type that is a [`Runner`].
macro_rules! shared_methods {
    ($($target:tt)+) => {
        impl $($target)+ {
            /// Prepares a statement, which survives switches.
            ///
            /// # Errors
            /// The server's error; or what became of the session when the connection was lost.
            pub async fn prepare(&self, query: &str) -> Result<Statement> {
                self.prepare_typed(query, &[]).await
            }

            /// Like [`prepare`](Self::prepare), with the types of the first parameters.
            ///
            /// # Errors
            /// As for [`prepare`](Self::prepare).
            pub async fn prepare_typed(&self, query: &str, parameter_types: &[Type]) -> Result<Statement> {
                let operation = Prepare { sql: query, types: parameter_types };
                self.run_on(&Call::new("prepare").sql(query), &operation).await
            }

            /// Runs a statement and gives its rows.
            ///
            /// # Errors
            /// The server's error; or what became of the session when the connection was lost.
            pub async fn query<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>>
            where
                T: ?Sized + ToStatement,
            {
                let statement = statement.to_statement();
                self.run_on(&Call::new("query").sql(statement.sql()), &Query { statement, params }).await
            }

            /// Runs a statement that gives exactly one row.
            ///
            /// # Errors
            /// As for [`query`](Self::query); and when there is another number of rows.
            pub async fn query_one<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Row>
            where
                T: ?Sized + ToStatement,
            {
                let mut rows = self.query(statement, params).await?;
                match (rows.pop(), rows.len()) {
                    (Some(row), 0) => Ok(row),
                    (None, _) => Err(row_count("query_one", "one", 0)),
                    (Some(_), more) => Err(row_count("query_one", "one", more + 1)),
                }
            }

            /// Runs a statement that gives at most one row.
            ///
            /// # Errors
            /// As for [`query`](Self::query); and when there are more rows.
            pub async fn query_opt<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>>
            where
                T: ?Sized + ToStatement,
            {
                let mut rows = self.query(statement, params).await?;
                match (rows.pop(), rows.len()) {
                    (row, 0) => Ok(row),
                    (_, more) => Err(row_count("query_opt", "none or one", more + 1)),
                }
            }

            /// Runs a statement and gives the first column of each row.
            ///
            /// # Errors
            /// As for [`query`](Self::query); and when a value cannot be read as `R`.
            pub async fn query_scalar<R: FromSqlOwned, T>(
                &self,
                statement: &T,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<Vec<R>>
            where
                T: ?Sized + ToStatement,
            {
                let rows = self.query(statement, params).await?;
                rows.iter().map(|row| scalar(row, "query_scalar")).collect()
            }

            /// Runs a statement that gives exactly one row, and gives its first column.
            ///
            /// # Errors
            /// As for [`query_one`](Self::query_one); and when the value cannot be read as `R`.
            pub async fn query_one_scalar<R: FromSqlOwned, T>(
                &self,
                statement: &T,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<R>
            where
                T: ?Sized + ToStatement,
            {
                scalar(&self.query_one(statement, params).await?, "query_one_scalar")
            }

            /// Runs a statement that gives at most one row, and gives its first column.
            ///
            /// # Errors
            /// As for [`query_opt`](Self::query_opt); and when the value cannot be read as `R`.
            pub async fn query_opt_scalar<R: FromSqlOwned, T>(
                &self,
                statement: &T,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<Option<R>>
            where
                T: ?Sized + ToStatement,
            {
                let row = self.query_opt(statement, params).await?;
                row.as_ref().map(|row| scalar(row, "query_opt_scalar")).transpose()
            }

            /// Runs a statement and gives its rows as they come in. Stays on the connection that it was opened on.
            ///
            /// # Errors
            /// As for [`query`](Self::query); errors after the first answer come out of the stream.
            pub async fn query_raw<T, P, I>(&self, statement: &T, params: I) -> Result<RowStream>
            where
                T: ?Sized + ToStatement,
                P: BorrowToSql + Send + Sync,
                I: IntoIterator<Item = P>,
                I::IntoIter: ExactSizeIterator,
            {
                let statement = statement.to_statement();
                let operation = RawQuery { statement, params: params.into_iter().collect() };
                let (stream, on) = self.run_on(&Call::new("query_raw").sql(statement.sql()), &operation).await?;
                Ok(RowStream(Watched::new(self, stream, on, "query_raw")))
            }

            /// Like [`query`](Self::query) in one round trip: the types of the parameters are given.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            pub async fn query_typed(&self, query: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
                self.run_on(&Call::new("query_typed").sql(query), &QueryTyped { sql: query, params }).await
            }

            /// Like [`query_one`](Self::query_one) in one round trip.
            ///
            /// # Errors
            /// As for [`query_one`](Self::query_one).
            pub async fn query_typed_one(&self, query: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Row> {
                let mut rows = self.query_typed(query, params).await?;
                match (rows.pop(), rows.len()) {
                    (Some(row), 0) => Ok(row),
                    (None, _) => Err(row_count("query_typed_one", "one", 0)),
                    (Some(_), more) => Err(row_count("query_typed_one", "one", more + 1)),
                }
            }

            /// Like [`query_opt`](Self::query_opt) in one round trip.
            ///
            /// # Errors
            /// As for [`query_opt`](Self::query_opt).
            pub async fn query_typed_opt(
                &self,
                query: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Option<Row>> {
                let mut rows = self.query_typed(query, params).await?;
                match (rows.pop(), rows.len()) {
                    (row, 0) => Ok(row),
                    (_, more) => Err(row_count("query_typed_opt", "none or one", more + 1)),
                }
            }

            /// Like [`query_raw`](Self::query_raw) in one round trip.
            ///
            /// # Errors
            /// As for [`query_raw`](Self::query_raw).
            pub async fn query_typed_raw<P, I>(&self, query: &str, params: I) -> Result<RowStream>
            where
                P: BorrowToSql + Send + Sync,
                I: IntoIterator<Item = (P, Type)>,
            {
                let operation = ops::QueryTypedRaw { sql: query, params: params.into_iter().collect() };
                let (stream, on) = self.run_on(&Call::new("query_typed_raw").sql(query), &operation).await?;
                Ok(RowStream(Watched::new(self, stream, on, "query_typed_raw")))
            }

            /// Runs a statement and gives the number of rows that it changed.
            ///
            /// # Errors
            /// The server's error; or what became of the session when the connection was lost.
            pub async fn execute<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<u64>
            where
                T: ?Sized + ToStatement,
            {
                let statement = statement.to_statement();
                self.run_on(&Call::new("execute").sql(statement.sql()), &Execute { statement, params }).await
            }

            /// Like [`execute`](Self::execute), with any iterator of parameters.
            ///
            /// # Errors
            /// As for [`execute`](Self::execute).
            pub async fn execute_raw<T, P, I>(&self, statement: &T, params: I) -> Result<u64>
            where
                T: ?Sized + ToStatement,
                P: BorrowToSql + Send + Sync,
                I: IntoIterator<Item = P>,
                I::IntoIter: ExactSizeIterator,
            {
                let statement = statement.to_statement();
                let operation = ops::ExecuteRaw { statement, params: params.into_iter().collect() };
                self.run_on(&Call::new("execute_raw").sql(statement.sql()), &operation).await
            }

            /// Like [`execute`](Self::execute) in one round trip: the types of the parameters are given.
            ///
            /// # Errors
            /// As for [`execute`](Self::execute).
            pub async fn execute_typed(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<u64> {
                let operation = ExecuteTyped { sql: statement, params };
                self.run_on(&Call::new("execute_typed").sql(statement), &operation).await
            }

            /// Starts a `COPY … FROM STDIN`.
            ///
            /// # Errors
            /// As for [`execute`](Self::execute).
            pub async fn copy_in<T, U>(&self, statement: &T) -> Result<CopyInSink<U>>
            where
                T: ?Sized + ToStatement,
                U: Buf + Send + 'static,
            {
                let statement = statement.to_statement();
                let operation = ops::CopyIn { statement, data: PhantomData };
                let call = Call::new("copy_in").sql(statement.sql()).once();
                let (sink, on) = self.run_on(&call, &operation).await?;
                Ok(CopyInSink(Watched::new(self, sink, on, "copy_in").ended_by_client()))
            }

            /// Starts a `COPY … TO STDOUT`.
            ///
            /// # Errors
            /// As for [`execute`](Self::execute).
            pub async fn copy_out<T>(&self, statement: &T) -> Result<CopyOutStream>
            where
                T: ?Sized + ToStatement,
            {
                let statement = statement.to_statement();
                let call = Call::new("copy_out").sql(statement.sql());
                let (stream, on) = self.run_on(&call, &ops::CopyOut(statement)).await?;
                Ok(CopyOutStream(Watched::new(self, stream, on, "copy_out")))
            }

            /// Runs one or more statements by the simple protocol and gives rows as text.
            ///
            /// # Errors
            /// The server's error; or what became of the session when the connection was lost.
            pub async fn simple_query(&self, query: &str) -> Result<Vec<SimpleQueryMessage>> {
                self.run_on(&Call::new("simple_query").sql(query), &SimpleQuery(query)).await
            }

            /// Like [`simple_query`](Self::simple_query), with messages as they come in.
            ///
            /// # Errors
            /// As for [`simple_query`](Self::simple_query).
            pub async fn simple_query_raw(&self, query: &str) -> Result<SimpleQueryStream> {
                let call = Call::new("simple_query_raw").sql(query);
                let (stream, on) = self.run_on(&call, &ops::SimpleQueryRaw(query)).await?;
                Ok(SimpleQueryStream(Watched::new(self, stream, on, "simple_query_raw")))
            }

            /// Runs one or more statements by the simple protocol and gives nothing.
            ///
            /// # Errors
            /// The server's error; or what became of the session when the connection was lost.
            pub async fn batch_execute(&self, query: &str) -> Result<()> {
                self.run_on(&Call::new("batch_execute").sql(query), &Batch(query)).await
            }
        }
    };
}

shared_methods!(Client);
shared_methods!(Transaction<'_>);

impl Client {
    /// One round trip without a statement.
    ///
    /// # Errors
    /// What became of the session when the connection was lost.
    pub async fn check_connection(&self) -> Result<()> {
        self.run_on(&Call::new("check_connection"), &ops::Check).await
    }

    /// Forgets what the driver has learnt of the server's types, on the current connection.
    pub fn clear_type_cache(&self) {
        self.session().load().connection.client().clear_type_cache();
    }
}
