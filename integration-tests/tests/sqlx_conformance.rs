//! sqlx as a driver keeps the contract of drivers, on a real server; and core's plugins work over it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod sqlx_support;

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use integration_tests::local::Auth;
use integration_tests::proxy::{FaultProxy, Mode};
use integration_tests::{Flavour, LocalCluster, MySqlCluster};
use mysql_async::prelude::Queryable;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx_support::{by_table, cluster, within};
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, TransactionStatus};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::plugin::Call;
use wrapper_core::session::{Operation, SessionOptions};
use wrapper_core::testkit::conformance::{DriverRig, Question, TransactionStep, driver_dialect_conformance};
use wrapper_core::{ErrorClass, ErrorKind, Result};
use wrapper_sqlx::mysql::SqlxMySqlDriver;
use wrapper_sqlx::postgres::{SqlxPgConnection, SqlxPgDriver};

/// One server behind a proxy, and a driver that knows the way through it.
struct Rig {
    server: Server,
    proxy: FaultProxy,
    driver: Arc<dyn DriverDialect>,
}

/// The server, and a connection past the library.
enum Server {
    Postgres(Box<LocalCluster>, tokio_postgres::Client),
    MySql(Box<MySqlCluster>, Box<tokio::sync::Mutex<mysql_async::Conn>>),
}

async fn proxied(upstream: SocketAddr) -> FaultProxy {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    FaultProxy::start(any, upstream).await.expect("the proxy starts")
}

impl Rig {
    async fn postgres() -> Self {
        // sqlx hashes a password in a thousand steps, at each of which the suite would drop a connect.
        let cluster =
            LocalCluster::builder().auth(Auth::Cleartext).start().await.expect("the cluster starts");
        let proxy = proxied(cluster.server_address(cluster.writer())).await;
        let observer = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
        let app = cluster.app();
        let options = PgConnectOptions::new_without_pgpass()
            .username(&app.user)
            .password(&app.password)
            .database(&app.database)
            .ssl_mode(PgSslMode::Disable);
        let server = Server::Postgres(Box::new(cluster), observer);
        Self { server, proxy, driver: Arc::new(SqlxPgDriver::new(options)) }
    }

    async fn mysql() -> Self {
        let cluster = MySqlCluster::builder().start().await.expect("the cluster starts");
        let proxy = proxied(cluster.server_address(cluster.writer())).await;
        let observer = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
        let app = cluster.app();
        let options = MySqlConnectOptions::new()
            .username(&app.user)
            .password(&app.password)
            .database(&app.database)
            .ssl_mode(MySqlSslMode::Disabled);
        let server = Server::MySql(Box::new(cluster), Box::new(tokio::sync::Mutex::new(observer)));
        Self { server, proxy, driver: Arc::new(SqlxMySqlDriver::new(options)) }
    }

    fn is_mysql(&self) -> bool {
        matches!(self.server, Server::MySql(..))
    }

    async fn stop(self) {
        match self.server {
            Server::Postgres(cluster, _) => cluster.stop().await,
            Server::MySql(cluster, _) => cluster.stop().await,
        }
    }
}

#[async_trait]
impl DriverRig for Rig {
    fn driver(&self) -> Arc<dyn DriverDialect> {
        Arc::clone(&self.driver)
    }

    fn target(&self) -> ConnectTarget {
        ConnectTarget::session(HostInfo::new("127.0.0.1", self.proxy.address().port(), HostRole::Unknown))
    }

    fn refused(&self) -> ConnectTarget {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        ConnectTarget::session(HostInfo::new("127.0.0.1", port, HostRole::Unknown))
    }

    async fn silence(&self, on: bool) {
        let mode = if on { Mode::StallBoth } else { Mode::Pass };
        self.proxy.set(mode).await.expect("the proxy obeys");
    }

    fn questions(&self) -> Vec<Question> {
        let text = |text: &str| Some(text.to_owned());
        let many = (1..=1000).map(|number| vec![Some(number.to_string())]).collect();
        let plain = Question::new(
            "SELECT 1 AS one, NULL AS nothing, '' AS empty",
            &["one", "nothing", "empty"],
            vec![vec![text("1"), None, text("")]],
        );
        if self.is_mysql() {
            return vec![
                plain,
                Question::new("SELECT 1 AS one FROM dual WHERE false", &["one"], Vec::new()),
                Question::new(
                    "WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 1000) SELECT n FROM s",
                    &["n"],
                    many,
                ),
                // Types that are no text, and several statements.
                Question::new(
                    "SELECT 5; SELECT 1.50 AS d, DATE '2026-01-02' AS day, x'41' AS bytes",
                    &["d", "day", "bytes"],
                    vec![vec![text("1.50"), text("2026-01-02"), text("A")]],
                ),
            ];
        }
        vec![
            plain,
            Question::new("SELECT 1 AS one WHERE false", &["one"], Vec::new()),
            Question::new("SELECT n FROM generate_series(1, 1000) n", &["n"], many),
            // Types that sqlx knows nothing of, and several statements.
            Question::new(
                "SELECT 5; SELECT '0/1'::pg_lsn AS lsn, 'a'::pg_catalog.\"char\" AS letter",
                &["lsn", "letter"],
                vec![vec![text("0/1"), text("a")]],
            ),
        ]
    }

    fn refused_statement(&self) -> String {
        "SELECT nothing".to_owned()
    }

    fn setting(&self) -> String {
        let setting =
            if self.is_mysql() { "SET time_zone = '+05:00'" } else { "SET application_name = 'conformance'" };
        setting.to_owned()
    }

    async fn step(&self, connection: &Arc<dyn DriverConnection>, step: TransactionStep) -> Result<()> {
        let deadline = Deadline::after(Duration::from_secs(10), "the test");
        match step {
            TransactionStep::Begin => connection.run_sql("BEGIN", deadline).await,
            TransactionStep::Rollback => connection.run_sql("ROLLBACK", deadline).await,
            _ => {
                assert!(connection.run_sql("SELECT nothing", deadline).await.is_err());
                Ok(())
            }
        }
    }

    async fn open_connections(&self) -> Option<usize> {
        let count = match &self.server {
            Server::Postgres(cluster, observer) => {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'client backend'";
                let row = observer.query_one(sql, &[&cluster.app().user]).await.expect("counted");
                row.get::<_, i64>(0)
            }
            Server::MySql(cluster, observer) => {
                let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user IN (?, 'unauthenticated user')";
                let count =
                    observer.lock().await.exec_first(sql, (cluster.app().user,)).await.expect("counted");
                count.expect("a row")
            }
        };
        usize::try_from(count).ok()
    }

    fn classified(&self) -> Vec<(Box<dyn StdError + Send + Sync>, ErrorClass)> {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        vec![
            (Box::new(sqlx::Error::Io(reset)), ErrorClass::Network),
            (Box::new(sqlx::Error::RowNotFound), ErrorClass::Other),
        ]
    }
}

async fn keeps_the_contract(rig: Rig) {
    let driver = driver_dialect_conformance(&rig).await;
    println!("{driver}");
    assert!(driver.is_kept(), "{driver}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_keeps_the_contract_of_drivers() {
    keeps_the_contract(Rig::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_for_mysql_keeps_the_contract_of_drivers() {
    keeps_the_contract(Rig::mysql().await).await;
}

/// Runs texts one after another; after each the connection must say where the transaction stands.
async fn statuses(rig: Rig, texts: &[(&str, bool, TransactionStatus)]) {
    let deadline = || Deadline::after(Duration::from_secs(10), "the test");
    let connection = rig.driver.connect(&rig.target(), deadline()).await.expect("connected");
    for (sql, refused, status) in texts {
        let ended = connection.run_sql(sql, deadline()).await;
        assert_eq!(ended.is_err(), *refused, "{sql}: {ended:?}");
        assert_eq!(connection.transaction_status(), *status, "{sql}");
    }
    rig.stop().await;
}

/// The status of a transaction is the server's, however it was begun.
#[tokio::test(flavor = "multi_thread")]
async fn the_transaction_status_is_exact() {
    use TransactionStatus as Status;
    let texts = [
        ("/* begin */ SELECT 1", false, Status::Idle),
        ("DO $$ BEGIN PERFORM 1; END $$", false, Status::Idle),
        ("-- x\n START TRANSACTION", false, Status::Open),
        ("SELECT 1", false, Status::Open),
        ("SAVEPOINT s", false, Status::Open),
        ("SELECT 1 / 0", true, Status::Failed),
        ("ROLLBACK TO s", false, Status::Open),
        ("COMMIT AND CHAIN", false, Status::Open),
        ("END", false, Status::Idle),
        ("SELECT 1; BEGIN; SELECT 2", false, Status::Open),
        ("ABORT", false, Status::Idle),
        ("BEGIN; SELECT 1 / 0", true, Status::Failed),
        ("ROLLBACK", false, Status::Idle),
    ];
    statuses(Rig::postgres().await, &texts).await;
}

/// As on PostgreSQL; here statements that define something commit, and a failed one leaves the transaction open.
#[tokio::test(flavor = "multi_thread")]
async fn the_transaction_status_is_exact_on_mysql() {
    use TransactionStatus as Status;
    let texts = [
        ("/* begin */ SELECT 1", false, Status::Idle),
        ("-- x\n START TRANSACTION", false, Status::Open),
        ("SELECT 1", false, Status::Open),
        ("SAVEPOINT s", false, Status::Open),
        ("SELECT nothing", true, Status::Open),
        ("ROLLBACK TO s", false, Status::Open),
        ("COMMIT AND CHAIN", false, Status::Open),
        ("CREATE TABLE made (id int)", false, Status::Idle),
        ("SELECT 1; BEGIN; SELECT 2", false, Status::Open),
        ("ROLLBACK", false, Status::Idle),
        ("BEGIN; SELECT nothing", true, Status::Open),
        ("ROLLBACK", false, Status::Idle),
        ("XA START 'x'", false, Status::Open),
        ("XA END 'x'", false, Status::Open),
        ("XA ROLLBACK 'x'", false, Status::Idle),
        ("SET autocommit = 0", false, Status::Open),
        ("SET autocommit = 1", false, Status::Idle),
    ];
    statuses(Rig::mysql().await, &texts).await;
}

struct NameOfServer;

impl Operation<SqlxPgConnection> for NameOfServer {
    type Out = String;

    async fn run(&self, connection: &Arc<SqlxPgConnection>) -> Result<String> {
        let asked = connection.with_raw(|connection| {
            Box::pin(async move {
                sqlx::query_scalar("SELECT current_setting('cluster_name')").fetch_one(connection).await
            })
        });
        asked.await
    }
}

/// Failover, efm and the tracker over a single connection of sqlx, no other driver in between.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_plugins_fail_a_session_over() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
    let settings = Settings::builder().host_and_port(cluster.cluster_endpoint(), cluster.port());
    let driver = SqlxPgDriver::new(sqlx_support::options(&cluster)).reach(by_table(cluster.names()));
    let core = ConnectorCore::new(ConnectorParts {
        settings: settings.build(&keys).expect("valid"),
        driver: Arc::new(driver),
        env: Environment::default(),
        registry: wrapper_plugins::registry(),
        default_plugins: wrapper_plugins::default_plugins(),
        plugins: Vec::new(),
        observers: Vec::new(),
        default_port: 5432,
    })
    .expect("valid");
    let session = within("the connect", core.open::<SqlxPgConnection>(SessionOptions::default())).await;
    let session = session.expect("connected");
    let query = Call::new("query");
    let ask = || session.call(&query, &NameOfServer);
    assert_eq!(within("the call", ask()).await.expect("asked"), cluster.instance(cluster.writer()));
    let record = cluster.fail_over().await.expect("failed over");
    let error = within("the call", ask()).await.expect_err("the writer is gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(within("the call", ask()).await.expect("asked"), cluster.instance(record.new_writer));
    let current = session.pin();
    let raw = current.connection.with_raw(|connection| {
        Box::pin(async move {
            sqlx::query_scalar::<_, bool>("SELECT pg_is_in_recovery()").fetch_one(connection).await
        })
    });
    assert!(!within("the call", raw).await.expect("asked"));
    within("the shutdown", core.shutdown()).await;
}
