//! What a statement changes about the session, read off its tokens.

use super::{DATABASE, use_database};
use crate::sql::{Token, statements};

/// A change that one statement makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A setting has a value; `sql` sets it again.
    Replace { key: String, sql: String },
    /// A setting has a value that was made from the one before; `sql` makes it again.
    Add { key: String, sql: String },
}

/// The key of `SET NAMES` and of `SET CHARACTER SET`.
pub(super) const NAMES: &str = "names";

const ISOLATION: &str = "transaction_isolation";
const READ_ONLY: &str = "transaction_read_only";

/// The changes that the statements of `sql` make, in order.
pub(super) fn changes(sql: &str) -> Vec<Change> {
    let mut found = Vec::new();
    for tokens in statements(sql) {
        match &tokens[..] {
            [first, name] if first.is("USE") => {
                let name = name.name().replace("``", "`");
                found.push(replace(DATABASE, use_database(&name)));
            }
            [first, rest @ ..] if first.is("SET") => set(sql, &tokens, rest, &mut found),
            _ => {}
        }
    }
    found
}

fn replace(key: &str, sql: String) -> Change {
    Change::Replace { key: key.to_owned(), sql }
}

/// The text from the first of `tokens` to the last.
fn text<'s>(sql: &'s str, tokens: &[Token<'_>]) -> &'s str {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => &sql[first.at..last.end()],
        _ => "",
    }
}

fn set(sql: &str, statement: &[Token<'_>], rest: &[Token<'_>], found: &mut Vec<Change>) {
    let Some(first) = rest.first() else { return };
    let second = rest.get(1);
    if is_assignment(second) || is_assignment(rest.get(2)) || first.text.starts_with('@') {
        assignments(sql, rest, found);
    } else if first.is("NAMES")
        || first.is("CHARSET")
        || (first.is("CHARACTER") && second.is_some_and(|word| word.is("SET")))
    {
        found.push(replace(NAMES, text(sql, statement).to_owned()));
    } else if first.is("ROLE") {
        found.push(replace("role", text(sql, statement).to_owned()));
    } else if (first.is("SESSION") || first.is("LOCAL")) && second.is_some_and(|word| word.is("TRANSACTION"))
    {
        characteristics(sql, &rest[2..], found);
    }
}

/// `ISOLATION LEVEL …, READ ONLY`, of the session; without `SESSION` they are the next transaction's alone.
fn characteristics(sql: &str, rest: &[Token<'_>], found: &mut Vec<Change>) {
    for part in rest.split(|token| token.text == ",") {
        let Some(first) = part.first() else { continue };
        let key = if first.is("ISOLATION") { ISOLATION } else { READ_ONLY };
        found.push(replace(key, format!("SET SESSION TRANSACTION {}", text(sql, part))));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Session,
    Other,
}

/// `[scope] name = value, …`; a scope holds for what follows without one.
fn assignments(sql: &str, rest: &[Token<'_>], found: &mut Vec<Change>) {
    let mut scope = Scope::Session;
    for part in at_top_level(rest) {
        let mut part = part;
        if let Some(first) = part.first().filter(|_| !is_assignment(part.get(1))) {
            scope = if first.is("SESSION") || first.is("LOCAL") { Scope::Session } else { Scope::Other };
            part = &part[1..];
        }
        let [name, _, value @ ..] = part else { continue };
        let (own, name) = match name.text.strip_prefix("@@") {
            None => (scope, name.name().to_ascii_lowercase()),
            Some(name) => {
                let name = name.to_ascii_lowercase();
                match name.split_once('.') {
                    Some(("session" | "local", name)) => (Scope::Session, name.to_owned()),
                    Some(_) => (Scope::Other, name),
                    // Without a scope these two are the next transaction's alone.
                    None if is_of_transactions(&name) => (Scope::Other, name),
                    None => (Scope::Session, name),
                }
            }
        };
        let is_variable = |token: &Token<'_>| token.text.starts_with('@') && !token.text.starts_with("@@");
        let unknown = value.is_empty() || value.iter().any(|token| is_variable(token) || token.text == "?");
        if own == Scope::Other || name.starts_with('@') || name == "password" || unknown {
            continue;
        }
        let name = match &*name {
            "tx_isolation" => ISOLATION,
            "tx_read_only" => READ_ONLY,
            name => name,
        };
        let sql = format!("SET SESSION {name} = {}", text(sql, value));
        let key = name.to_owned();
        let from_before = value.iter().any(|token| !token.is_quoted() && token.text.starts_with("@@"));
        found.push(if from_before { Change::Add { key, sql } } else { Change::Replace { key, sql } });
    }
}

fn is_of_transactions(name: &str) -> bool {
    [ISOLATION, READ_ONLY, "tx_isolation", "tx_read_only"].contains(&name)
}

fn is_assignment(token: Option<&Token<'_>>) -> bool {
    token.is_some_and(|token| token.text == "=" || token.text == ":=")
}

/// The parts between commas that stand in no parentheses.
fn at_top_level<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&tokens[from..index]);
                from = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[from..]);
    parts
}
