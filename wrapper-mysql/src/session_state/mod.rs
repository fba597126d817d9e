//! Session state: which statements make a new connection like the old one.
//!
//! What lives here: [`SessionState`]. What may not: running SQL.
//!
//! The driver does not ask the server to report changes, so state is read off the text of statements that succeeded:
//! `USE`, `SET` of session variables (autocommit, isolation, read-only, character set, time zone and all others),
//! `SET NAMES`, `SET CHARACTER SET`, `SET ROLE`. MySQL keeps such changes when a transaction is rolled back. Not covered,
//! and so written into the documentation of [`Connector`](crate::Connector): user variables, values that come from them
//! or from parameters, what procedures and statements of the raw driver set, temporary tables, locks.

mod change;

use change::{Change, changes};

/// The key of the database in use.
pub(crate) const DATABASE: &str = "database";

/// The variable that goes last: it makes the next statement begin a transaction.
const AUTOCOMMIT: &str = "autocommit";

/// What statements have set, in the order of the last time each setting was set.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    settled: Vec<(String, String)>,
}

impl SessionState {
    /// Whether [`SessionState::observe`] would find anything in `sql`; a cheap look that may say yes too often.
    pub(crate) fn concerns(sql: &str) -> bool {
        let text = sql.trim_start();
        let first = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if first.is_empty() {
            return text.starts_with(['-', '#', '/', ';']);
        }
        first.eq_ignore_ascii_case("SET")
            || first.eq_ignore_ascii_case("USE")
            || text.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).contains(';')
    }

    /// Takes in statements that have succeeded.
    pub(crate) fn observe(&mut self, sql: &str) {
        for change in changes(sql) {
            match change {
                Change::Replace { key, sql } => {
                    self.settled.retain(|(known, _)| !covers(&key, known));
                    self.settled.push((key, sql));
                }
                Change::Add { key, sql } => {
                    if !self.settled.iter().any(|(_, known)| *known == sql) {
                        self.settled.push((key, sql));
                    }
                }
            }
        }
    }

    /// The session was reset by the server: only the database stays.
    pub(crate) fn reset(&mut self) {
        self.settled.retain(|(key, _)| key == DATABASE);
    }

    /// The statements that make another session like this one.
    pub(crate) fn statements(&self) -> Vec<String> {
        let order = |key: &str| match key {
            DATABASE => 0,
            AUTOCOMMIT => 2,
            _ => 1,
        };
        let mut settled: Vec<_> = self.settled.iter().collect();
        settled.sort_by_key(|(key, _)| order(key));
        settled.into_iter().map(|(_, sql)| sql.clone()).collect()
    }
}

/// `USE` with the name quoted.
pub(crate) fn use_database(name: &str) -> String {
    format!("USE `{}`", name.replace('`', "``"))
}

/// Whether setting `key` overrides what was set under `known`.
fn covers(key: &str, known: &str) -> bool {
    const OF_NAMES: [&str; 4] =
        ["character_set_client", "character_set_connection", "character_set_results", "collation_connection"];
    key == known || (key == change::NAMES && OF_NAMES.contains(&known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(texts: &[&str]) -> Vec<String> {
        let mut state = SessionState::default();
        for text in texts {
            if SessionState::concerns(text) {
                state.observe(text);
            }
        }
        state.statements()
    }

    #[test]
    fn the_last_value_of_each_setting_is_carried_in_an_order_that_works() {
        assert_eq!(
            state(&[
                "SET autocommit=0, time_zone = '+02:00'",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
                "set names 'latin1' collate latin1_bin",
                "SET @@session.sql_mode = '', @@global.max_connections = 5, wait_timeout = 7",
                "SET time_zone = 'Europe/Berlin'; USE `My``Db`",
                "SET NAMES utf8mb4",
            ]),
            [
                "USE `My``Db`",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SET SESSION TRANSACTION READ ONLY",
                "SET SESSION sql_mode = ''",
                "SET SESSION wait_timeout = 7",
                "SET SESSION time_zone = 'Europe/Berlin'",
                "SET NAMES utf8mb4",
                "SET SESSION autocommit = 0",
            ]
        );
    }

    #[test]
    fn what_is_not_the_sessions_is_left_out() {
        for text in [
            "SET GLOBAL time_zone = '+00:00', max_connections = 7",
            "SET PERSIST time_zone = '+00:00'",
            "SET @a = 1",
            "SET time_zone = @a",
            "SET time_zone = ?",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET @@transaction_isolation = 'SERIALIZABLE'",
            "SET PASSWORD = 'secret'",
            "SET STATEMENT max_statement_time=1 FOR SELECT 1",
            "SELECT 'SET time_zone = 1'",
            "INSERT INTO t VALUES (';')",
        ] {
            assert!(state(&[text]).is_empty(), "{text}: {:?}", state(&[text]));
        }
    }

    #[test]
    fn a_value_made_from_the_one_before_is_set_after_it() {
        let add = "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')";
        assert_eq!(
            state(&["SET sql_mode = 'ANSI'", add, add]),
            ["SET SESSION sql_mode = 'ANSI'", "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"]
        );
        assert_eq!(state(&[add, "SET sql_mode = ''"]), ["SET SESSION sql_mode = ''"]);
    }

    #[test]
    fn isolation_has_one_setting_under_all_its_names() {
        assert_eq!(
            state(&[
                "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                "SET SESSION tx_isolation = 'READ-COMMITTED'",
                "SET transaction_isolation = 'REPEATABLE-READ'"
            ]),
            ["SET SESSION transaction_isolation = 'REPEATABLE-READ'"]
        );
    }

    #[test]
    fn a_reset_keeps_the_database() {
        let mut state = SessionState::default();
        state.observe("USE a; SET time_zone = '+00:00'");
        state.reset();
        assert_eq!(state.statements(), ["USE `a`"]);
    }
}
