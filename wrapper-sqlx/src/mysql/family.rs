//! What MySQL does its own way.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;
use wrapper_core::config::DriverKeys;
use wrapper_core::credentials::Credential;
use wrapper_core::dialect::mysql_code::{DEADLOCK, IDLE_TOO_LONG};
use wrapper_core::dialect::{DialectId, Engine, Phase, classify_mysql_code};
use wrapper_core::driver::{Rows, TransactionStatus};
use wrapper_core::{Error, ErrorClass, ErrorKind, RetryAdvice, TransactionOutcome};

use super::super::family::{Family, Sealed};
use super::super::{raw_sql, text};
use super::sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlRow, MySqlSslMode};
use super::sqlx::{self, Connection, MySql, MySqlConnection, Row};

impl Sealed for MySql {}

impl Family for MySql {
    const ENGINE: Engine = Engine::Mysql;
    const DRIVER: &'static str = "sqlx-mysql";
    const KEYS: DriverKeys<'static> =
        DriverKeys { schemes: &["mysql", "mariadb"], default_port: 3306, names: &[] };
    /// `innodb_read_only` on Aurora, `read_only` elsewhere.
    const READER: &'static str = "SELECT @@innodb_read_only OR @@GLOBAL.read_only AS reader";
    type ServerError = MySqlDatabaseError;

    fn host(options: &MySqlConnectOptions) -> &str {
        options.get_host()
    }

    fn port(options: &MySqlConnectOptions) -> u16 {
        options.get_port()
    }

    fn lead(options: MySqlConnectOptions, host: &str, port: u16) -> MySqlConnectOptions {
        options.host(host).port(port)
    }

    fn has_socket(options: &MySqlConnectOptions) -> bool {
        options.get_socket().is_some() || options.get_host().starts_with('/')
    }

    fn user(options: &MySqlConnectOptions) -> (&str, Option<&str>) {
        (options.get_username(), options.get_database())
    }

    fn insists_on_tls(options: &MySqlConnectOptions) -> bool {
        use MySqlSslMode as Mode;
        matches!(options.get_ssl_mode(), Mode::Required | Mode::VerifyCa | Mode::VerifyIdentity)
    }

    fn log_in(mut options: MySqlConnectOptions, credential: &Credential) -> MySqlConnectOptions {
        if let Some(user) = &credential.user {
            options = options.username(user);
        }
        if credential.clear_text {
            options = options.enable_cleartext_plugin(true);
        }
        match &credential.password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        }
    }

    /// sqlx sends no connection attributes.
    fn for_monitor(options: MySqlConnectOptions) -> MySqlConnectOptions {
        options
    }

    fn verifies_name(options: &MySqlConnectOptions) -> Option<[&'static str; 2]> {
        matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity)
            .then_some(["verify_identity", "verify_ca"])
    }

    /// By COM_QUERY.
    fn ask(connection: &mut MySqlConnection, sql: String) -> BoxFuture<'_, sqlx::Result<(Rows, u64)>> {
        async move { text::read::<MySql>(raw_sql(&sql).fetch_many(connection)).await }.boxed()
    }

    /// Not checked: the server sends every type as text here. What is no UTF-8 is shown as far as it is.
    fn value(row: &MySqlRow, index: usize) -> sqlx::Result<Option<String>> {
        let bytes: Option<&[u8]> = row.try_get_unchecked(index)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Not sqlx's ping: when that is dropped, the next statement takes its answer for its own.
    fn probe(connection: &mut MySqlConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        async { Self::ask(connection, NOTHING.to_owned()).await.map(drop) }.boxed()
    }

    /// First a ping: when a statement was dropped while it was being prepared, a part of its answer is left over, and a ping
    /// alone notices that instead of taking it for rows. Then a statement that does nothing: sqlx says by its error that no
    /// transaction is open, which it tells in no other way.
    fn settle(connection: &mut MySqlConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        async {
            connection.ping().await?;
            match connection.begin_with(NOTHING).await {
                Ok(transaction) => transaction.rollback().await,
                Err(sqlx::Error::BeginFailed | sqlx::Error::InvalidSavePointStatement) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    /// Many statements commit by the way (all that define something), and `SET autocommit` does; so only one statement
    /// whose first word is known to do neither is believed.
    fn may_change_transaction(sql: &str) -> bool {
        let sql = sql.trim_matches(|c: char| c.is_whitespace() || c == ';');
        let first = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let harmless = HARMLESS.iter().any(|known| first.eq_ignore_ascii_case(known));
        !harmless || sql.contains(';') || sql.contains("/*")
    }

    /// Outside a transaction a savepoint is gone as soon as it is made. With `autocommit=0` there always is a transaction.
    fn transaction_status(connection: &mut MySqlConnection) -> BoxFuture<'_, TransactionStatus> {
        const SQL: &str = "SAVEPOINT aws_advanced_rust_wrapper; RELEASE SAVEPOINT aws_advanced_rust_wrapper";
        async {
            match Self::ask(connection, SQL.to_owned()).await {
                Ok(_) => TransactionStatus::Open,
                Err(error) => {
                    let server = error.as_database_error();
                    match server.and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>()) {
                        Some(server) if server.number() == NO_SAVEPOINT => TransactionStatus::Idle,
                        Some(server) if server.number() == XA_STATE => TransactionStatus::Open,
                        _ => TransactionStatus::Unknown,
                    }
                }
            }
        }
        .boxed()
    }

    fn login_is_network(_: DialectId) -> bool {
        false
    }

    fn classify(error: &MySqlDatabaseError, phase: Phase, _: bool) -> ErrorClass {
        classify_mysql_code(error.number(), phase)
    }

    fn refused(error: &MySqlDatabaseError) -> Error {
        let advice =
            if error.number() == DEADLOCK { RetryAdvice::WholeTransaction } else { RetryAdvice::Never };
        Error::new(ErrorKind::Statement, "the server refused the statement")
            .with_advice(advice)
            .with_outcome(TransactionOutcome::RolledBack)
    }

    fn told(mapped: Error, error: &MySqlDatabaseError) -> Error {
        let mapped = mapped.with_server_code(error.number());
        let mapped = match error.code() {
            Some(state) => mapped.with_sqlstate(state.to_owned()),
            None => mapped,
        };
        // Said before the statement that it answers was sent.
        if error.number() == IDLE_TOO_LONG {
            mapped.with_outcome(TransactionOutcome::NotSent)
        } else {
            mapped
        }
    }
}

/// The statement that does nothing.
const NOTHING: &str = "DO 0";
/// "SAVEPOINT … does not exist".
const NO_SAVEPOINT: u16 = 1305;
/// "The command cannot be executed when global transaction is in the … state".
const XA_STATE: u16 = 1399;

/// First words of statements that neither begin nor end a transaction, unless `autocommit` is off.
const HARMLESS: [&str; 13] = [
    "select", "show", "insert", "update", "delete", "replace", "with", "explain", "describe", "desc",
    "values", "use", "do",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_may_begin_or_end_a_transaction_are_noticed() {
        for yes in [
            "BEGIN",
            " begin;",
            "Start Transaction",
            "SELECT 1;COMMIT",
            "CREATE TABLE t (id int)",
            "SET autocommit = 0",
            "/*!50000 COMMIT */",
            "SELECT 1 /*! ; */",
            "CALL p()",
            "-- x\nSELECT 1",
            "",
        ] {
            assert!(MySql::may_change_transaction(yes), "{yes}");
        }
        for no in ["SELECT 1", "select 1;", " SHOW REPLICA STATUS", "INSERT INTO t VALUES (1)", "DO 0"] {
            assert!(!MySql::may_change_transaction(no), "{no}");
        }
    }
}
