//! The contract between core and a driver adapter.
//!
//! What lives here: [`DriverDialect`] (one per driver), [`DriverConnection`] (one open connection) and the values
//! that cross the line. What may not: any driver's type, any SQL.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::credential::Credential;
use crate::dialect_id::{DialectId, Engine};
use crate::env::Deadline;
use crate::error::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};
use crate::host::HostInfo;

pub use crate::rows::Rows;

/// Where a transaction stands on the server, as far as the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionStatus {
    /// No transaction is open.
    Idle,
    /// A transaction is open, or a request that may open one has not been answered yet.
    Open,
    /// A transaction is open and failed; only a rollback is accepted.
    Failed,
    /// The driver cannot tell.
    Unknown,
}

/// What a connection is opened for; decides the application name and the time limits of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectPurpose {
    /// For the application.
    Session,
    /// For a monitor of the library: topology, probes, host monitoring.
    Monitor,
}

/// The host to connect to, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectTarget {
    /// The host. TLS verifies its name, also when `address` is set.
    pub host: HostInfo,
    /// The address to dial instead of what DNS answers.
    pub address: Option<IpAddr>,
    /// What for.
    pub purpose: ConnectPurpose,
    /// What to log in with instead of what is configured; a plugin of class authentication puts it in.
    pub credential: Option<Credential>,
}

impl ConnectTarget {
    /// A connection of the application to `host`.
    pub fn session(host: HostInfo) -> Self {
        Self { host, address: None, purpose: ConnectPurpose::Session, credential: None }
    }

    /// A connection of a monitor to `host`.
    pub fn monitor(host: HostInfo) -> Self {
        Self { host, address: None, purpose: ConnectPurpose::Monitor, credential: None }
    }
}

/// One driver: how it connects, and what its errors mean.
///
/// Implemented by an adapter crate; called by core and plugins.
#[async_trait]
pub trait DriverDialect: Debug + Send + Sync {
    /// The name of the driver, such as `tokio-postgres`.
    fn name(&self) -> &'static str;

    /// The language family of the servers that the driver speaks to.
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    /// The user that connections log in as when the target brings no other one; `None` when the driver decides.
    fn user(&self) -> Option<&str> {
        None
    }

    /// Opens a connection: name resolution, TCP, TLS, start-up and login together end by `deadline`.
    ///
    /// A credential in `target` takes the place of the configured one, for this connection; one that needs TLS is
    /// refused where there would be none.
    ///
    /// # Errors
    /// A classified [`Error`] with the host in it: network, login, busy, timeout.
    ///
    /// # Cancellation
    /// Dropping the future closes the socket; nothing stays open on the server.
    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>>;

    /// Says which dialect the servers speak, as soon as it is known: some errors mean something else there.
    fn dialect_known(&self, dialect: DialectId) {
        let _ = dialect;
    }

    /// What an error of the driver means; a pure function.
    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass;
}

/// The way from a trait object back to its type, which needs no method of an implementer.
///
/// A plain upcast to `dyn Any` would need Rust 1.86.
pub trait AnyConnection: Any + Send + Sync {
    /// The same value as `Any`.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The same value as `Any`, borrowed.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any + Send + Sync> AnyConnection for T {
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// One open connection of a driver, shared by the calls that are in flight on it.
///
/// An adapter gets its own type back with [`downcast`].
#[async_trait]
pub trait DriverConnection: AnyConnection + Debug {
    /// Asks for a small metadata answer in text form, in one round trip and without leaving a transaction open.
    ///
    /// # Errors
    /// The server's error, classified; or a time-out.
    ///
    /// # Cancellation
    /// Safe: the next request on this connection is not disturbed.
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows>;

    /// Runs statements without an answer, such as the ones that carry session state over.
    ///
    /// # Errors
    /// The server's error, classified; or a time-out.
    ///
    /// # Cancellation
    /// Safe: the next request on this connection is not disturbed.
    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        self.fetch_text(sql, deadline).await.map(|_| ())
    }

    /// The cheapest round trip.
    ///
    /// # Errors
    /// The connection is broken, or the server did not answer by `deadline`.
    ///
    /// # Cancellation
    /// Safe: the next request on this connection is not disturbed.
    async fn ping(&self, deadline: Deadline) -> Result<()>;

    /// Closes the socket at once; calls in flight and later ones end with `reason`. The first reason stays.
    fn kill(&self, reason: Error);

    /// Closes the connection once every request that is in flight on it has been answered.
    fn drain(&self);

    /// Whether it is known to be unusable.
    fn is_closed(&self) -> bool;

    /// Where its transaction stands.
    fn transaction_status(&self) -> TransactionStatus;

    /// What becomes of the open transaction when the connection is given up now: *not sent* when none is open, *rolled
    /// back* only when nothing that can commit is in flight.
    fn outcome_if_lost(&self) -> TransactionOutcome {
        match self.transaction_status() {
            TransactionStatus::Idle => TransactionOutcome::NotSent,
            _ => TransactionOutcome::MayHaveApplied,
        }
    }

    /// How many bytes have come from the server: a free sign of life.
    fn bytes_received(&self) -> u64;

    /// The statements that carry this connection's session state to another one, in order; empty if there is none.
    fn session_state_sql(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Gets an adapter's own connection type back.
///
/// # Errors
/// [`ErrorKind::Plugin`] when the connection is another driver's.
pub fn downcast<C: DriverConnection>(connection: Arc<dyn DriverConnection>) -> Result<Arc<C>> {
    connection.into_any().downcast::<C>().map_err(|_| {
        Error::new(
            ErrorKind::Plugin,
            "a plugin gave a connection of another driver; a plugin may only pass on what the chain gave it",
        )
    })
}
