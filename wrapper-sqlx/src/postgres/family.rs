//! What PostgreSQL does its own way.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;
use wrapper_core::config::DriverKeys;
use wrapper_core::credentials::Credential;
use wrapper_core::dialect::{DialectId, Engine, Phase, classify_sqlstate};
use wrapper_core::driver::{Rows, TransactionStatus};
use wrapper_core::{Error, ErrorClass, ErrorKind, RetryAdvice, TransactionOutcome};

use super::super::family::{Family, Sealed};
use super::super::{raw_sql, text};
use super::sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgRow, PgSeverity, PgSslMode};
use super::sqlx::{self, Connection, PgConnection, Postgres, Row, ValueRef};

/// The `application_name` under which the library's own connections show up in `pg_stat_activity`.
pub const MONITOR_APPLICATION_NAME: &str = "aws-advanced-rust-wrapper-monitor";

impl Sealed for Postgres {}

impl Family for Postgres {
    const ENGINE: Engine = Engine::Postgres;
    const DRIVER: &'static str = "sqlx-postgres";
    const KEYS: DriverKeys<'static> =
        DriverKeys { schemes: &["postgres", "postgresql"], default_port: 5432, names: &[] };
    const READER: &'static str = "SELECT pg_catalog.pg_is_in_recovery() AS reader";
    type ServerError = PgDatabaseError;

    fn host(options: &PgConnectOptions) -> &str {
        options.get_host()
    }

    fn port(options: &PgConnectOptions) -> u16 {
        options.get_port()
    }

    fn lead(options: PgConnectOptions, host: &str, port: u16) -> PgConnectOptions {
        options.host(host).port(port)
    }

    fn has_socket(options: &PgConnectOptions) -> bool {
        options.get_socket().is_some() || options.get_host().starts_with('/')
    }

    fn user(options: &PgConnectOptions) -> (&str, Option<&str>) {
        (options.get_username(), options.get_database())
    }

    fn insists_on_tls(options: &PgConnectOptions) -> bool {
        matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull)
    }

    fn log_in(mut options: PgConnectOptions, credential: &Credential) -> PgConnectOptions {
        if let Some(user) = &credential.user {
            options = options.username(user);
        }
        match &credential.password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        }
    }

    fn for_monitor(options: PgConnectOptions) -> PgConnectOptions {
        options.application_name(MONITOR_APPLICATION_NAME)
    }

    fn verifies_name(options: &PgConnectOptions) -> Option<[&'static str; 2]> {
        matches!(options.get_ssl_mode(), PgSslMode::VerifyFull).then_some(["verify-full", "verify-ca"])
    }

    /// In the simple protocol.
    fn ask(connection: &mut PgConnection, sql: String) -> BoxFuture<'_, sqlx::Result<(Rows, u64)>> {
        async move { text::read::<Postgres>(raw_sql(&sql).fetch_many(connection)).await }.boxed()
    }

    fn value(row: &PgRow, index: usize) -> sqlx::Result<Option<String>> {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_str().map(|text| Some(text.to_owned())).map_err(sqlx::Error::Decode)
    }

    fn probe(connection: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        connection.ping().boxed()
    }

    /// By an empty statement, which begins nothing and is in no statistics: sqlx says by its error that no transaction is
    /// open, which it tells in no other way.
    fn settle(connection: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        async {
            match connection.begin_with("").await {
                Ok(transaction) => transaction.rollback().await,
                Err(sqlx::Error::BeginFailed | sqlx::Error::InvalidSavePointStatement) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    /// Such words inside literals, comments and function bodies count too: the server is asked once more then, which costs
    /// a round trip and is never wrong.
    fn may_change_transaction(sql: &str) -> bool {
        sql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
    }

    /// The time of a transaction is the time of its first statement; a statement of its own, in the simple protocol, has
    /// the same time, and one in a transaction that was begun before it a later one.
    fn transaction_status(connection: &mut PgConnection) -> BoxFuture<'_, TransactionStatus> {
        const SQL: &str = "SELECT pg_catalog.transaction_timestamp() OPERATOR(pg_catalog.<>) pg_catalog.statement_timestamp() AS open";
        async {
            match Self::ask(connection, SQL.to_owned()).await {
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
        .boxed()
    }

    /// SQLSTATE 28000 means on RDS Multi-AZ DB clusters that the host is not ready rather than that the login is wrong.
    fn login_is_network(dialect: DialectId) -> bool {
        dialect == DialectId::RdsMultiAzPgCluster
    }

    fn classify(error: &PgDatabaseError, phase: Phase, login_is_network: bool) -> ErrorClass {
        if login_is_network && error.code() == "28000" {
            return ErrorClass::Network;
        }
        // With these severities the server closes the connection.
        let fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        classify_sqlstate(error.code(), fatal, phase)
    }

    fn refused(error: &PgDatabaseError) -> Error {
        let refused = Error::new(ErrorKind::Statement, "the server refused the statement");
        match error.code() {
            // "Statement completion unknown".
            "40003" => refused.with_outcome(TransactionOutcome::MayHaveApplied),
            // The server asks for it: serialisation failures, deadlocks.
            state if state.starts_with("40") => refused.with_advice(RetryAdvice::WholeTransaction),
            _ => refused,
        }
    }

    fn told(mapped: Error, error: &PgDatabaseError) -> Error {
        mapped.with_sqlstate(error.code().to_owned())
    }
}

/// The words without one of which no statement begins or ends a transaction.
const WORDS: [&str; 9] =
    ["abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_may_begin_or_end_a_transaction_are_noticed() {
        for yes in
            ["BEGIN", " begin;", "/* x */Start Transaction", "SELECT 1;COMMIT", "DO $$BEGIN END$$", "end"]
        {
            assert!(Postgres::may_change_transaction(yes), "{yes}");
        }
        for no in ["SELECT 1", "SELECT beginning, ended FROM t", "SET x = 'y'", ""] {
            assert!(!Postgres::may_change_transaction(no), "{no}");
        }
    }
}
