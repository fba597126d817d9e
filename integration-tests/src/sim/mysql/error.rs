//! Which of MySQL's errors a SQLSTATE of the shared SQL engine is.
//!
//! What may not live here: decisions about when an error is raised.

use crate::sim::error::SqlError;

/// MySQL's number and SQLSTATE; `reads_only` is whether the server takes no writes.
pub(super) fn number_and_state(error: &SqlError, reads_only: bool) -> (u16, &'static [u8; 5]) {
    if let Some(number) = error.number {
        return (number, state_of(&error.code));
    }
    match error.code.as_ref() {
        // The server's own state comes first; else it is the transaction's.
        "25006" if reads_only => (1290, b"HY000"),
        "25006" => (1792, b"25006"),
        "0A000" => (1235, b"42000"),
        "21000" => (1242, b"21000"),
        "22003" => (1264, b"22003"),
        "22012" => (1365, b"22012"),
        "22021" => (1300, b"HY000"),
        "22P02" => (1366, b"HY000"),
        "23502" => (1048, b"23000"),
        "23505" => (1062, b"23000"),
        "28000" | "28P01" => (1045, b"28000"),
        "40001" => (1213, b"40001"),
        "42601" => (1064, b"42000"),
        "42702" => (1052, b"23000"),
        "42703" => (1054, b"42S22"),
        "42883" => (1305, b"42000"),
        "42P01" => (1146, b"42S02"),
        "42P07" => (1050, b"42S01"),
        "53300" => (1040, b"08004"),
        "57014" => (1317, b"70100"),
        "57P01" | "57P02" | "57P03" => (1053, b"08S01"),
        _ => (1105, b"HY000"),
    }
}

/// The SQLSTATE of an error that is MySQL's own.
fn state_of(code: &str) -> &'static [u8; 5] {
    match code {
        "08004" => b"08004",
        "08S01" => b"08S01",
        "25001" => b"25001",
        "28000" => b"28000",
        "42000" => b"42000",
        "42S02" => b"42S02",
        _ => b"HY000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_refused_by_the_server_before_the_transaction() {
        let error = SqlError::read_only("INSERT");
        assert_eq!(number_and_state(&error, true), (1290, b"HY000"));
        assert_eq!(number_and_state(&error, false), (1792, b"25006"));
    }

    #[test]
    fn own_errors_keep_their_number() {
        let error = SqlError::mysql(1109, "42S02", "Unknown table");
        assert_eq!(number_and_state(&error, false), (1109, b"42S02"));
    }
}
