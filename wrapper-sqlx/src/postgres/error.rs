//! What an error of sqlx means (R11), and the way from it to the library's error and back.
//!
//! What lives here: [`classify`], the mappings. What may not: the table of SQLSTATEs, which core keeps for every driver
//! of PostgreSQL; decisions about what to do.

use std::error::Error as StdError;
use std::io;

use sqlx::postgres::{PgDatabaseError, PgSeverity};
use wrapper_core::dialect::{Phase, classify_io, classify_sqlstate};
use wrapper_core::{Error, ErrorClass, ErrorKind, RetryAdvice, TransactionOutcome};

/// The class of an error of sqlx, or of an error that wraps one.
pub(crate) fn classify(error: &(dyn StdError + 'static), phase: Phase) -> ErrorClass {
    // Where sqlx's error carries one of ours, ours knows more.
    if let Some(ours) = Error::from_driver(error) {
        return ours.class();
    }
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(server) = error.downcast_ref::<PgDatabaseError>() {
            return classify_sqlstate(server.code(), is_fatal(server), phase);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return classify_io(io.kind());
        }
        next = match error.downcast_ref::<sqlx::Error>() {
            // Printed through; their sources skip the error itself.
            Some(sqlx::Error::Database(server)) => Some(server.as_error()),
            Some(sqlx::Error::Io(io)) => Some(io),
            Some(sqlx::Error::Tls(cause)) => Some(&**cause),
            _ => error.source(),
        };
    }
    ErrorClass::Other
}

/// Whether the server closes the connection with this error.
fn is_fatal(error: &PgDatabaseError) -> bool {
    matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
}

fn server_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
}

/// The library's error for one that sqlx gave while connecting.
pub(crate) fn map_connect_error(error: sqlx::Error, login_is_network: bool) -> Error {
    let mut class = classify(&error, Phase::Connect);
    let state = server_error(&error).map(|error| error.code().to_owned());
    if login_is_network && state.as_deref() == Some("28000") {
        class = ErrorClass::Network;
    }
    let (kind, message) = match (class, &error) {
        (ErrorClass::Network, _) => (ErrorKind::Network, "the connection could not be made"),
        (ErrorClass::Busy, _) => (ErrorKind::Busy, "the server takes no connection now"),
        (ErrorClass::Login, _) => (ErrorKind::Login, "the server refused the login"),
        (_, sqlx::Error::Database(_)) => (ErrorKind::Statement, "the server refused the session"),
        (_, sqlx::Error::Tls(_)) => (
            ErrorKind::Config,
            "TLS could not be set up; check `ssl_mode` and `ssl_root_cert` of the connect options, and that a feature \
             `tls-…` is on",
        ),
        (_, sqlx::Error::Configuration(_)) => (ErrorKind::Config, "sqlx refused the connect options"),
        _ => (ErrorKind::Driver, "sqlx could not start the session"),
    };
    let mapped = Error::new(kind, message).with_class(class).with_outcome(TransactionOutcome::NotSent);
    with_state(mapped, state).with_source(error)
}

/// The library's error for one that a call on an open connection gave; host and operation are the caller's to add.
pub(crate) fn map_error(error: sqlx::Error) -> Error {
    describe_error(&error).with_source(error)
}

/// The same without sqlx's error as its source.
pub(crate) fn describe_error(error: &sqlx::Error) -> Error {
    let class = classify(error, Phase::Session);
    let state = server_error(error).map(|error| error.code().to_owned());
    let mapped = match (class, &state) {
        (ErrorClass::Network, _) => Error::new(ErrorKind::Network, "the connection was lost"),
        (ErrorClass::WrongStatement, _) => {
            Error::new(ErrorKind::StaleStatement, "the server does not know the statement")
        }
        (_, Some(state)) => refused(state).with_class(class),
        (_, None) => Error::new(ErrorKind::Driver, "sqlx could not use the answer")
            .with_class(class)
            .with_outcome(TransactionOutcome::MayHaveApplied),
    };
    with_state(mapped, state)
}

/// The server's own answer to a statement; the connection stays usable.
fn refused(state: &str) -> Error {
    let refused = Error::new(ErrorKind::Statement, "the server refused the statement");
    match state {
        // "Statement completion unknown".
        "40003" => refused.with_outcome(TransactionOutcome::MayHaveApplied),
        // The server asks for it: serialisation failures, deadlocks.
        state if state.starts_with("40") => refused.with_advice(RetryAdvice::WholeTransaction),
        _ => refused,
    }
}

fn with_state(error: Error, state: Option<String>) -> Error {
    match state {
        Some(state) => error.with_sqlstate(state),
        None => error,
    }
}

/// A connect that is late is a matter of the network, and nothing was sent.
pub(crate) fn late(error: Error) -> Error {
    if error.kind() == ErrorKind::Timeout {
        return error.with_class(ErrorClass::Network).with_outcome(TransactionOutcome::NotSent);
    }
    error
}

/// An error of the library inside one of sqlx, from which [`Error::from_driver`] gets it back (R9).
pub(crate) fn into_sqlx(error: Error) -> sqlx::Error {
    sqlx::Error::Io(io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_without_a_server_have_their_classes() {
        let io = |kind| sqlx::Error::Io(io::Error::from(kind));
        for (error, class) in [
            (io(io::ErrorKind::ConnectionRefused), ErrorClass::Network),
            (io(io::ErrorKind::UnexpectedEof), ErrorClass::Network),
            (io(io::ErrorKind::InvalidData), ErrorClass::Other),
            (
                sqlx::Error::Tls(Box::new(io::Error::from(io::ErrorKind::ConnectionReset))),
                ErrorClass::Network,
            ),
            (sqlx::Error::Tls("the certificate is not for this name".into()), ErrorClass::Other),
            (sqlx::Error::Protocol("odd".to_owned()), ErrorClass::Other),
            (sqlx::Error::PoolTimedOut, ErrorClass::Other),
            (sqlx::Error::RowNotFound, ErrorClass::Other),
        ] {
            assert_eq!(classify(&error, Phase::Session), class, "{error}");
        }
        let refused = map_connect_error(io(io::ErrorKind::ConnectionRefused), false);
        assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Network, TransactionOutcome::NotSent));
        let tls = map_connect_error(sqlx::Error::Tls("unknown issuer".into()), false);
        assert_eq!(tls.kind(), ErrorKind::Config);
        assert!(
            tls.to_string().contains("ssl_root_cert") && tls.to_string().contains("unknown issuer"),
            "{tls}"
        );
    }

    #[test]
    fn an_error_of_ours_travels_inside_one_of_sqlx() {
        let ours = Error::new(ErrorKind::FailoverFailed, "no writer").with_class(ErrorClass::Busy);
        let foreign = into_sqlx(ours);
        assert_eq!(Error::from_driver(&foreign).map(Error::kind), Some(ErrorKind::FailoverFailed));
        assert_eq!(classify(&foreign, Phase::Session), ErrorClass::Busy);
    }
}
