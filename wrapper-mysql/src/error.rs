//! What an error of the driver means (R11), and the way from it to the library's error and back.
//!
//! What lives here: [`classify`], the mappings. What may not: the table of the server's numbers, which core keeps for
//! every driver; decisions about what to do, which are the plugins'.

use std::error::Error as StdError;
use std::io;

use mysql_async::{DriverError, IoError, ServerError};
pub(crate) use wrapper_core::dialect::mysql_code::DEADLOCK;
use wrapper_core::dialect::mysql_code::IDLE_TOO_LONG;
use wrapper_core::dialect::{Phase, classify_mysql_code};
use wrapper_core::{Error, ErrorClass, ErrorKind, RetryAdvice, TransactionOutcome};

/// A lock was not given in time; the server may be set to roll the whole transaction back.
pub(crate) const LOCK_WAIT: u16 = 1205;
/// The packet was too large; the server hangs up behind it.
const TOO_LARGE: u16 = 1153;

/// The class of an error of the driver, or of an error that wraps one.
pub(crate) fn classify(error: &(dyn StdError + 'static), phase: Phase) -> ErrorClass {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.class();
        }
        if let Some(server) = error.downcast_ref::<ServerError>() {
            return classify_mysql_code(server.code, phase);
        }
        if let Some(driver) = error.downcast_ref::<DriverError>() {
            return classify_driver(driver);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return classify_io(io);
        }
        next = error.source();
    }
    ErrorClass::Other
}

/// The driver's own errors: of most the caller is to blame.
fn classify_driver(error: &DriverError) -> ErrorClass {
    match error {
        DriverError::ConnectionClosed
        | DriverError::PacketOutOfOrder
        | DriverError::UnexpectedPacket { .. }
        | DriverError::BadCompressedPacketHeader
        | DriverError::PoolDisconnected => ErrorClass::Network,
        _ => ErrorClass::Other,
    }
}

/// Of the system's errors all but those that stand for a packet or a certificate that cannot be used say that the
/// connection is gone.
fn classify_io(error: &io::Error) -> ErrorClass {
    if is_packet_too_large(error) {
        return ErrorClass::Other;
    }
    // The driver files "packets out of order" and the like under `Other`; a refused certificate under `InvalidData`.
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied => {
            ErrorClass::Other
        }
        _ => ErrorClass::Network,
    }
}

/// The driver's codec keeps its error type to itself; its text is all there is.
fn is_packet_too_large(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("larger than max_allowed_packet")
}

/// The driver met a packet with the wrong number: the server said goodbye before the statement was sent.
fn is_out_of_sync(error: &mysql_async::Error) -> bool {
    let text = error.to_string();
    matches!(error, mysql_async::Error::Io(_))
        && (text.contains("out of sync") || text.contains("out of order"))
}

/// Whether the server hangs up behind this error although the statement alone is to blame.
pub(crate) fn closes(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(server) if server.code == TOO_LARGE)
}

/// The server's number, when the error is the server's.
pub(crate) fn code_of(error: &mysql_async::Error) -> Option<u16> {
    match error {
        mysql_async::Error::Server(server) => Some(server.code),
        _ => None,
    }
}

/// Adds what the server said of its error, and the driver's error itself.
fn with_cause(mapped: Error, error: mysql_async::Error) -> Error {
    match &error {
        mysql_async::Error::Server(server) => {
            let (state, code) = (server.state.clone(), server.code);
            mapped.with_sqlstate(state).with_server_code(code).with_source(error)
        }
        _ => mapped.with_source(error),
    }
}

/// The library's error for one that the driver gave while connecting.
pub(crate) fn map_connect_error(error: mysql_async::Error) -> Error {
    if let Some(ours) = own(&error) {
        return ours;
    }
    let class = classify(&error, Phase::Connect);
    let (kind, message) = match class {
        ErrorClass::Network => (ErrorKind::Network, "the connection could not be made"),
        ErrorClass::Busy => (ErrorKind::Busy, "the server takes no connection now"),
        ErrorClass::Login => (ErrorKind::Login, "the server refused the login"),
        _ => match &error {
            mysql_async::Error::Server(_) => (ErrorKind::Statement, "the server refused the session"),
            mysql_async::Error::Driver(DriverError::CleartextPluginDisabled) => (
                ErrorKind::Config,
                "the server asks for the password in clear text; set `enable_cleartext_plugin=true` and, so that it is \
                 encrypted, `ssl_mode=verify_identity`",
            ),
            mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => (
                ErrorKind::Config,
                "`ssl_mode` asks for TLS and the server has none; set `ssl_mode=preferred` or `ssl_mode=disabled` if \
                 that is meant",
            ),
            mysql_async::Error::Driver(
                DriverError::UnknownAuthPlugin { .. } | DriverError::MysqlOldPasswordDisabled,
            ) => (
                ErrorKind::Unsupported,
                "the user logs in by a method that the driver mysql_async does not have; let the account use \
                 `caching_sha2_password` or `mysql_native_password`",
            ),
            mysql_async::Error::Io(_) => (
                ErrorKind::Config,
                "TLS could not be set up; check `ssl_mode` and `ssl_ca` (RDS has a bundle of its own)",
            ),
            _ => (ErrorKind::Driver, "the driver could not start the session"),
        },
    };
    with_cause(Error::new(kind, message).with_class(class).with_outcome(TransactionOutcome::NotSent), error)
}

/// The library's error for one that a call gave. `lost` is what becomes of the work when the connection is gone.
///
/// Kind, class, SQLSTATE, number, outcome and source are set; host and operation are the caller's to add.
pub(crate) fn map_error(error: mysql_async::Error, lost: TransactionOutcome) -> Error {
    if let Some(ours) = own(&error) {
        return ours;
    }
    let class = classify(&error, Phase::Session);
    if class == ErrorClass::Network {
        let idle = code_of(&error) == Some(IDLE_TOO_LONG) || is_out_of_sync(&error);
        let outcome = if idle { before_sending(lost) } else { lost };
        let message = match &error {
            mysql_async::Error::Server(_) => "the server closed the connection",
            _ => "the connection was lost",
        };
        return with_cause(Error::new(ErrorKind::Network, message).with_outcome(outcome), error);
    }
    let mapped = match &error {
        mysql_async::Error::Server(server) => refused(server.code, class),
        mysql_async::Error::Driver(DriverError::LocalInfile(_)) => {
            Error::new(ErrorKind::Driver, "the data for LOAD DATA LOCAL could not be given").with_outcome(lost)
        }
        mysql_async::Error::Io(IoError::Io(io)) if is_packet_too_large(io) => Error::new(
            ErrorKind::Driver,
            "the driver refused a packet that is larger than `max_allowed_packet`; raise the server's setting, or send \
             the data in parts",
        )
        .with_outcome(before_sending(lost)),
        mysql_async::Error::Driver(_) => {
            Error::new(ErrorKind::Driver, "the driver refused the call").with_outcome(before_sending(lost))
        }
        _ => Error::new(ErrorKind::Driver, "the driver could not use the answer").with_outcome(lost),
    };
    with_cause(mapped.with_class(class), error)
}

/// What becomes of the work when the statement of the call itself never ran.
fn before_sending(lost: TransactionOutcome) -> TransactionOutcome {
    match lost {
        TransactionOutcome::MayHaveApplied => TransactionOutcome::NotSent,
        lost => lost,
    }
}

/// The server's own answer to a statement.
fn refused(code: u16, class: ErrorClass) -> Error {
    let kind = match class {
        ErrorClass::WrongStatement => ErrorKind::StaleStatement,
        _ => ErrorKind::Statement,
    };
    let advice = if code == DEADLOCK { RetryAdvice::WholeTransaction } else { RetryAdvice::Never };
    Error::new(kind, "the server refused the statement")
        .with_advice(advice)
        .with_outcome(TransactionOutcome::RolledBack)
}

/// The library's own error, where it travels inside the driver's.
fn own(error: &mysql_async::Error) -> Option<Error> {
    match error {
        mysql_async::Error::Other(inner) => inner.downcast_ref::<Error>().cloned(),
        _ => None,
    }
}

/// The driver's error for the library's, where a trait of the driver fixes the type.
///
/// What the server said of a statement, and nobody changed, is the driver's own error again, so that code which matches
/// on [`ServerError`] goes on to work; everything else travels inside, and
/// [`Error::from_driver`](wrapper_core::Error::from_driver) gets it back.
pub(crate) fn into_driver(error: Error) -> mysql_async::Error {
    if error.kind() == ErrorKind::Statement {
        if let Some(server) = error.find_source::<ServerError>() {
            return mysql_async::Error::Server(server.clone());
        }
    }
    mysql_async::Error::Other(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorClass::{Network, Other};

    fn server(code: u16) -> mysql_async::Error {
        mysql_async::Error::Server(ServerError { code, message: "x".to_owned(), state: "HY000".to_owned() })
    }

    #[test]
    fn the_drivers_own_errors_are_the_callers_but_for_a_broken_conversation() {
        let io = |kind| mysql_async::Error::Io(IoError::Io(io::Error::new(kind, "x")));
        let other = |text: &'static str| mysql_async::Error::Io(IoError::Io(io::Error::other(text)));
        let rows = [
            (mysql_async::Error::Driver(DriverError::ConnectionClosed), Network),
            (mysql_async::Error::Driver(DriverError::PacketOutOfOrder), Network),
            (mysql_async::Error::Driver(DriverError::UnexpectedPacket { payload: Vec::new() }), Network),
            (mysql_async::Error::Driver(DriverError::StmtParamsMismatch { required: 1, supplied: 2 }), Other),
            (mysql_async::Error::Driver(DriverError::MixedParams), Other),
            (io(io::ErrorKind::UnexpectedEof), Network),
            (io(io::ErrorKind::ConnectionReset), Network),
            (io(io::ErrorKind::TimedOut), Network),
            (io(io::ErrorKind::InvalidData), Other),
            (other("Packets out of sync"), Network),
            (other("Packet is larger than max_allowed_packet"), Other),
        ];
        for (error, class) in rows {
            assert_eq!(classify(&error, Phase::Session), class, "{error}");
        }
    }

    #[test]
    fn what_was_said_before_the_statement_was_sent_does_not_leave_its_outcome_open() {
        let lost = TransactionOutcome::MayHaveApplied;
        assert_eq!(map_error(server(4031), lost).outcome(), TransactionOutcome::NotSent);
        assert_eq!(map_error(server(1053), lost).outcome(), lost);
        let deadlock = map_error(server(DEADLOCK), lost);
        assert_eq!(
            (deadlock.kind(), deadlock.retry_advice(), deadlock.outcome(), deadlock.server_code()),
            (ErrorKind::Statement, RetryAdvice::WholeTransaction, TransactionOutcome::RolledBack, Some(1213))
        );
    }

    #[test]
    fn an_error_that_goes_through_the_driver_comes_back() {
        let lost = map_error(server(1053), TransactionOutcome::MayHaveApplied);
        let passed = into_driver(lost);
        assert_eq!(Error::from_driver(&passed).map(Error::kind), Some(ErrorKind::Network));
        assert_eq!(map_error(passed, TransactionOutcome::NotSent).kind(), ErrorKind::Network);
        let refused = into_driver(map_error(server(1062), TransactionOutcome::MayHaveApplied));
        assert!(matches!(refused, mysql_async::Error::Server(ServerError { code: 1062, .. })), "{refused}");
    }
}
