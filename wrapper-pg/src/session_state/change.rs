//! What a statement changes about the session.
//!
//! What lives here: [`changes`], from tokens to [`Change`]s. What may not: state.

use super::tokens::{Kind, Token, statements};

/// A change that one statement makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A setting has a value; `sql` sets it again.
    Set {
        key: String,
        sql: String,
    },
    /// A setting has its first value again.
    Reset(String),
    /// All settings have, but not who the session is.
    ResetAll,
    /// Everything has.
    DiscardAll,
    /// No channel is listened to any more.
    UnlistenAll,
    Savepoint(String),
    RollbackTo(String),
    Commit,
    Rollback,
}

/// The setting that stands for who the session acts as.
pub(super) const ROLE: &str = "role";
/// The setting that stands for who the session is.
pub(super) const AUTHORIZATION: &str = "session_authorization";

/// A channel that is listened to stands among the settings under this and its name, which no setting has.
pub(super) const LISTEN: &str = "LISTEN ";

/// Whether `sql` may change anything; a cheap look that may say yes too often.
pub(super) fn may_change(sql: &str) -> bool {
    const WORDS: [&str; 11] = [
        "SET",
        "RESET",
        "LISTEN",
        "UNLISTEN",
        "DISCARD",
        "SAVEPOINT",
        "ROLLBACK",
        "ABORT",
        "COMMIT",
        "END",
        "PREPARE",
    ];
    let text = sql.trim_start();
    if text.starts_with("--") || text.starts_with("/*") {
        return true;
    }
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    if word.eq_ignore_ascii_case("SELECT") && calls_set_config(&text[word.len()..]) {
        return true;
    }
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
        || text.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).contains(';')
}

/// Whether a SELECT list begins with a call of `set_config`.
fn calls_set_config(list: &str) -> bool {
    let begins =
        |text: &str, name: &str| text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
    let list = list.trim_start();
    let list = if begins(list, "pg_catalog.") { &list["pg_catalog.".len()..] } else { list };
    begins(list, "set_config")
}

/// The changes that the statements of `sql` make, in order.
pub(super) fn changes(sql: &str) -> Vec<Change> {
    statements(sql).iter().flat_map(|tokens| of_statement(tokens)).collect()
}

fn of_statement(tokens: &[Token<'_>]) -> Vec<Change> {
    let Some((first, rest)) = tokens.split_first() else { return Vec::new() };
    let one = |change: Option<Change>| change.into_iter().collect();
    if first.is("SET") {
        set(tokens, rest)
    } else if first.is("SELECT") {
        set_config(rest)
    } else if first.is("RESET") {
        one(reset(rest))
    } else if first.is("LISTEN") {
        one(rest.first().map(|name| Change::Set { key: channel(name), sql: joined(tokens) }))
    } else if first.is("UNLISTEN") {
        one(rest.first().map(|name| match name.text {
            "*" => Change::UnlistenAll,
            _ => Change::Reset(channel(name)),
        }))
    } else if first.is("DISCARD") {
        one(rest.first().filter(|what| what.is("ALL")).map(|_| Change::DiscardAll))
    } else if first.is("SAVEPOINT") {
        one(rest.first().map(|name| Change::Savepoint(name.name())))
    } else if first.is("COMMIT") || first.is("END") {
        vec![Change::Commit]
    } else if first.is("PREPARE") {
        one(rest.first().filter(|what| what.is("TRANSACTION")).map(|_| Change::Commit))
    } else if first.is("ROLLBACK") || first.is("ABORT") {
        rollback(rest)
    } else {
        Vec::new()
    }
}

fn channel(name: &Token<'_>) -> String {
    format!("{LISTEN}{}", name.name())
}

/// `ROLLBACK [WORK | TRANSACTION] [TO [SAVEPOINT] name]`; `ROLLBACK PREPARED` is about another transaction.
fn rollback(rest: &[Token<'_>]) -> Vec<Change> {
    if rest.first().is_some_and(|word| word.is("PREPARED")) {
        return Vec::new();
    }
    let Some(to) = rest.iter().position(|word| word.is("TO")) else { return vec![Change::Rollback] };
    let mut names = rest[to + 1..].iter();
    let name = match names.next() {
        Some(word) if word.is("SAVEPOINT") => names.next(),
        name => name,
    };
    name.map(|name| Change::RollbackTo(name.name())).into_iter().collect()
}

fn reset(rest: &[Token<'_>]) -> Option<Change> {
    let (first, second) = (rest.first()?, rest.get(1));
    if first.is("ALL") {
        Some(Change::ResetAll)
    } else if first.is("SESSION") && second.is_some_and(|word| word.is("AUTHORIZATION")) {
        Some(Change::Reset(AUTHORIZATION.into()))
    } else if first.is("TIME") && second.is_some_and(|word| word.is("ZONE")) {
        Some(Change::Reset("timezone".into()))
    } else if first.is("TRANSACTION") {
        None
    } else {
        let (key, _) = setting_name(rest)?;
        Some(Change::Reset(key))
    }
}

fn set(statement: &[Token<'_>], rest: &[Token<'_>]) -> Vec<Change> {
    let mut rest = rest;
    let session = rest.first().is_some_and(|word| word.is("SESSION"));
    if session {
        rest = &rest[1..];
    }
    let Some(first) = rest.first() else { return Vec::new() };
    let second = rest.get(1);
    // These have a syntax of their own, unless the word is the name of a setting: `SET role = x`.
    let named = second.is_some_and(|word| word.is("TO") || word.text == "=");
    if !named {
        if session && first.is("CHARACTERISTICS") {
            return characteristics(rest);
        }
        for none in ["LOCAL", "TRANSACTION", "CONSTRAINTS", "SEED"] {
            if first.is(none) {
                return Vec::new();
            }
        }
        let special = |key: &str, value: Option<&Token<'_>>, default: &[&str]| match value {
            Some(value) if default.iter().any(|word| value.is(word)) => vec![Change::Reset(key.into())],
            Some(_) => vec![Change::Set { key: key.into(), sql: joined(statement) }],
            None => Vec::new(),
        };
        if session && first.is("AUTHORIZATION") {
            return special(AUTHORIZATION, second, &["DEFAULT"]);
        }
        if first.is("ROLE") {
            return special(ROLE, second, &["NONE"]);
        }
        if first.is("TIME") && second.is_some_and(|word| word.is("ZONE")) {
            return special("timezone", rest.get(2), &["LOCAL", "DEFAULT"]);
        }
        if first.is("SCHEMA") {
            return special("search_path", second, &[]);
        }
        if first.is("NAMES") {
            return special("client_encoding", second.or(Some(first)), &["DEFAULT", "NAMES"]);
        }
        if first.is("XML") && second.is_some_and(|word| word.is("OPTION")) {
            return special("xmloption", rest.get(2), &[]);
        }
    }
    let Some((key, value)) = setting_name(rest) else { return Vec::new() };
    match value {
        [to, default] if is_assignment(to) && default.is("DEFAULT") => vec![Change::Reset(key)],
        [to, _, ..] if is_assignment(to) => vec![Change::Set { key, sql: joined(statement) }],
        _ => Vec::new(),
    }
}

/// `set_config('name', 'value', false)` calls, as far as the list holds nothing else. What a parameter or an expression
/// gives is not known here.
fn set_config(mut list: &[Token<'_>]) -> Vec<Change> {
    let mut found = Vec::new();
    loop {
        if let [schema, dot, rest @ ..] = list {
            if schema.is("pg_catalog") && dot.text == "." {
                list = rest;
            }
        }
        let [function, open, name, comma, value, second, local, close, rest @ ..] = list else {
            return found;
        };
        let literal = |token: &Token<'_>| token.kind == Kind::Text && token.text.starts_with('\'');
        let call = function.is("set_config") && open.text == "(" && close.text == ")";
        if !call || !literal(name) || !literal(value) || comma.text != "," || second.text != "," {
            return found;
        }
        if local.is("false") {
            found.push(Change::Set {
                key: name.text.trim_matches('\'').to_ascii_lowercase(),
                sql: format!("SELECT pg_catalog.set_config({}, {}, false)", name.text, value.text),
            });
        }
        // A name for the column.
        list = match rest {
            [word, _, comma, rest @ ..] if word.is("AS") && comma.text == "," => rest,
            [comma, rest @ ..] if comma.text == "," => rest,
            _ => return found,
        };
    }
}

fn is_assignment(token: &Token<'_>) -> bool {
    token.is("TO") || token.text == "="
}

/// The name of a setting, with the names before its dots, in lower case; and what comes behind it.
fn setting_name<'a, 't>(tokens: &'a [Token<'t>]) -> Option<(String, &'a [Token<'t>])> {
    let (first, mut rest) = tokens.split_first()?;
    let is_name = |token: &Token<'_>| matches!(token.kind, Kind::Word | Kind::Quoted);
    if !is_name(first) {
        return None;
    }
    let mut name = first.name();
    while let [dot, part, after @ ..] = rest {
        if dot.text != "." || !is_name(part) {
            break;
        }
        name.push('.');
        name.push_str(&part.name());
        rest = after;
    }
    Some((name.to_ascii_lowercase(), rest))
}

/// `CHARACTERISTICS AS TRANSACTION` and its modes, each of which is a setting of its own.
fn characteristics(tokens: &[Token<'_>]) -> Vec<Change> {
    let modes = tokens.get(3..).unwrap_or_default();
    let mut found = Vec::new();
    let mut add = |key: &str, mode: &[Token<'_>]| {
        found.push(Change::Set {
            key: key.into(),
            sql: format!("SET SESSION CHARACTERISTICS AS TRANSACTION {}", joined(mode)),
        });
    };
    let mut at = 0;
    while let Some(token) = modes.get(at) {
        let mut length = 1;
        if token.is("ISOLATION") {
            // ISOLATION LEVEL READ COMMITTED | REPEATABLE READ | SERIALIZABLE
            length = if modes.get(at + 2).is_some_and(|word| word.is("SERIALIZABLE")) { 3 } else { 4 };
            add("default_transaction_isolation", &modes[at..modes.len().min(at + length)]);
        } else if token.is("READ") {
            length = 2;
            add("default_transaction_read_only", &modes[at..modes.len().min(at + length)]);
        } else if token.is("NOT") || token.is("DEFERRABLE") {
            length = if token.is("NOT") { 2 } else { 1 };
            add("default_transaction_deferrable", &modes[at..modes.len().min(at + length)]);
        }
        at += length;
    }
    found
}

/// The statement again, without comments.
fn joined(tokens: &[Token<'_>]) -> String {
    tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_to(key: &str, sql: &str) -> Vec<Change> {
        vec![Change::Set { key: key.into(), sql: sql.into() }]
    }

    #[test]
    fn one_row_per_form() {
        let rows = [
            ("SET statement_timeout = '5s'", set_to("statement_timeout", "SET statement_timeout = '5s'")),
            ("set SESSION Work_Mem to 64", set_to("work_mem", "set SESSION Work_Mem to 64")),
            ("SET search_path TO a, \"B;c\"", set_to("search_path", "SET search_path TO a , \"B;c\"")),
            ("/* x */ SET a -- why\n = 1", set_to("a", "SET a = 1")),
            ("SET my.App = 'x'", set_to("my.app", "SET my . App = 'x'")),
            ("SET TIME ZONE 'Asia/Tokyo'", set_to("timezone", "SET TIME ZONE 'Asia/Tokyo'")),
            ("SET SESSION TIME ZONE -7", set_to("timezone", "SET SESSION TIME ZONE - 7")),
            ("SET TIME ZONE LOCAL", vec![Change::Reset("timezone".into())]),
            ("SET ROLE admin", set_to("role", "SET ROLE admin")),
            ("SET role = 'admin'", set_to("role", "SET role = 'admin'")),
            ("SET ROLE NONE", vec![Change::Reset("role".into())]),
            ("SET SESSION ROLE x", set_to("role", "SET SESSION ROLE x")),
            ("SET SESSION AUTHORIZATION bob", set_to(AUTHORIZATION, "SET SESSION AUTHORIZATION bob")),
            ("SET SESSION AUTHORIZATION DEFAULT", vec![Change::Reset(AUTHORIZATION.into())]),
            ("SET SCHEMA 'x'", set_to("search_path", "SET SCHEMA 'x'")),
            ("SET NAMES 'UTF8'", set_to("client_encoding", "SET NAMES 'UTF8'")),
            ("SET a TO DEFAULT", vec![Change::Reset("a".into())]),
            ("RESET a", vec![Change::Reset("a".into())]),
            (
                "select pg_catalog.SET_CONFIG('My.Tenant', 'it''s', false) AS x, set_config('b', '1', true)",
                set_to("my.tenant", "SELECT pg_catalog.set_config('My.Tenant', 'it''s', false)"),
            ),
            ("SELECT set_config('a', $1, false)", vec![]),
            ("SELECT set_config('a', 'b' || 'c', false)", vec![]),
            ("SELECT set_config('a', 'b', true)", vec![]),
            (
                "SELECT set_config('a', 'b', false) FROM t",
                set_to("a", "SELECT pg_catalog.set_config('a', 'b', false)"),
            ),
            ("RESET TIME ZONE", vec![Change::Reset("timezone".into())]),
            ("RESET ROLE", vec![Change::Reset("role".into())]),
            ("RESET SESSION AUTHORIZATION", vec![Change::Reset(AUTHORIZATION.into())]),
            ("RESET ALL", vec![Change::ResetAll]),
            ("DISCARD ALL", vec![Change::DiscardAll]),
            ("DISCARD TEMP", vec![]),
            ("LISTEN jobs", set_to("LISTEN jobs", "LISTEN jobs")),
            ("listen \"Jobs x\";", set_to("LISTEN Jobs x", "listen \"Jobs x\"")),
            ("UNLISTEN JOBS", vec![Change::Reset("LISTEN jobs".into())]),
            ("UNLISTEN *", vec![Change::UnlistenAll]),
            ("SET LOCAL a = 1", vec![]),
            ("SET TRANSACTION READ ONLY", vec![]),
            ("SET CONSTRAINTS ALL DEFERRED", vec![]),
            ("SELECT 'SET a = 1'", vec![]),
            ("SET a FROM CURRENT", vec![]),
            ("SAVEPOINT \"S\"", vec![Change::Savepoint("S".into())]),
            ("ROLLBACK TO s", vec![Change::RollbackTo("s".into())]),
            ("ROLLBACK WORK TO SAVEPOINT s", vec![Change::RollbackTo("s".into())]),
            ("ROLLBACK", vec![Change::Rollback]),
            ("ABORT AND NO CHAIN", vec![Change::Rollback]),
            ("ROLLBACK PREPARED 'x'", vec![]),
            ("COMMIT", vec![Change::Commit]),
            ("PREPARE TRANSACTION 'x'", vec![Change::Commit]),
            ("PREPARE p AS SELECT 1", vec![]),
            ("SET", vec![]),
            ("SET x", vec![]),
        ];
        for (sql, expected) in rows {
            assert_eq!(changes(sql), expected, "{sql}");
            assert!(expected.is_empty() || may_change(sql), "{sql}");
        }
    }

    #[test]
    fn characteristics_are_a_setting_each() {
        let found = changes(
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE",
        );
        let sql: Vec<_> = found
            .iter()
            .map(|change| match change {
                Change::Set { key, sql } => {
                    (key.as_str(), sql.trim_start_matches("SET SESSION CHARACTERISTICS AS TRANSACTION "))
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            sql,
            [
                ("default_transaction_isolation", "ISOLATION LEVEL REPEATABLE READ"),
                ("default_transaction_read_only", "READ ONLY"),
                ("default_transaction_deferrable", "NOT DEFERRABLE"),
            ]
        );
    }

    #[test]
    fn the_cheap_look_passes_over_ordinary_statements() {
        for sql in ["SELECT 1", "INSERT INTO settings VALUES (1);", "  update t set a = 1", "settle", ""] {
            assert!(!may_change(sql), "{sql}");
        }
        assert!(may_change("SELECT 1; SET a = 1"));
    }
}
