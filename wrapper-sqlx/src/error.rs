//! What an error of sqlx means (R11), and the way from it to the library's error and back.
//!
//! What lives here: [`classify`], the mappings. What may not: the tables of SQLSTATEs and of MySQL's numbers, which core
//! keeps for every driver; decisions about what to do.

use std::error::Error as StdError;
use std::io;

use wrapper_core::dialect::{Phase, classify_io};
use wrapper_core::{Error, ErrorClass, ErrorKind, TransactionOutcome};

use super::family::Family;
use super::sqlx;

/// The class of an error of sqlx, or of an error that wraps one.
pub(crate) fn classify<DB: Family>(error: &(dyn StdError + 'static), phase: Phase) -> ErrorClass {
    // Where sqlx's error carries one of ours, ours knows more.
    if let Some(ours) = Error::from_driver(error) {
        return ours.class();
    }
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(server) = error.downcast_ref::<DB::ServerError>() {
            return DB::classify(server, phase, false);
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

fn server_error<DB: Family>(error: &sqlx::Error) -> Option<&DB::ServerError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<DB::ServerError>())
}

/// The library's error for one that sqlx gave while connecting.
pub(crate) fn map_connect_error<DB: Family>(error: sqlx::Error, login_is_network: bool) -> Error {
    let class = match server_error::<DB>(&error) {
        Some(server) => DB::classify(server, Phase::Connect, login_is_network),
        None => classify::<DB>(&error, Phase::Connect),
    };
    let (kind, message) = match (class, &error) {
        (ErrorClass::Network, _) => (ErrorKind::Network, "the connection could not be made"),
        (ErrorClass::Busy, _) => (ErrorKind::Busy, "the server takes no connection now"),
        (ErrorClass::Login, _) => (ErrorKind::Login, "the server refused the login"),
        (_, sqlx::Error::Database(_)) => (ErrorKind::Statement, "the server refused the session"),
        (_, sqlx::Error::Tls(_)) => (
            ErrorKind::Config,
            "TLS could not be set up; check `ssl_mode` and the certificate authorities (`ssl_root_cert`, `ssl_ca`) of the \
             connect options, and that a feature `tls-…` is on",
        ),
        (_, sqlx::Error::Configuration(_)) => (ErrorKind::Config, "sqlx refused the connect options"),
        _ => (ErrorKind::Driver, "sqlx could not start the session"),
    };
    let mapped = Error::new(kind, message).with_class(class).with_outcome(TransactionOutcome::NotSent);
    told::<DB>(mapped, &error).with_source(error)
}

/// The library's error for one that a call on an open connection gave; host and operation are the caller's to add.
pub(crate) fn map_error<DB: Family>(error: sqlx::Error) -> Error {
    describe_error::<DB>(&error).with_source(error)
}

/// The same without sqlx's error as its source.
pub(crate) fn describe_error<DB: Family>(error: &sqlx::Error) -> Error {
    let class = classify::<DB>(error, Phase::Session);
    let mapped = match (class, server_error::<DB>(error)) {
        (ErrorClass::Network, _) => Error::new(ErrorKind::Network, "the connection was lost"),
        (ErrorClass::WrongStatement, _) => {
            Error::new(ErrorKind::StaleStatement, "the server does not know the statement")
        }
        (_, Some(server)) => DB::refused(server).with_class(class),
        (_, None) => Error::new(ErrorKind::Driver, "sqlx could not use the answer")
            .with_class(class)
            .with_outcome(TransactionOutcome::MayHaveApplied),
    };
    told::<DB>(mapped, error)
}

/// Adds what the server said of its error.
fn told<DB: Family>(mapped: Error, error: &sqlx::Error) -> Error {
    match server_error::<DB>(error) {
        Some(server) => DB::told(mapped, server),
        None => mapped,
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

    #[cfg(not(feature = "postgres"))]
    use super::sqlx::MySql as Any;
    #[cfg(feature = "postgres")]
    use super::sqlx::Postgres as Any;

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
            assert_eq!(classify::<Any>(&error, Phase::Session), class, "{error}");
        }
        let refused = map_connect_error::<Any>(io(io::ErrorKind::ConnectionRefused), false);
        assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Network, TransactionOutcome::NotSent));
        let tls = map_connect_error::<Any>(sqlx::Error::Tls("unknown issuer".into()), false);
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
        assert_eq!(classify::<Any>(&foreign, Phase::Session), ErrorClass::Busy);
    }
}
