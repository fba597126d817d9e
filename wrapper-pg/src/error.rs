//! What an error of the driver means (R11), and the way from it to the library's error.
//!
//! What lives here: [`classify`], [`map_error`]. What may not: the table of SQLSTATEs, which core keeps for every driver of
//! PostgreSQL; decisions about what to do, which are the plugins'.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use tokio_postgres::error::{DbError, Severity, SqlState};
pub(crate) use wrapper_core::dialect::Phase;
use wrapper_core::dialect::{classify_io, classify_sqlstate};
use wrapper_core::{Error, ErrorClass, ErrorKind, RetryAdvice, TransactionOutcome};

use crate::link::Link;
use crate::tap::{Mark, Probe};

/// The kinds of the driver's error, which it keeps to itself; its texts are all that tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DriverKind {
    /// Refused before anything was sent: a parameter's type or number, a value that cannot be encoded.
    Encode,
    /// The answer came and could not be used: columns, types, number of rows, an unexpected message.
    Answer,
    Tls,
    Authentication,
    Config,
    /// A time limit of the driver's own.
    Timeout,
    /// Communication: closed, or an I/O error.
    Communication,
}

fn driver_kind(error: &tokio_postgres::Error) -> DriverKind {
    if error.is_closed() {
        return DriverKind::Communication;
    }
    let text = error.to_string();
    let starts = |prefix: &str| text.starts_with(prefix);
    let wrong_count = starts("expected ") && text.contains(" parameters but got ");
    if wrong_count || starts("error serializing parameter") || starts("error encoding message") {
        DriverKind::Encode
    } else if starts("error performing TLS handshake") {
        DriverKind::Tls
    } else if starts("authentication error") {
        DriverKind::Authentication
    } else if starts("invalid connection string") || starts("invalid configuration") {
        DriverKind::Config
    } else if starts("timeout waiting for server") {
        DriverKind::Timeout
    } else if starts("error communicating with the server") || starts("error connecting to server") {
        DriverKind::Communication
    } else {
        DriverKind::Answer
    }
}

/// Whether the TLS handshake failed, for whatever cause.
pub(crate) fn is_tls_failure(error: &tokio_postgres::Error) -> bool {
    driver_kind(error) == DriverKind::Tls
}

fn is_unexpected_message(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("unexpected message")
}

/// Whether the server closes the connection with this error.
pub(crate) fn is_fatal(error: &DbError) -> bool {
    match error.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        // Servers before 9.6, in whatever language they speak.
        None => matches!(error.severity(), "FATAL" | "PANIC"),
    }
}

/// The class of an error of the driver, or of an error that wraps one.
pub(crate) fn classify(error: &(dyn StdError + 'static), phase: Phase) -> ErrorClass {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.class();
        }
        if let Some(driver) = error.downcast_ref::<tokio_postgres::Error>() {
            return classify_driver(driver, phase);
        }
        if let Some(db) = error.downcast_ref::<DbError>() {
            return classify_sqlstate(db.code().code(), is_fatal(db), phase);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return classify_io(io.kind());
        }
        next = error.source();
    }
    ErrorClass::Other
}

fn classify_driver(error: &tokio_postgres::Error, phase: Phase) -> ErrorClass {
    if let Some(db) = error.as_db_error() {
        return classify_sqlstate(db.code().code(), is_fatal(db), phase);
    }
    match driver_kind(error) {
        DriverKind::Communication | DriverKind::Timeout => ErrorClass::Network,
        DriverKind::Authentication => ErrorClass::Login,
        // A handshake that the network broke is the network's; one that was refused is a matter of certificates.
        DriverKind::Tls => error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .map_or(ErrorClass::Other, |io| classify_io(io.kind())),
        DriverKind::Encode | DriverKind::Answer | DriverKind::Config => ErrorClass::Other,
    }
}

/// The library's error for one that the driver gave while connecting.
pub(crate) fn map_connect_error(error: tokio_postgres::Error, login_is_network: bool) -> Error {
    let mut class = classify_driver(&error, Phase::Connect);
    let state = error.code().map(|code| code.code().to_owned());
    if login_is_network && state.as_deref() == Some("28000") {
        class = ErrorClass::Network;
    }
    let (kind, message) = match class {
        ErrorClass::Network => (ErrorKind::Network, "the connection could not be made"),
        ErrorClass::Busy => (ErrorKind::Busy, "the server takes no connection now"),
        ErrorClass::Login => (ErrorKind::Login, "the server refused the login"),
        _ if error.as_db_error().is_some() => (ErrorKind::Statement, "the server refused the session"),
        _ => match driver_kind(&error) {
            DriverKind::Config => {
                (ErrorKind::Config, "the driver refused the configuration (is `password` set?)")
            }
            DriverKind::Tls => {
                (ErrorKind::Config, "TLS could not be set up; check `sslmode` and `sslrootcert`")
            }
            _ => (ErrorKind::Driver, "the driver could not start the session"),
        },
    };
    let mapped = Error::new(kind, message).with_class(class).with_outcome(TransactionOutcome::NotSent);
    with_state(mapped, state).with_source(error)
}

/// The library's error for one that a call on a connection gave.
///
/// Kind, class, SQLSTATE, outcome and source are set; host and operation are the caller's to add.
pub(crate) fn map_error(error: tokio_postgres::Error, link: &Link, probe: &Probe, mark: &Mark) -> Error {
    if error.is_closed() {
        return lost(error, link, probe, mark);
    }
    if let Some(db) = error.as_db_error() {
        let class = classify_sqlstate(db.code().code(), is_fatal(db), Phase::Session);
        let state = Some(db.code().code().to_owned());
        let mapped = if class == ErrorClass::Network {
            Error::new(ErrorKind::Network, "the server closed the connection")
                .with_outcome(probe.outcome_of_loss(mark))
        } else {
            refused(db, class, probe, mark)
        };
        return with_state(mapped, state).with_source(error);
    }
    let outcome = match driver_kind(&error) {
        DriverKind::Encode => TransactionOutcome::NotSent,
        _ if !probe.wrote_since(mark) => TransactionOutcome::NotSent,
        // The server did what it was asked; only the answer was of no use.
        _ => TransactionOutcome::MayHaveApplied,
    };
    if probe.is_copying_in() && is_unexpected_message(&error) {
        // The server waits for data that nobody will send; the next call would wait for ever.
        link.kill(Error::new(
            ErrorKind::Network,
            "the connection was given up: a `COPY … FROM STDIN` was run by a call that cannot feed it; use `copy_in`",
        ));
    }
    let message = match outcome {
        TransactionOutcome::NotSent => "the driver refused the call",
        _ => "the driver could not use the answer",
    };
    Error::new(ErrorKind::Driver, message).with_outcome(outcome).with_source(error)
}

/// The server's own answer to a statement; the connection stays usable.
fn refused(db: &DbError, class: ErrorClass, probe: &Probe, mark: &Mark) -> Error {
    let kind = match class {
        ErrorClass::WrongStatement => ErrorKind::StaleStatement,
        _ => ErrorKind::Statement,
    };
    let advice = match db.code() {
        // The server asks for it: serialisation failures, deadlocks.
        code if code.code().starts_with("40") && *code != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN => {
            RetryAdvice::WholeTransaction
        }
        _ => RetryAdvice::Never,
    };
    // Text of several statements may have committed a part before the one that failed.
    let outcome = match db.code() {
        code if *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN => TransactionOutcome::MayHaveApplied,
        _ if probe.committed_since(mark) => TransactionOutcome::MayHaveApplied,
        _ => TransactionOutcome::RolledBack,
    };
    Error::new(kind, "the server refused the statement")
        .with_class(class)
        .with_advice(advice)
        .with_outcome(outcome)
}

/// The driver's bare "closed": the reason stands next to the kill switch, or in how the connection ended.
fn lost(error: tokio_postgres::Error, link: &Link, probe: &Probe, mark: &Mark) -> Error {
    let outcome = probe.outcome_of_loss(mark);
    if let Some(reason) = link.reason() {
        let reason = reason.clone().with_outcome(outcome);
        return if reason.find_source::<tokio_postgres::Error>().is_none()
            && StdError::source(&reason).is_none()
        {
            reason.with_source(error)
        } else {
            reason
        };
    }
    let mapped = Error::new(ErrorKind::Network, "the connection was lost").with_outcome(outcome);
    match link.cause() {
        Some(cause) => {
            let state = cause.code().map(|code| code.code().to_owned());
            let source: wrapper_core::Source = Arc::clone(cause) as _;
            with_state(mapped, state).with_shared_source(source)
        }
        None => mapped.with_source(error),
    }
}

fn with_state(error: Error, state: Option<String>) -> Error {
    match state {
        Some(state) => error.with_sqlstate(state),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorClass::{Network, Other};

    #[test]
    fn malformed_input_is_the_callers() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(&refused, Phase::Connect), Network);
        let timed_out = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(classify(&timed_out, Phase::Connect), Network);
        let malformed = io::Error::from(io::ErrorKind::InvalidData);
        assert_eq!(classify(&malformed, Phase::Session), Other);
        let ours = Error::new(ErrorKind::HostSilent, "silent");
        assert_eq!(classify(&ours, Phase::Session), Network);
    }

    #[test]
    fn the_drivers_texts_still_tell_its_kinds_apart() {
        let config = "host=a connect_timeout=x".parse::<tokio_postgres::Config>().unwrap_err();
        assert_eq!(driver_kind(&config), DriverKind::Config);
        let timeout = tokio_postgres::Error::__private_api_timeout();
        assert_eq!(driver_kind(&timeout), DriverKind::Timeout);
    }
}
