//! MySQL's SQL, as far as it is not PostgreSQL's: the parser, the system variables, the functions and the types.
//!
//! What may not live here: the protocol (`sim/mysql`), statements that the session answers (`session/mysql.rs`).

pub(crate) mod functions;
pub(crate) mod variables;
pub(crate) mod views;

use pgwire::api::Type;
use sqlparser::ast::Statement;
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::sim::error::SqlError;

/// Splits and parses MySQL's SQL. A placeholder `?` becomes `$1`, `$2`, … as the binder knows them.
///
/// # Errors
/// 42601 with the parser's message; also for valid MySQL that the parser does not know.
pub(crate) fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let unreadable = |message: String| SqlError::new("42601", message);
    let dialect = MySqlDialect {};
    let read =
        |sql: &str| Tokenizer::new(&dialect, sql).tokenize().map_err(|error| unreadable(error.to_string()));
    let mut rewritten = Vec::new();
    for statement in read(sql)?.split(|token| *token == Token::SemiColon) {
        let said: Vec<&Token> =
            statement.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        match shown(&said) {
            Some(query) => rewritten.extend(read(&query)?),
            None => plain(&said, &mut rewritten)?,
        }
        rewritten.push(Token::SemiColon);
    }
    let mut parser = Parser::new(&dialect).with_tokens(rewritten);
    parser.parse_statements().map_err(|error| unreadable(error.to_string()))
}

/// Numbers the placeholders, and spells as the parser knows it what it does not: `SET SESSION TRANSACTION`,
/// `SET CHARACTER SET`, and `WITH CONSISTENT SNAPSHOT`, which every transaction has here.
fn plain(said: &[&Token], rewritten: &mut Vec<Token>) -> Result<(), SqlError> {
    let rest = match said {
        [set, global, transaction, ..]
            if is(set, "set") && is(global, "global") && is(transaction, "transaction") =>
        {
            return Err(no_right());
        }
        [set, scope, transaction, rest @ ..]
            if is(set, "set")
                && (is(scope, "session") || is(scope, "local"))
                && is(transaction, "transaction") =>
        {
            rewritten.extend(words("SET SESSION CHARACTERISTICS AS TRANSACTION"));
            rest
        }
        [set, character, also, rest @ ..]
            if is(set, "set") && is(character, "character") && is(also, "set") =>
        {
            rewritten.extend(words("SET NAMES"));
            rest
        }
        all => all,
    };
    let mut number = 0;
    let mut rest = rest.iter().peekable();
    while let Some(token) = rest.next() {
        match token {
            Token::Placeholder(mark) if mark == "?" => {
                number += 1;
                rewritten.push(Token::Placeholder(format!("${number}")));
            }
            with if is(with, "with") && rest.peek().is_some_and(|next| is(next, "consistent")) => {
                rest.next();
                rest.next_if(|next| is(next, "snapshot"));
                rest.next_if(|next| ***next == Token::Comma);
            }
            other => rewritten.push((*other).clone()),
        }
    }
    Ok(())
}

fn words(text: &str) -> impl Iterator<Item = Token> + '_ {
    text.split(' ').map(Token::make_keyword)
}

/// The error for what only administrators may do.
pub(crate) fn no_right() -> SqlError {
    let message = "Access denied; you need (at least one of) the SUPER or SYSTEM_VARIABLES_ADMIN privilege(s) for this \
                   operation";
    SqlError::mysql(1227, "42000", message)
}

/// The query that answers a SHOW; `None` for every other statement.
fn shown(said: &[&Token]) -> Option<String> {
    let (first, rest) = said.split_first()?;
    if !is(first, "show") {
        return None;
    }
    let rest = match rest {
        [scope, rest @ ..] if ["global", "session", "local"].iter().any(|word| is(scope, word)) => rest,
        all => all,
    };
    let (view, column, filter) = match rest {
        [variables, filter @ ..] if is(variables, "variables") => ("show_variables", "Variable_name", filter),
        [replica, status] if is(replica, "replica") && is(status, "status") => {
            ("show_replica_status", "", &[][..])
        }
        [slave, status] if is(slave, "slave") && is(status, "status") => ("show_slave_status", "", &[][..]),
        [warnings] if is(warnings, "warnings") => ("show_warnings", "", &[][..]),
        [tables, filter @ ..] if is(tables, "tables") => ("show_tables", "Tables_in_database", filter),
        [processes] if is(processes, "processlist") => ("show_processlist", "", &[][..]),
        _ => return None,
    };
    let filter = match filter {
        [] => String::new(),
        [like, pattern] if is(like, "like") => format!(" WHERE `{column}` LIKE {pattern}"),
        [first, ..] if is(first, "where") => {
            filter.iter().map(|token| format!(" {token}")).collect::<String>()
        }
        _ => return None,
    };
    Some(format!("SELECT * FROM information_schema.{view}{filter}"))
}

fn is(token: &Token, wanted: &str) -> bool {
    let same = |word: &Word| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted);
    matches!(token, Token::Word(word) if same(word))
}

/// A table's name as it is stored: all databases are one, and case does not matter; the server's own schemas stay.
pub(crate) fn table_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.split_once('.') {
        Some((schema, _)) if ["information_schema", "mysql", "performance_schema"].contains(&schema) => name,
        Some((_, bare)) => bare.to_owned(),
        None => name,
    }
}

/// The type that a name in MySQL's SQL means; `None` when the simulation does not have it.
pub(crate) fn type_by_name(name: &str) -> Option<Type> {
    let name = name.to_ascii_lowercase();
    let unsigned = name.ends_with(" unsigned");
    let bare = name.split(['(', ' ']).next().unwrap_or_default();
    Some(match bare {
        "tinyint" | "bool" | "boolean" | "smallint" | "year" => Type::INT2,
        "mediumint" => Type::INT4,
        "int" | "integer" if !unsigned => Type::INT4,
        // 64 bits with a sign is the widest that there is here.
        "int" | "integer" | "bigint" | "signed" | "unsigned" => Type::INT8,
        "float" => Type::FLOAT4,
        "double" | "real" => Type::FLOAT8,
        "decimal" | "numeric" | "dec" => Type::NUMERIC,
        "char" | "varchar" | "character" | "nvarchar" | "nchar" | "enum" => Type::VARCHAR,
        "text" | "tinytext" | "mediumtext" | "longtext" => Type::TEXT,
        "json" => Type::JSON,
        "blob" | "tinyblob" | "mediumblob" | "longblob" | "binary" | "varbinary" => Type::BYTEA,
        "datetime" | "timestamp" => Type::TIMESTAMP,
        "time" => Type::INTERVAL,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(sql: &str) -> Vec<String> {
        parse(sql).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn placeholders_are_numbered_statement_by_statement() {
        assert_eq!(
            written("SELECT ?, '?' FROM t WHERE a = ?; SELECT ? -- ?"),
            ["SELECT $1, '?' FROM t WHERE a = $2", "SELECT $1"]
        );
    }

    #[test]
    fn show_is_a_query() {
        for (show, query) in [
            ("SHOW VARIABLES", "SELECT * FROM information_schema.show_variables"),
            (
                "show global variables like 'ver%'",
                "SELECT * FROM information_schema.show_variables WHERE `Variable_name` LIKE 'ver%'",
            ),
            ("SHOW REPLICA STATUS;", "SELECT * FROM information_schema.show_replica_status"),
            ("SHOW SLAVE STATUS", "SELECT * FROM information_schema.show_slave_status"),
        ] {
            assert_eq!(written(show), [query]);
        }
    }

    #[test]
    fn snapshots_need_no_saying() {
        assert_eq!(
            written("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"),
            ["START TRANSACTION READ ONLY"]
        );
        assert_eq!(written("START TRANSACTION WITH CONSISTENT SNAPSHOT"), ["START TRANSACTION"]);
    }

    #[test]
    fn characteristics_of_the_session_are_told_from_the_next_transactions() {
        assert_eq!(
            written("SET SESSION TRANSACTION READ ONLY; SET TRANSACTION READ ONLY"),
            ["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TRANSACTION READ ONLY"]
        );
        assert_eq!(parse("SET GLOBAL TRANSACTION READ ONLY").unwrap_err().number, Some(1227));
    }

    #[test]
    fn names_lose_their_database() {
        assert_eq!(table_name("Shop.Orders"), "orders");
        assert_eq!(table_name("mysql.rds_topology"), "mysql.rds_topology");
    }
}
