//! What an error of a PostgreSQL server, or of its socket, means: the one table for every driver (R11).
//!
//! What lives here: the table by SQLSTATE, [`Phase`]. What may not: any driver's error type; decisions about what to do,
//! which are the plugins'.

use std::io;

use crate::error::ErrorClass;

/// When an error came up: the same code means different things while connecting and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Before the session was ready.
    Connect,
    /// In a call, or on an idle connection.
    Session,
}

/// SQLSTATEs and classes of them (two characters) that decide on their own; the first row that fits counts.
const STATES: &[(&str, ErrorClass)] = &[
    // Alive, but takes no connection now.
    ("53300", ErrorClass::Busy),
    ("57P03", ErrorClass::Busy),
    ("08004", ErrorClass::Busy),
    // The credentials.
    ("28000", ErrorClass::Login),
    ("28P01", ErrorClass::Login),
    // Refuses writes.
    ("25006", ErrorClass::ReadOnly),
    // The name of a prepared statement of another connection.
    ("26000", ErrorClass::WrongStatement),
    // Cancelled on request or by a time limit of the statement: nobody is ill.
    ("57014", ErrorClass::Other),
    // Shut down, crashed, idle too long (in a transaction or not), transaction too long: the server hangs up.
    ("57P01", ErrorClass::Network),
    ("57P02", ErrorClass::Network),
    ("57P05", ErrorClass::Network),
    ("25P03", ErrorClass::Network),
    ("25P04", ErrorClass::Network),
    // The two sides disagree about the protocol: another host will not do better.
    ("08P01", ErrorClass::Other),
    ("08", ErrorClass::Network),
    // A file that a statement named is absent or exists already; the rest of the class is the server's disk.
    ("58P01", ErrorClass::Other),
    ("58P02", ErrorClass::Other),
    ("58", ErrorClass::Network),
    ("F0", ErrorClass::Network),
];

/// The class of an error that a PostgreSQL server sent with this SQLSTATE. `fatal`: the server closes the connection with
/// it (its severity is FATAL or PANIC).
pub fn classify_sqlstate(state: &str, fatal: bool, phase: Phase) -> ErrorClass {
    let row = STATES.iter().find(|(code, _)| state.starts_with(code)).map(|(_, class)| *class);
    match (row, phase) {
        // While connecting every refusal is fatal; only what the table names says something about the host.
        (row, Phase::Connect) => row.unwrap_or(ErrorClass::Other),
        (Some(ErrorClass::Busy), Phase::Session) if !fatal => ErrorClass::Other,
        // A session that was let in needs no credentials: an ERROR is a statement's (SET ROLE), a FATAL a loss.
        (Some(ErrorClass::Login), Phase::Session) if !fatal => ErrorClass::Other,
        (_, Phase::Session) if fatal => ErrorClass::Network,
        // An ERROR of this class is about a connection that the server made (foreign tables, dblink), not about ours.
        (_, Phase::Session) if state.starts_with("08") => ErrorClass::Other,
        (row, Phase::Session) => row.unwrap_or(ErrorClass::Other),
    }
}

/// The class of an error of the operating system on a connection: all but those that stand for malformed input or a
/// missing right say that the connection is gone.
pub fn classify_io(kind: io::ErrorKind) -> ErrorClass {
    match kind {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied => {
            ErrorClass::Other
        }
        _ => ErrorClass::Network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorClass::{Busy, Login, Network, Other, ReadOnly, WrongStatement};

    #[test]
    fn one_row_per_state() {
        // State, fatal, class while connecting, class in a session.
        let rows = [
            ("53300", true, Busy, Network),
            ("53200", false, Other, Other),
            ("53100", false, Other, Other),
            ("57P03", true, Busy, Network),
            ("08004", true, Busy, Network),
            ("28000", true, Login, Network),
            ("28P01", true, Login, Network),
            ("28000", false, Login, Other),
            ("25006", false, ReadOnly, ReadOnly),
            ("26000", false, WrongStatement, WrongStatement),
            ("57014", false, Other, Other),
            ("57P01", true, Network, Network),
            ("57P02", true, Network, Network),
            ("57P04", true, Other, Network),
            ("57P05", true, Network, Network),
            ("25P03", true, Network, Network),
            ("25P04", true, Network, Network),
            ("25P02", false, Other, Other),
            ("08000", false, Network, Other),
            ("08001", false, Network, Other),
            ("08003", false, Network, Other),
            ("08006", true, Network, Network),
            ("08007", false, Network, Other),
            ("08006", false, Network, Other),
            ("08P01", false, Other, Other),
            ("08P01", true, Other, Network),
            ("58000", false, Network, Network),
            ("58030", false, Network, Network),
            ("58P01", false, Other, Other),
            ("F0000", true, Network, Network),
            ("XX000", false, Other, Other),
            ("XX001", false, Other, Other),
            ("XX000", true, Other, Network),
            ("3D000", true, Other, Network),
            ("42601", false, Other, Other),
            ("23505", false, Other, Other),
            ("40001", false, Other, Other),
            ("40P01", false, Other, Other),
            ("99999", false, Other, Other),
        ];
        for (state, fatal, connecting, later) in rows {
            assert_eq!(classify_sqlstate(state, fatal, Phase::Connect), connecting, "{state} connecting");
            assert_eq!(classify_sqlstate(state, fatal, Phase::Session), later, "{state} later");
        }
    }

    #[test]
    fn malformed_input_is_the_callers() {
        assert_eq!(classify_io(io::ErrorKind::ConnectionRefused), Network);
        assert_eq!(classify_io(io::ErrorKind::UnexpectedEof), Network);
        assert_eq!(classify_io(io::ErrorKind::InvalidData), Other);
    }
}
