//! The tokio-postgres adapter of the AWS Advanced Rust Wrapper.
//!
//! A program written for `tokio_postgres` changes its imports and its connect call, and from then on rides through
//! what happens to its Aurora or RDS cluster: see [`Connector`] and [`Client`].
//!
//! What lives here: the client and what belongs to it, the driver below it. What may not: anything that another
//! driver needs too; that is the core's or a plugin's.

mod calls;
mod cancel;
mod client;
mod configuration;
mod connection;
mod connector;
mod driver;
mod error;
mod generic_client;
mod link;
mod notifications;
#[cfg(any(feature = "bb8", feature = "deadpool", feature = "raw-client"))]
pub mod pool;
mod session_state;
mod statement;
mod stream;
mod tap;
mod tls;
mod transaction;

/// For `integration-tests/fuzz` in this repository; not part of the public interface.
#[cfg(feature = "_fuzz")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::tap::splits::status_tap;
}

pub use cancel::CancelToken;
pub use client::{Client, CopyInSink, CopyOutStream, RowStream, SimpleQueryStream};
pub use connection::PgConnection;
pub use connector::{Connector, ConnectorBuilder};
pub use driver::{
    ConfiguredCredential, Credential, CredentialSource, MONITOR_APPLICATION_NAME, PgDriver, PgDriverBuilder,
    Spawner,
};
pub use generic_client::GenericClient;
pub use notifications::{Message, Notifications};
pub use statement::{Statement, StatementRef, ToStatement};
pub use tls::{CryptoProvider, RootCertificates, Socket, TlsMode, TlsSettings};
pub use transaction::{Portal, Transaction, TransactionBuilder};

pub use tokio_postgres::types;
pub use tokio_postgres::{Column, Config, IsolationLevel, Row, SimpleQueryMessage, SimpleQueryRow};
pub use wrapper_core as core;
pub use wrapper_core::{Error, ErrorKind, Result, RetryAdvice, TransactionOutcome};
pub use wrapper_plugins as plugins;
