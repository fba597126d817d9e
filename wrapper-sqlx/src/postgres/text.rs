//! Small answers in text form over sqlx, and where a transaction stands.
//!
//! What lives here: what both an own connection and one that is lent by a pool need. What may not: waits with limits.

use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, Column, Either, PgConnection, Row, ValueRef};
use wrapper_core::driver::{Rows, TransactionStatus};

/// Asks in the simple protocol, in one round trip; of several statements the last that answers with rows counts.
///
/// Also says how many bytes came, at least: sqlx counts none.
pub(crate) async fn ask(connection: &mut PgConnection, sql: String) -> Result<(Rows, u64), sqlx::Error> {
    let (mut columns, mut rows): (Vec<String>, Vec<Vec<Option<String>>>) = (Vec::new(), Vec::new());
    // The message that ends every answer.
    let mut bytes = 6;
    let mut statement_ended = true;
    let mut answers = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
    while let Some(answer) = answers.next().await {
        let row = match answer? {
            Either::Left(_) => {
                statement_ended = true;
                continue;
            }
            Either::Right(row) => row,
        };
        if std::mem::take(&mut statement_ended) {
            columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
            rows.clear();
        }
        let mut values = Vec::with_capacity(row.len());
        for index in 0..row.len() {
            let value = row.try_get_raw(index)?;
            let text = if value.is_null() {
                None
            } else {
                Some(value.as_str().map_err(sqlx::Error::Decode)?.to_owned())
            };
            bytes += 4 + text.as_ref().map_or(0, |text| text.len() as u64);
            values.push(text);
        }
        rows.push(values);
    }
    Ok((Rows::new(columns, rows), bytes))
}

/// The words without one of which no statement begins or ends a transaction.
const WORDS: [&str; 9] =
    ["abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start"];

/// Whether the text may begin or end a transaction. Such words inside literals, comments and function bodies count too:
/// the server is asked once more then, which costs a round trip and is never wrong.
pub(crate) fn may_change_transaction(sql: &str) -> bool {
    sql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Asks the server: sqlx keeps the status byte to itself.
///
/// The time of a transaction is the time of its first statement; a statement of its own, in the simple protocol, has
/// the same time, and one in a transaction that was begun before it a later one.
pub(crate) async fn transaction_status(connection: &mut PgConnection) -> TransactionStatus {
    const SQL: &str = "SELECT pg_catalog.transaction_timestamp() OPERATOR(pg_catalog.<>) pg_catalog.statement_timestamp() AS open";
    match ask(connection, SQL.to_owned()).await {
        Ok((rows, _)) => match rows.get(0, "open") {
            Some("t") => TransactionStatus::Open,
            Some("f") => TransactionStatus::Idle,
            _ => TransactionStatus::Unknown,
        },
        // "Current transaction is aborted".
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("25P02") => {
            TransactionStatus::Failed
        }
        Err(_) => TransactionStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::may_change_transaction;

    #[test]
    fn texts_that_may_begin_or_end_a_transaction_are_noticed() {
        for yes in
            ["BEGIN", " begin;", "/* x */Start Transaction", "SELECT 1;COMMIT", "DO $$BEGIN END$$", "end"]
        {
            assert!(may_change_transaction(yes), "{yes}");
        }
        for no in ["SELECT 1", "SELECT beginning, ended FROM t", "SET x = 'y'", ""] {
            assert!(!may_change_transaction(no), "{no}");
        }
    }
}
