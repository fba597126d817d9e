//! sqlx's traits for the pool, its connections and its transactions.
//!
//! What lives here: `Executor` and `Acquire`, each method a line. What may not: what a statement does on its way.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::{Acquire, Describe, Either, Execute, Executor, SqlStr, Transaction};
use wrapper_core::plugin::Call;

use super::backend::{Backend, Parts};
use super::inner::told;
use super::leased::Original;
use super::plain::PlainConnection;
use super::pool::ClusterPool;
use super::session::{ClusterSession, RowStream};

type StatementOf<DB> = <DB as sqlx::Database>::Statement;
type TypeInfoOf<DB> = <DB as sqlx::Database>::TypeInfo;
type RowOf<DB> = <DB as sqlx::Database>::Row;
type ResultOf<DB> = <DB as sqlx::Database>::QueryResult;

impl<'p, DB: Backend> Executor<'p> for &'_ ClusterPool<DB>
where
    Describe<DB>: Send,
{
    type Database = DB;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<ResultOf<DB>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let (inner, query) = (Arc::clone(&self.inner), Parts::of(query));
        async move {
            let query = query?;
            let opened = inner.open(&Call::new("execute").sql(query.text())).await;
            opened.map_err(not_opened::<DB>)?.execute_parts(query).await
        }
        .boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Vec<RowOf<DB>>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let (inner, query) = (Arc::clone(&self.inner), Parts::of(query));
        async move {
            let query = query?;
            let opened = inner.open(&Call::new("fetch_all").sql(query.text())).await;
            opened.map_err(not_opened::<DB>)?.fetch_all_parts(query).await
        }
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<RowOf<DB>>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let (inner, query) = (Arc::clone(&self.inner), Parts::of(query));
        async move {
            let query = query?;
            let opened = inner.open(&Call::new("fetch_optional").sql(query.text())).await;
            opened.map_err(not_opened::<DB>)?.fetch_optional_parts(query).await
        }
        .boxed()
    }

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Either<ResultOf<DB>, RowOf<DB>>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let (inner, query) = (Arc::clone(&self.inner), Parts::of(query));
        RowStream::once_open(async move {
            let query = query?;
            let opened = inner.open(&Call::new("fetch_many").sql(query.text())).await;
            opened.map_err(not_opened::<DB>)?.fetch_many_parts(query).await
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [TypeInfoOf<DB>],
    ) -> BoxFuture<'e, sqlx::Result<StatementOf<DB>>>
    where
        'p: 'e,
    {
        let inner = Arc::clone(&self.inner);
        async move {
            let opened = inner.open(&Call::new("prepare").sql(sql.as_str())).await;
            opened.map_err(not_opened::<DB>)?.prepare_sql(sql, parameters).await
        }
        .boxed()
    }

    #[doc(hidden)]
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<DB>>>
    where
        'p: 'e,
    {
        let inner = Arc::clone(&self.inner);
        async move {
            let opened = inner.open(&Call::new("describe").sql(sql.as_str())).await;
            opened.map_err(not_opened::<DB>)?.describe_sql(sql).await
        }
        .boxed()
    }
}

impl<'c, DB: Backend> Executor<'c> for &'c mut ClusterSession<DB>
where
    Describe<DB>: Send,
{
    type Database = DB;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<ResultOf<DB>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let query = Parts::of(query);
        async move { self.execute_parts(query?).await }.boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Vec<RowOf<DB>>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let query = Parts::of(query);
        async move { self.fetch_all_parts(query?).await }.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<RowOf<DB>>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let query = Parts::of(query);
        async move { self.fetch_optional_parts(query?).await }.boxed()
    }

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Either<ResultOf<DB>, RowOf<DB>>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let query = Parts::of(query);
        RowStream::once_open(async move { self.fetch_many_parts(query?).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [TypeInfoOf<DB>],
    ) -> BoxFuture<'e, sqlx::Result<StatementOf<DB>>>
    where
        'c: 'e,
    {
        async move { self.prepare_sql(sql, parameters).await }.boxed()
    }

    #[doc(hidden)]
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<DB>>>
    where
        'c: 'e,
    {
        async move { self.describe_sql(sql).await }.boxed()
    }
}

/// For code that is generic over `Acquire`: the connection, or the transaction, is sqlx's own, so what is sent through it
/// passes no plugin. It is on the right host, and is left clean.
impl<'a, DB: Backend> Acquire<'a> for &'_ ClusterPool<DB> {
    type Database = DB;
    type Connection = PlainConnection<DB>;

    fn acquire(self) -> BoxFuture<'a, sqlx::Result<PlainConnection<DB>>> {
        let inner = Arc::clone(&self.inner);
        async move { PlainConnection::acquire(&inner, "acquire").await.map_err(not_opened::<DB>) }.boxed()
    }

    fn begin(self) -> BoxFuture<'a, sqlx::Result<Transaction<'a, DB>>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let connection = PlainConnection::acquire(&inner, "begin").await.map_err(not_opened::<DB>)?;
            connection.begin(&inner).await
        }
        .boxed()
    }
}

/// The error for sqlx's users when there was no connection.
pub(super) fn not_opened<DB: Backend>(error: crate::Error) -> sqlx::Error {
    told::<DB>(error, &Original::default())
}
