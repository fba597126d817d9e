//! What differs between the databases that sqlx connects to.
//!
//! What lives here: [`Family`]. What may not: what they have in common, which is all the rest of the adapter.

use futures_util::future::BoxFuture;
use wrapper_core::config::DriverKeys;
use wrapper_core::credentials::Credential;
use wrapper_core::dialect::{DialectId, Engine, Phase};
use wrapper_core::driver::{Rows, TransactionStatus};
use wrapper_core::{Error, ErrorClass};

use super::sqlx::{self, Connection, Database, error::DatabaseError};

/// The connect options of a database: `PgConnectOptions`, `MySqlConnectOptions`.
pub type OptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

/// Nobody else can name it.
pub trait Sealed {}

/// A database of sqlx whose clusters this crate can follow: `sqlx::Postgres`, `sqlx::MySql`. Nobody else can implement
/// it, and its items are no part of the interface.
pub trait Family: Database + Sealed {
    #[doc(hidden)]
    const ENGINE: Engine;
    #[doc(hidden)]
    const DRIVER: &'static str;
    /// What settings are told: connect options come as a value, so no parameter of the driver is a setting.
    #[doc(hidden)]
    const KEYS: DriverKeys<'static>;
    /// Asks in its column `reader` whether the server takes no writes, by whatever a deployment says that.
    #[doc(hidden)]
    const READER: &'static str;
    #[doc(hidden)]
    type ServerError: DatabaseError;

    #[doc(hidden)]
    fn host(options: &OptionsOf<Self>) -> &str;
    #[doc(hidden)]
    fn port(options: &OptionsOf<Self>) -> u16;
    #[doc(hidden)]
    fn lead(options: OptionsOf<Self>, host: &str, port: u16) -> OptionsOf<Self>;
    #[doc(hidden)]
    fn has_socket(options: &OptionsOf<Self>) -> bool;
    /// User and database, to be printed.
    #[doc(hidden)]
    fn user(options: &OptionsOf<Self>) -> (&str, Option<&str>);
    /// Whether a connection with these options has TLS, or is none.
    #[doc(hidden)]
    fn insists_on_tls(options: &OptionsOf<Self>) -> bool;
    /// The options that log in with this credential.
    #[doc(hidden)]
    fn log_in(options: OptionsOf<Self>, credential: &Credential) -> OptionsOf<Self>;
    /// The options of the library's own connections, which say so where the protocol has a place for it.
    #[doc(hidden)]
    fn for_monitor(options: OptionsOf<Self>) -> OptionsOf<Self>;
    /// When the name that is dialled is verified: the value of `ssl_mode`, and the one that is less strict.
    #[doc(hidden)]
    fn verifies_name(options: &OptionsOf<Self>) -> Option<[&'static str; 2]>;

    /// Asks by text, in one round trip; of several statements the last that answers with rows counts. Also says how many
    /// bytes came, at least. Dropped at any moment it leaves the connection usable.
    #[doc(hidden)]
    fn ask(connection: &mut Self::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<(Rows, u64)>>;
    /// One value of an answer to a text.
    #[doc(hidden)]
    fn value(row: &Self::Row, index: usize) -> sqlx::Result<Option<String>>;
    /// Asks nothing. Dropped at any moment it leaves the connection usable.
    #[doc(hidden)]
    fn probe(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>>;
    /// Rolls a transaction back that is open, also one that sqlx has forgotten, after whatever was abandoned.
    ///
    /// # Errors
    /// The server's, of an abandoned statement: then this is to be repeated. Others: the connection is of no use.
    #[doc(hidden)]
    fn settle(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>>;

    /// Whether the text may begin or end a transaction; yes, when in doubt.
    #[doc(hidden)]
    fn may_change_transaction(sql: &str) -> bool;
    /// Asks the server where the transaction stands: sqlx keeps what it knows to itself.
    #[doc(hidden)]
    fn transaction_status(connection: &mut Self::Connection) -> BoxFuture<'_, TransactionStatus>;

    /// Whether in this dialect a refused login means that the host is not ready.
    #[doc(hidden)]
    fn login_is_network(dialect: DialectId) -> bool;
    /// The class of a server's error.
    #[doc(hidden)]
    fn classify(error: &Self::ServerError, phase: Phase, login_is_network: bool) -> ErrorClass;
    /// The library's error for a statement that the server refused.
    #[doc(hidden)]
    fn refused(error: &Self::ServerError) -> Error;
    /// Adds what the server said of its error.
    #[doc(hidden)]
    fn told(mapped: Error, error: &Self::ServerError) -> Error;
}
