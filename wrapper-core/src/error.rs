//! The one error type of the library, and what it says about the call that failed.
//!
//! What lives here: [`Error`], its [`ErrorKind`], what to do next ([`RetryAdvice`]), what became of the work
//! ([`TransactionOutcome`]) and the class a driver's error belongs to ([`ErrorClass`]). What may not: any knowledge
//! of a driver's error type; adapters map theirs in one table each (R11).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A driver's or the system's error as it is kept behind an [`Error`].
pub type Source = Arc<dyn StdError + Send + Sync + 'static>;

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is unknown, malformed or contradicts another one.
    Config,
    /// The feature is known to the library but not supported yet, or not by this driver or server.
    Unsupported,
    /// The session was switched to a healthy host (SQLSTATE 08S02): the connection is usable, the call was not repeated.
    FailoverSucceeded,
    /// The connection was lost inside a transaction (SQLSTATE 08007); [`Error::outcome`] says more.
    TransactionStateUnknown,
    /// No suitable host was reached before the deadline (SQLSTATE 08001).
    FailoverFailed,
    /// The connection broke, or could not be made.
    Network,
    /// The host was declared silent by host monitoring and the connection was closed.
    HostSilent,
    /// The server refused the credentials.
    Login,
    /// The server is reachable but takes no connection now (too many clients, starting up).
    Busy,
    /// The host does not have the role that was asked for.
    WrongRole,
    /// The connection leads to a host that has been demoted since it was opened; nothing was sent.
    Demoted,
    /// A wait reached its deadline.
    Timeout,
    /// The topology could not be read, has no writer, or contradicts the cluster it was asked for.
    Topology,
    /// The server lacks a function, an extension or a grant that the library needs.
    Grant,
    /// A statement of a connection that is gone, or of another driver's making, was used.
    StaleStatement,
    /// A second run was asked of a call whose inputs are consumed.
    NotRerunnable,
    /// The session, or the cluster that it belongs to, was closed.
    Closed,
    /// The server refused the statement; the driver's error is the source, unchanged.
    Statement,
    /// The driver refused the call before it was sent (wrong parameter count or type), or could not decode the answer.
    Driver,
    /// A plugin broke its contract or panicked.
    Plugin,
}

impl ErrorKind {
    /// The stable name of the kind, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unsupported => "unsupported",
            Self::FailoverSucceeded => "failover_succeeded",
            Self::TransactionStateUnknown => "transaction_state_unknown",
            Self::FailoverFailed => "failover_failed",
            Self::Network => "network",
            Self::HostSilent => "host_silent",
            Self::Login => "login",
            Self::Busy => "busy",
            Self::WrongRole => "wrong_role",
            Self::Demoted => "demoted",
            Self::Timeout => "timeout",
            Self::Topology => "topology",
            Self::Grant => "grant",
            Self::StaleStatement => "stale_statement",
            Self::NotRerunnable => "not_rerunnable",
            Self::Closed => "closed",
            Self::Statement => "statement",
            Self::Driver => "driver",
            Self::Plugin => "plugin",
        }
    }

    /// The SQLSTATE that the peers give this kind, if they give one.
    const fn sqlstate(self) -> Option<&'static str> {
        match self {
            Self::FailoverSucceeded => Some("08S02"),
            Self::TransactionStateUnknown => Some("08007"),
            Self::FailoverFailed => Some("08001"),
            Self::Closed => Some("08003"),
            Self::Network | Self::HostSilent => Some("08006"),
            _ => None,
        }
    }
}

/// What a driver's error means for the connection and the host; one pure table per driver decides it (R11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The connection is gone.
    Network,
    /// The credentials were refused.
    Login,
    /// The host refuses writes; its role is to be asked.
    ReadOnly,
    /// A prepared statement is not known to this connection.
    WrongStatement,
    /// The host is alive but takes no connection now; back off, keep the host.
    Busy,
    /// The statement's own fault, or the caller's.
    Other,
}

/// What a caller may do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryAdvice {
    /// Repeating gives the same answer.
    Never,
    /// Repeat the call on this connection object.
    SameConnection,
    /// Open a new connection, then repeat the call.
    NewConnection,
    /// Repeat the whole transaction on this connection object.
    WholeTransaction,
}

/// What became of the work of the failed call, or of the transaction that it belonged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionOutcome {
    /// Nothing of the call reached a server.
    NotSent,
    /// The server has undone it, or will.
    RolledBack,
    /// It was in flight; it may or may not have been applied.
    MayHaveApplied,
    /// It was committed before the error.
    Committed,
}

impl TransactionOutcome {
    /// Whether it is certain that nothing of the work was applied.
    pub const fn is_not_applied(self) -> bool {
        matches!(self, Self::NotSent | Self::RolledBack)
    }
}

/// An error of the library: kind, advice, outcome, operation, host and the chain of causes.
///
/// Cheap to clone: one failover answers many callers. `Display` prints the chain down to the root cause in one
/// line; secrets are never part of it.
///
/// ```
/// use wrapper_core::{Error, ErrorKind, RetryAdvice, TransactionOutcome};
///
/// let error = Error::new(ErrorKind::FailoverSucceeded, "switched to instance-2")
///     .with_outcome(TransactionOutcome::NotSent);
/// assert_eq!(error.sqlstate(), Some("08S02"));
/// assert_eq!(error.retry_advice(), RetryAdvice::SameConnection);
/// assert!(error.outcome().is_not_applied());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    advice: RetryAdvice,
    outcome: TransactionOutcome,
    class: ErrorClass,
    sqlstate: Option<Cow<'static, str>>,
    server_code: Option<u16>,
    operation: Option<&'static str>,
    host: Option<Arc<str>>,
    gave_up: bool,
    source: Option<Source>,
}

impl Error {
    /// An error with the usual class, advice and outcome of its kind.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        use ErrorKind as K;
        let (class, advice, outcome) = match kind {
            K::FailoverSucceeded => {
                (ErrorClass::Other, RetryAdvice::SameConnection, TransactionOutcome::MayHaveApplied)
            }
            K::TransactionStateUnknown => {
                (ErrorClass::Other, RetryAdvice::WholeTransaction, TransactionOutcome::MayHaveApplied)
            }
            K::FailoverFailed | K::Closed => {
                (ErrorClass::Other, RetryAdvice::NewConnection, TransactionOutcome::NotSent)
            }
            K::Network | K::HostSilent => {
                (ErrorClass::Network, RetryAdvice::NewConnection, TransactionOutcome::MayHaveApplied)
            }
            K::Demoted => (ErrorClass::Network, RetryAdvice::NewConnection, TransactionOutcome::NotSent),
            K::Login => (ErrorClass::Login, RetryAdvice::Never, TransactionOutcome::NotSent),
            K::Busy => (ErrorClass::Busy, RetryAdvice::NewConnection, TransactionOutcome::NotSent),
            K::Timeout => (ErrorClass::Other, RetryAdvice::NewConnection, TransactionOutcome::MayHaveApplied),
            K::StaleStatement => {
                (ErrorClass::WrongStatement, RetryAdvice::Never, TransactionOutcome::NotSent)
            }
            K::Statement => (ErrorClass::Other, RetryAdvice::Never, TransactionOutcome::RolledBack),
            _ => (ErrorClass::Other, RetryAdvice::Never, TransactionOutcome::NotSent),
        };
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            advice,
            outcome,
            class,
            sqlstate: None,
            server_code: None,
            operation: None,
            host: None,
            gave_up: false,
            source: None,
        }))
    }

    /// Shorthand for a configuration error.
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the driver's error was classified as.
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// What the caller may do next.
    pub fn retry_advice(&self) -> RetryAdvice {
        if self.0.gave_up && self.0.advice == RetryAdvice::SameConnection {
            return RetryAdvice::NewConnection;
        }
        self.0.advice
    }

    /// What became of the work.
    pub fn outcome(&self) -> TransactionOutcome {
        self.0.outcome
    }

    /// The SQLSTATE: the server's own when it sent one, else the one that the peers give this kind.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref().or(self.0.kind.sqlstate())
    }

    /// The number that the server gives its error, where it numbers them: MySQL does, and its SQLSTATEs tell less.
    pub fn server_code(&self) -> Option<u16> {
        self.0.server_code
    }

    /// The method that failed, such as `query`.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The host that the failed call was sent to.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// Whether the library has retried and given up, so that an outer layer should not retry again.
    pub fn gave_up(&self) -> bool {
        self.0.gave_up
    }

    /// The message without the chain of causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The first error of type `E` in the chain of causes: the way back to the driver's own error.
    pub fn find_source<E: StdError + 'static>(&self) -> Option<&E> {
        let mut next: Option<&(dyn StdError + 'static)> = self.source();
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<E>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Finds this library's error inside another error's chain, where a foreign trait fixes the error type (R9).
    pub fn from_driver<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // `io::Error::source` skips the error that it wraps.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            next = match wrapped {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error with another kind; class, advice, outcome and source stay.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        self.edit(|inner| inner.kind = kind)
    }

    /// The same error with another class.
    #[must_use]
    pub fn with_class(self, class: ErrorClass) -> Self {
        self.edit(|inner| inner.class = class)
    }

    /// The same error with another advice.
    #[must_use]
    pub fn with_advice(self, advice: RetryAdvice) -> Self {
        self.edit(|inner| inner.advice = advice)
    }

    /// The same error with another outcome.
    #[must_use]
    pub fn with_outcome(self, outcome: TransactionOutcome) -> Self {
        self.edit(|inner| inner.outcome = outcome)
    }

    /// The same error with the server's SQLSTATE.
    #[must_use]
    pub fn with_sqlstate(self, sqlstate: impl Into<Cow<'static, str>>) -> Self {
        let sqlstate = sqlstate.into();
        self.edit(|inner| inner.sqlstate = Some(sqlstate))
    }

    /// The same error with the server's number for it.
    #[must_use]
    pub fn with_server_code(self, code: u16) -> Self {
        self.edit(|inner| inner.server_code = Some(code))
    }

    /// The same error with the method that failed.
    #[must_use]
    pub fn with_operation(self, operation: &'static str) -> Self {
        self.edit(|inner| inner.operation = Some(operation))
    }

    /// The same error with the host that the call was sent to.
    #[must_use]
    pub fn with_host(self, host: impl AsRef<str>) -> Self {
        let host: Arc<str> = Arc::from(host.as_ref());
        self.edit(|inner| inner.host = Some(host))
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with_shared_source(Arc::new(source))
    }

    /// The same error with a cause that is already shared.
    #[must_use]
    pub fn with_shared_source(self, source: Source) -> Self {
        self.edit(|inner| inner.source = Some(source))
    }

    /// The same error, marked as given up (R9).
    #[must_use]
    pub fn giving_up(self) -> Self {
        self.edit(|inner| inner.gave_up = true)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(&inner.message)?;
        match (inner.operation, &inner.host) {
            (Some(operation), Some(host)) => write!(f, " ({operation} on {host})")?,
            (Some(operation), None) => write!(f, " ({operation})")?,
            (None, Some(host)) => write!(f, " (host {host})")?,
            (None, None) => {}
        }
        if let Some(sqlstate) = self.sqlstate() {
            write!(f, " [SQLSTATE {sqlstate}]")?;
        }
        // An `Error` in the chain prints its own causes; printing on would repeat them.
        let mut next = self.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            if cause.is::<Self>() {
                break;
            }
            next = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("class", &self.0.class)
            .field("outcome", &self.0.outcome)
            .field("advice", &self.0.advice)
            .field("message", &self.to_string())
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn display_prints_the_chain_once_in_one_line() {
        let root = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
        let network = Error::new(ErrorKind::Network, "connection lost").with_source(root).with_host("db-1");
        let outer = Error::new(ErrorKind::FailoverFailed, "no writer within 5s").with_source(network);
        let text = outer.to_string();
        assert_eq!(text.matches("reset by peer").count(), 1, "{text}");
        assert!(!text.contains('\n'));
        assert!(text.contains("08001"), "{text}");
    }

    #[test]
    fn the_driver_error_stays_reachable_by_type() {
        let root = io::Error::new(io::ErrorKind::ConnectionReset, "reset");
        let error = Error::new(ErrorKind::FailoverSucceeded, "switched")
            .with_source(Error::new(ErrorKind::Network, "lost").with_source(root));
        assert_eq!(
            error.find_source::<io::Error>().map(io::Error::kind),
            Some(io::ErrorKind::ConnectionReset)
        );
        let foreign = io::Error::other(error);
        assert_eq!(Error::from_driver(&foreign).map(Error::kind), Some(ErrorKind::FailoverSucceeded));
    }

    #[test]
    fn given_up_errors_do_not_advise_the_same_connection() {
        let error = Error::new(ErrorKind::FailoverSucceeded, "x").giving_up();
        assert_eq!(error.retry_advice(), RetryAdvice::NewConnection);
    }
}
