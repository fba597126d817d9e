//! What the pool needs of a database beyond what all of the adapter does.
//!
//! What lives here: [`Backend`]; [`Parts`], a query taken apart. What may not: what a statement does on its way.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::{Database, Describe, Either, Execute, Executor, SqlStr};

use super::super::family::Family;

/// What a stream of a query gives.
pub(crate) type Item<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

/// A database that a [`ClusterPool`](super::ClusterPool) can be made for: `sqlx::Postgres`, `sqlx::MySql`. Nobody else can
/// implement it, and its items are no part of the interface.
pub trait Backend: Family + Database<Arguments: Clone + Sync> {
    #[doc(hidden)]
    fn fetch_many(
        connection: &mut Self::Connection,
        query: Parts<Self>,
    ) -> BoxStream<'_, sqlx::Result<Item<Self>>>;
    #[doc(hidden)]
    fn prepare<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        types: &'c [Self::TypeInfo],
    ) -> BoxFuture<'c, sqlx::Result<Self::Statement>>;
    #[doc(hidden)]
    fn describe(
        connection: &mut Self::Connection,
        sql: SqlStr,
    ) -> BoxFuture<'_, sqlx::Result<Describe<Self>>>;
    /// Makes a connection ready on which a statement was dropped before its end.
    #[doc(hidden)]
    fn catch_up(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>>;
}

/// One implementation for each database: that `&mut` of an associated type is an `Executor` is more than the compiler
/// follows.
macro_rules! backend {
    ($database:ty, $catch_up:expr) => {
        impl Backend for $database {
            fn fetch_many(
                connection: &mut Self::Connection,
                query: Parts<Self>,
            ) -> BoxStream<'_, sqlx::Result<Item<Self>>> {
                Executor::fetch_many(connection, query)
            }

            fn prepare<'c>(
                connection: &'c mut Self::Connection,
                sql: SqlStr,
                types: &'c [Self::TypeInfo],
            ) -> BoxFuture<'c, sqlx::Result<Self::Statement>> {
                Executor::prepare_with(connection, sql, types)
            }

            fn describe(
                connection: &mut Self::Connection,
                sql: SqlStr,
            ) -> BoxFuture<'_, sqlx::Result<Describe<Self>>> {
                Executor::describe(connection, sql)
            }

            fn catch_up(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>> {
                let catch_up: fn(&mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>> = $catch_up;
                catch_up(connection)
            }
        }
    };
}

// sqlx reads the rest of an abandoned answer by itself.
#[cfg(feature = "postgres")]
backend!(sqlx::Postgres, |_| Box::pin(std::future::ready(Ok(()))));
// When a statement was dropped while it was being prepared, a part of its answer is left over, and a ping alone notices that
// instead of taking it for rows.
#[cfg(feature = "mysql")]
backend!(sqlx::MySql, |connection| Box::pin(sqlx::Connection::ping(connection)));

/// A query taken apart: it can be looked at, and run more than once.
#[derive(Debug)]
pub struct Parts<DB: Database> {
    sql: SqlStr,
    statement: Option<DB::Statement>,
    arguments: Option<DB::Arguments>,
    persistent: bool,
}

impl<DB: Database> Parts<DB> {
    /// The parts of `query`.
    ///
    /// # Errors
    /// What encoding its arguments failed with.
    pub(super) fn of<'q>(mut query: impl Execute<'q, DB>) -> sqlx::Result<Self> {
        let statement = query.statement().cloned();
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let persistent = query.persistent();
        Ok(Self { sql: query.sql(), statement, arguments, persistent })
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        self.sql.as_str()
    }

    /// The text, to be kept.
    pub(super) fn sql_text(&self) -> SqlStr {
        self.sql.clone()
    }
}

impl<DB: Database<Arguments: Clone>> Clone for Parts<DB> {
    fn clone(&self) -> Self {
        Self {
            sql: self.sql.clone(),
            statement: self.statement.clone(),
            arguments: self.arguments.clone(),
            persistent: self.persistent,
        }
    }
}

impl<DB: Database> Execute<'_, DB> for Parts<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, sqlx::error::BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}
