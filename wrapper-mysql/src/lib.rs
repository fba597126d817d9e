//! The mysql_async adapter of the AWS Advanced Rust Wrapper.
//!
//! A program written for `mysql_async` changes its imports and its connect call, and from then on rides through what
//! happens to its Aurora or RDS cluster: see [`Connector`] and [`Conn`].
//!
//! ```no_run
//! use wrapper_mysql::{Connector, ErrorKind, Result, TxOpts};
//!
//! # async fn shop() -> Result<()> {
//! let connector = Connector::from_url(
//!     "mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?ssl_ca=global-bundle.pem",
//! )?;
//! let mut conn = connector.connect().await?;
//!
//! // The methods of `mysql_async::Conn`. A statement goes on to work after a switch.
//! let price = conn.prep("SELECT price FROM goods WHERE id = ?").await?;
//! let first: Option<u32> = conn.exec_first(&price, (1,)).await?;
//!
//! // Both inserts, or none.
//! let mut sale = conn.start_transaction(TxOpts::new()).await?;
//! sale.exec_drop("INSERT INTO orders VALUES (?, ?)", (7, first)).await?;
//! sale.exec_drop("INSERT INTO bills VALUES (?)", (7,)).await?;
//! match sale.commit().await {
//!     Ok(()) => {}
//!     // On the new writer already, and nothing of the transaction is left: run it again.
//!     Err(error) if error.kind() == ErrorKind::TransactionStateUnknown && error.outcome().is_not_applied() => {}
//!     // The COMMIT was on its way: look before it is repeated.
//!     Err(error) => return Err(error),
//! }
//! # Ok(()) }
//! ```
//!
//! What lives here: the connection and what belongs to it, the driver below it. What may not: anything that another
//! driver needs too; that is the core's or a plugin's.

mod configuration;
mod conn;
mod connection;
mod connector;
mod driver;
mod error;
mod fate;
mod infile;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
pub mod pool;
mod session_state;
mod sql;
mod statement;
mod tls;
mod transaction;

pub use conn::{Conn, QueryResult};
pub use connection::MysqlConnection;
pub use connector::{Connector, ConnectorBuilder};
pub use driver::{
    ConfiguredCredential, Credential, CredentialSource, MONITOR_PROGRAM_NAME, MysqlDriver, MysqlDriverBuilder,
};
pub use statement::{Statement, StatementRef, ToStatement};
pub use tls::{CryptoProvider, TlsMode, TlsSettings};
pub use transaction::Transaction;

pub use mysql_async;
pub use mysql_async::{
    Column, FromRowError, FromValueError, InfileData, IsolationLevel, LocalInfileError, OkPacket, Opts,
    OptsBuilder, Params, QueryWithParams, Row, ServerError, SslOpts, TxOpts, Value, from_row, from_row_opt,
    from_value, from_value_opt, params,
};
pub use wrapper_core as core;
pub use wrapper_core::{Error, ErrorKind, Result, RetryAdvice, TransactionOutcome};
pub use wrapper_plugins as plugins;

/// The driver's traits, so that `use mysql_async::prelude::*` becomes `use wrapper_mysql::prelude::*`.
pub mod prelude {
    pub use mysql_async::prelude::*;
}
