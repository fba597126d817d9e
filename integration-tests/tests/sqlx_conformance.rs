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
use integration_tests::proxy::{FaultProxy, Mode};
use integration_tests::{Flavour, LocalCluster};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx_support::{by_table, cluster, within};
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::plugin::Call;
use wrapper_core::session::{Operation, SessionOptions};
use wrapper_core::testkit::conformance::{DriverRig, Question, TransactionStep, driver_dialect_conformance};
use wrapper_core::{ErrorClass, ErrorKind, Result};
use wrapper_sqlx::postgres::{SqlxPgConnection, SqlxPgDriver};

/// One server behind a proxy, and a driver that knows the way through it.
struct Rig {
    cluster: LocalCluster,
    proxy: FaultProxy,
    observer: tokio_postgres::Client,
    driver: SqlxPgDriver,
}

impl Rig {
    async fn start() -> Self {
        let cluster = LocalCluster::builder().start().await.expect("the cluster starts");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let upstream = cluster.server_address(cluster.writer());
        let proxy = FaultProxy::start(any, upstream).await.expect("the proxy starts");
        let observer = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
        let app = cluster.app();
        let options = PgConnectOptions::new_without_pgpass()
            .username(&app.user)
            .password(&app.password)
            .database(&app.database)
            .ssl_mode(PgSslMode::Disable);
        Self { cluster, proxy, observer, driver: SqlxPgDriver::new(options) }
    }
}

#[async_trait]
impl DriverRig for Rig {
    fn driver(&self) -> Arc<dyn DriverDialect> {
        Arc::new(self.driver.clone())
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
        vec![
            Question::new(
                "SELECT 1 AS one, NULL AS nothing, '' AS empty",
                &["one", "nothing", "empty"],
                vec![vec![text("1"), None, text("")]],
            ),
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
        "SELECT 1 / 0".to_owned()
    }

    fn setting(&self) -> String {
        "SET application_name = 'conformance'".to_owned()
    }

    async fn step(&self, connection: &Arc<dyn DriverConnection>, step: TransactionStep) -> Result<()> {
        let deadline = Deadline::after(Duration::from_secs(10), "the test");
        match step {
            TransactionStep::Begin => connection.run_sql("BEGIN", deadline).await,
            TransactionStep::Rollback => connection.run_sql("ROLLBACK", deadline).await,
            _ => {
                assert!(connection.run_sql("SELECT 1 / 0", deadline).await.is_err());
                Ok(())
            }
        }
    }

    async fn open_connections(&self) -> Option<usize> {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'client backend'";
        let row = self.observer.query_one(sql, &[&self.cluster.app().user]).await.expect("counted");
        usize::try_from(row.get::<_, i64>(0)).ok()
    }

    fn classified(&self) -> Vec<(Box<dyn StdError + Send + Sync>, ErrorClass)> {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        vec![
            (Box::new(sqlx::Error::Io(reset)), ErrorClass::Network),
            (Box::new(sqlx::Error::RowNotFound), ErrorClass::Other),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_keeps_the_contract_of_drivers() {
    let rig = Rig::start().await;
    let driver = driver_dialect_conformance(&rig).await;
    println!("{driver}");
    assert!(driver.is_kept(), "{driver}");
    rig.cluster.stop().await;
}

/// The status of a transaction is the server's, however it was begun.
#[tokio::test(flavor = "multi_thread")]
async fn the_transaction_status_is_exact() {
    use wrapper_core::driver::TransactionStatus as Status;
    let rig = Rig::start().await;
    let deadline = || Deadline::after(Duration::from_secs(10), "the test");
    let connection = rig.driver.open(&rig.target(), deadline()).await.expect("connected");
    for (sql, refused, status) in [
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
    ] {
        let ended = connection.run_sql(sql, deadline()).await;
        assert_eq!(ended.is_err(), refused, "{sql}: {ended:?}");
        assert_eq!(connection.transaction_status(), status, "{sql}");
    }
    rig.cluster.stop().await;
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
