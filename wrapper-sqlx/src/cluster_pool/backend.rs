//! What the pool needs of a database beyond sqlx's own traits.
//!
//! What lives here: [`Backend`], implemented once for each database; [`Parts`], a query taken apart. What may not: a
//! database's types.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::{Connection, Database, Describe, Either, Execute, SqlStr};
use wrapper_core::config::DriverKeys;
use wrapper_core::driver::{DriverDialect, Rows, TransactionStatus};
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, Result};

/// The connect options of a database.
pub(crate) type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// How a host is reached, where that is not by its name and port.
pub(crate) type Reach<DB> = dyn Fn(&HostInfo, Options<DB>) -> Options<DB> + Send + Sync;

/// What a stream of a query gives.
pub(crate) type Item<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

/// A database that a [`ClusterPool`](super::ClusterPool) can be made for. Sealed: this crate implements it.
pub trait Backend: Internals {}

/// The closed side of [`Backend`]: its methods are called by the pool only.
pub trait Internals: Database<Arguments: Clone + Sync> {
    /// sqlx as a driver: for monitors, and for the meaning of errors.
    type Driver: DriverDialect + Clone + 'static;

    /// What settings are told of sqlx.
    const KEYS: DriverKeys<'static>;

    /// sqlx as a driver with these options, which reaches hosts as `reach` says.
    fn driver(options: Options<Self>, reach: Option<Arc<Reach<Self>>>) -> Self::Driver;

    /// Host and port of the connect options.
    ///
    /// # Errors
    /// A configuration error when they lead to no host of a network.
    fn endpoint(options: &Options<Self>) -> Result<(String, u16)>;

    /// The options for a connection to `host`.
    fn lead(driver: &Self::Driver, host: &HostInfo, options: Options<Self>) -> Options<Self>;

    /// The library's error for one of an open connection, without the driver's in it.
    fn describe_error(error: &sqlx::Error) -> Error;

    /// The library's error for one of a connect.
    fn connect_error(error: sqlx::Error) -> Error;

    /// Runs a query.
    fn fetch_many<'c>(
        connection: &'c mut Self::Connection,
        query: Parts<Self>,
    ) -> BoxStream<'c, sqlx::Result<Item<Self>>>;

    /// Prepares a statement.
    fn prepare<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        types: &'c [Self::TypeInfo],
    ) -> BoxFuture<'c, sqlx::Result<Self::Statement>>;

    /// Describes a statement for sqlx's macros.
    fn describe(
        connection: &mut Self::Connection,
        sql: SqlStr,
    ) -> BoxFuture<'_, sqlx::Result<Describe<Self>>>;

    /// The answer to one of the library's own questions, in text form.
    fn ask(connection: &mut Self::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<Rows>>;

    /// Whether a text may begin or end a transaction.
    fn may_change_transaction(sql: &str) -> bool;

    /// Asks the server where the transaction stands.
    fn transaction_status(connection: &mut Self::Connection) -> BoxFuture<'_, TransactionStatus>;
}

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
