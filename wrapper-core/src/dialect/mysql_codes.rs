//! What an error of a MySQL-family server means by its number: the one table for every driver (R11).
//!
//! What lives here: the table, [`mysql_code`]. What may not: any driver's error type; decisions about what to do, which
//! are the plugins'.

use super::Phase;
use crate::error::ErrorClass;

/// Numbers of errors that mean more than their class.
pub mod mysql_code {
    /// The server rolled a transaction back as a whole to end a deadlock.
    pub const DEADLOCK: u16 = 1213;
    /// Idle for longer than `wait_timeout`: said before the statement that it answers was sent.
    pub const IDLE_TOO_LONG: u16 = 4031;
}

/// The server's numbers that decide on their own, each with its class while connecting and later.
const CODES: &[(u16, ErrorClass, ErrorClass)] = {
    use ErrorClass::{Busy, Login, Network, Other, ReadOnly, WrongStatement};
    &[
        // Alive, but takes no connection now: too many in all, of this user, in this hour; blocked after failures.
        (1040, Busy, Network),
        (1203, Busy, Other),
        (1226, Busy, Other),
        (1129, Busy, Other),
        // The credentials: wrong password, no such user, account locked, password expired.
        (1045, Login, Other),
        (1698, Login, Other),
        (3118, Login, Other),
        (1862, Login, Other),
        // Refuses writes: an option of the server, the transaction is read-only, the server's mode.
        (1290, ReadOnly, ReadOnly),
        (1792, ReadOnly, ReadOnly),
        (1836, ReadOnly, ReadOnly),
        // The number of a prepared statement of another connection.
        (1243, WrongStatement, WrongStatement),
        // Shuts down, was shut down, hangs up.
        (1053, Network, Network),
        (1077, Network, Network),
        (1079, Network, Network),
        (1080, Network, Network),
        // The conversation broke: bad handshake, read and write errors, time-outs, packets out of order.
        (1042, Network, Network),
        (1043, Network, Network),
        (1152, Network, Network),
        (1154, Network, Network),
        (1155, Network, Network),
        (1156, Network, Network),
        (1157, Network, Network),
        (1158, Network, Network),
        (1159, Network, Network),
        (1160, Network, Network),
        (1161, Network, Network),
        (1184, Network, Network),
        // Killed by somebody: MariaDB, MySQL's numbers for a killed session; idle for too long.
        (1927, Network, Network),
        (3169, Network, Network),
        (4031, Network, Network),
        // The client's own numbers, which proxies pass on.
        (2006, Network, Network),
        (2013, Network, Network),
        (2055, Network, Network),
        // The packet was too large: the server hangs up, and another host would too.
        (1153, Other, Other),
        // One statement was stopped, on request or by its time limit: nobody is ill.
        (1317, Other, Other),
        (3024, Other, Other),
    ]
};

/// The class of an error that a MySQL-family server sent with this number. `phase`: whether the session was ready.
pub fn classify_mysql_code(code: u16, phase: Phase) -> ErrorClass {
    let row = CODES.iter().find(|(known, _, _)| *known == code);
    row.map_or(ErrorClass::Other, |(_, connect, session)| match phase {
        Phase::Connect => *connect,
        Phase::Session => *session,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorClass::{Busy, Login, Network, Other, ReadOnly, WrongStatement};

    #[test]
    fn one_row_per_number() {
        // Number, class while connecting, class in a session.
        let rows = [
            (1040, Busy, Network),
            (1203, Busy, Other),
            (1226, Busy, Other),
            (1129, Busy, Other),
            (1045, Login, Other),
            (1698, Login, Other),
            (3118, Login, Other),
            (1862, Login, Other),
            (1044, Other, Other),
            (1290, ReadOnly, ReadOnly),
            (1792, ReadOnly, ReadOnly),
            (1836, ReadOnly, ReadOnly),
            (1243, WrongStatement, WrongStatement),
            (1053, Network, Network),
            (1077, Network, Network),
            (1079, Network, Network),
            (1080, Network, Network),
            (1042, Network, Network),
            (1043, Network, Network),
            (1152, Network, Network),
            (1153, Other, Other),
            (1154, Network, Network),
            (1155, Network, Network),
            (1156, Network, Network),
            (1157, Network, Network),
            (1158, Network, Network),
            (1159, Network, Network),
            (1160, Network, Network),
            (1161, Network, Network),
            (1184, Network, Network),
            (1927, Network, Network),
            (3169, Network, Network),
            (4031, Network, Network),
            (2006, Network, Network),
            (2013, Network, Network),
            (2055, Network, Network),
            (1317, Other, Other),
            (3024, Other, Other),
            (1213, Other, Other),
            (1205, Other, Other),
            (1062, Other, Other),
            (1064, Other, Other),
            (1049, Other, Other),
        ];
        for (code, connecting, later) in rows {
            assert_eq!(classify_mysql_code(code, Phase::Connect), connecting, "{code} connecting");
            assert_eq!(classify_mysql_code(code, Phase::Session), later, "{code} later");
        }
        for (code, _, _) in CODES {
            assert!(rows.iter().any(|(row, _, _)| row == code), "{code} has no row in the test");
        }
    }
}
