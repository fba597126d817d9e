//! What a text does, as far as its words tell: statements apart, what may begin or commit a transaction.
//!
//! What lives here: [`Effect`], the tokens. What may not: session state, which is read off the same tokens.

mod tokens;

pub(crate) use tokens::{Token, statements};

/// What running a text may do to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// It may begin one.
    pub(crate) begins: bool,
    /// It may commit the one that is open.
    pub(crate) commits: bool,
    /// Without an open transaction it applies nothing.
    pub(crate) inert: bool,
}

/// First words of statements that neither begin nor commit: all others may do both. A function that a SELECT calls
/// cannot commit; a procedure can.
const PLAIN: [&str; 15] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN",
    "DESCRIBE", "DESC", "USE", "DO", "HANDLER",
];

/// First words of statements that only undo, or mark a point to undo to.
const UNDOING: [&str; 3] = ["ROLLBACK", "SAVEPOINT", "RELEASE"];

impl Effect {
    /// Nothing: a ping, preparing a statement.
    pub(crate) const NONE: Self = Self { begins: false, commits: false, inert: true };
    /// Not known: a text that nobody has shown.
    pub(crate) const UNKNOWN: Self = Self { begins: true, commits: true, inert: false };

    /// Of a text; without one, [`UNKNOWN`](Self::UNKNOWN).
    pub(crate) fn of(sql: Option<&str>) -> Self {
        let Some(sql) = sql else { return Self::UNKNOWN };
        // Nearly every text begins with a plain word and is one statement.
        let trimmed = sql.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '(');
        if !trimmed.contains(';') && is_one_of(first_word(trimmed), &PLAIN) {
            return Self { begins: false, commits: false, inert: false };
        }
        let statements = statements(sql);
        match &statements[..] {
            [] => Self::NONE,
            [one] => Self::of_statement(one),
            _ => Self::UNKNOWN,
        }
    }

    fn of_statement(tokens: &[Token<'_>]) -> Self {
        let Some(first) = tokens.iter().find(|token| token.text != "(") else { return Self::NONE };
        if is_one_of(first.text, &PLAIN) {
            return Self { begins: false, commits: false, inert: false };
        }
        if is_one_of(first.text, &UNDOING) {
            return Self::NONE;
        }
        if first.is("BEGIN") || first.is("START") {
            // One in an open transaction commits that.
            return Self { begins: true, commits: true, inert: true };
        }
        if first.is("COMMIT") {
            return Self { begins: false, commits: true, inert: false };
        }
        if first.is("SET") {
            let touches = tokens.iter().any(|token| {
                let name = token.name().to_ascii_lowercase();
                name.ends_with("autocommit") || name == "password"
            });
            return Self { begins: touches, commits: touches, inert: !touches };
        }
        Self::UNKNOWN
    }
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default()
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.iter().any(|one| one.eq_ignore_ascii_case(word))
}

/// Whether a text is one statement with this first word.
pub(crate) fn is_statement(sql: &str, word: &str) -> bool {
    // A cheap look first.
    if sql.len() > 200 {
        return false;
    }
    matches!(&statements(sql)[..], [one] if one.first().is_some_and(|first| first.is(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(sql: &str) -> bool {
        Effect::of(Some(sql)).commits
    }

    #[test]
    fn what_may_commit_is_all_but_what_is_known_not_to() {
        for sql in [
            "COMMIT",
            " /* x */ commit",
            "# x\nCOMMIT",
            "CREATE TABLE t (a int)",
            "LOCK TABLES t READ",
            "CALL p()",
            "SET autocommit = 1",
            "SET @@session.autocommit=1",
            "START TRANSACTION",
            "INSERT INTO t VALUES (1); COMMIT",
            "/*! COMMIT */",
            "XA COMMIT 'x'",
            "",
        ] {
            assert_eq!(commits(sql), !sql.is_empty(), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "(SELECT 1)",
            "insert into t values ('; COMMIT')",
            "INSERT INTO t VALUES (1);",
            "ROLLBACK",
            "ROLLBACK TO SAVEPOINT x",
            "SET @a = 1",
            "SET SESSION sql_mode = ''",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "-- COMMIT\nSELECT 1",
        ] {
            assert!(!commits(sql), "{sql}");
        }
        assert!(Effect::of(None).commits);
    }

    #[test]
    fn beginnings_apply_nothing_by_themselves() {
        for sql in ["BEGIN", "start transaction read only", "SAVEPOINT a", "SET time_zone = '+00:00'"] {
            assert!(Effect::of(Some(sql)).inert, "{sql}");
        }
        assert!(Effect::of(Some("BEGIN")).begins && !Effect::of(Some("INSERT INTO t VALUES (1)")).begins);
        assert!(is_statement(" commit ;", "COMMIT") && !is_statement("COMMIT; SELECT 1", "COMMIT"));
    }
}
