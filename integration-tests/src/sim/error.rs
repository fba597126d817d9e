//! Errors: those of the cluster's handle, and the SQLSTATE errors that its servers answer with; MySQL's numbers for
//! them are in `mysql/error.rs`.
//!
//! What may not live here: decisions about when an error is raised.

use std::borrow::Cow;
use std::net::SocketAddr;

use pgwire::error::{ErrorInfo, PgWireError};

/// Why a verb of the simulated cluster could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A node number that the cluster does not have.
    #[error("there is no node {node}: this cluster has nodes 0 to {last}")]
    NoSuchNode {
        /// The number given.
        node: usize,
        /// The highest valid number.
        last: usize,
    },
    /// A builder setting that cannot be used.
    #[error("setting `{setting}` of the simulated cluster is {value}; expected {expected}")]
    Setting {
        /// Name of the builder's method.
        setting: &'static str,
        /// The value given.
        value: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A listener could not be opened.
    #[error(
        "cannot listen on {address}: {source} (a simulated cluster needs free loopback addresses 127.x.y.z; \
         on systems that have 127.0.0.1 alone, add aliases to the loopback interface)"
    )]
    Listen {
        /// The address tried last.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificates could not be made.
    #[error("cannot make the cluster's certificates: {0}")]
    Tls(String),
    /// The node is down, so that it cannot do what was asked.
    #[error("node {node} is down; `heal` it first")]
    NodeDown {
        /// The node's number.
        node: usize,
    },
    /// The node is the writer already.
    #[error("node {node} is the writer already")]
    AlreadyWriter {
        /// The node's number.
        node: usize,
    },
    /// Another failover, switchover or promotion has not ended yet.
    #[error("a change of the writer is under way; await it before the next one")]
    Busy,
    /// There is no writer at present, so that nothing can be failed over or asked.
    #[error("the cluster has no writer at present; `promote` a node first")]
    NoWriter,
    /// No node is left that could become the writer.
    #[error("no reader is up that could be promoted; `heal` one first")]
    NoCandidate,
    /// The cluster was shut down.
    #[error("the simulated cluster has been shut down")]
    Ended,
    /// A statement given to [`SimCluster::sql`](super::SimCluster::sql) failed.
    #[error("{message} (SQLSTATE {code})")]
    Sql {
        /// SQLSTATE.
        code: String,
        /// The server's message.
        message: String,
    },
}

/// An error as a server reports it: SQLSTATE and message, sent with severity ERROR or FATAL.
#[derive(Clone, Debug)]
pub(crate) struct SqlError {
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) fatal: bool,
    /// MySQL's number, where the error is MySQL's own; else it follows from the SQLSTATE.
    pub(crate) number: Option<u16>,
}

impl SqlError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), fatal: false, number: None }
    }

    pub(crate) fn fatal(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), fatal: true, number: None }
    }

    /// An error that only MySQL has, by its number and SQLSTATE.
    pub(crate) fn mysql(number: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { number: Some(number), ..Self::new(code, message) }
    }

    /// What this simulation does not do, said so that nobody takes it for an answer.
    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new("0A000", format!("the simulated cluster does not support {what}"))
    }

    pub(crate) fn read_only(command: &str) -> Self {
        Self::new("25006", format!("cannot execute {command} in a read-only transaction"))
    }

    /// What a session is told when its server is stopped in good order.
    pub(crate) fn admin_shutdown() -> Self {
        Self::fatal("57P01", "terminating connection due to administrator command")
    }

    pub(crate) fn info(&self) -> ErrorInfo {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_string(), self.message.clone());
        info.severity_nonlocalized = Some(severity.to_owned());
        info
    }
}

impl From<SqlError> for PgWireError {
    fn from(error: SqlError) -> Self {
        PgWireError::UserError(Box::new(error.info()))
    }
}

impl From<SqlError> for SimError {
    fn from(error: SqlError) -> Self {
        SimError::Sql { code: error.code.into_owned(), message: error.message }
    }
}
