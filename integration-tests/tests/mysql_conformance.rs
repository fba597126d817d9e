//! The MySQL adapter keeps the contracts of drivers and of host list providers, on a real server.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![cfg(target_os = "linux")]

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use integration_tests::MySqlCluster;
use integration_tests::proxy::{FaultProxy, Mode};
use mysql_async::prelude::Queryable;
use wrapper_core::dialect::{DialectId, dialect_for};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::testkit::conformance::{
    DriverRig, ProviderRig, Question, TransactionStep, driver_dialect_conformance,
    host_list_provider_conformance,
};
use wrapper_core::topology::{HostListProvider, StaticListProvider};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};
use wrapper_mysql::{MysqlDriver, OptsBuilder, TlsMode, TlsSettings};

/// One server behind a proxy, and a driver that knows the way through it.
struct Rig {
    cluster: MySqlCluster,
    proxy: FaultProxy,
    observer: tokio::sync::Mutex<mysql_async::Conn>,
    driver: Arc<MysqlDriver>,
}

impl Rig {
    async fn start() -> Self {
        let cluster = MySqlCluster::builder().start().await.expect("the cluster starts");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let upstream = cluster.server_address(cluster.writer());
        let proxy = FaultProxy::start(any, upstream).await.expect("the proxy starts");
        let observer = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
        let app = cluster.app();
        let opts =
            OptsBuilder::default().user(Some(app.user)).pass(Some(app.password)).db_name(Some(app.database));
        let tls = TlsSettings::new().mode(TlsMode::Disabled);
        let driver = Arc::new(MysqlDriver::builder(opts).tls(tls).build().expect("the driver is made"));
        Self { cluster, proxy, observer: tokio::sync::Mutex::new(observer), driver }
    }

    fn host(&self) -> HostInfo {
        HostInfo::new("127.0.0.1", self.proxy.address().port(), HostRole::Unknown)
    }

    async fn silence(&self, on: bool) {
        let mode = if on { Mode::StallBoth } else { Mode::Pass };
        self.proxy.set(mode).await.expect("the proxy obeys");
    }
}

#[async_trait]
impl DriverRig for Rig {
    fn driver(&self) -> Arc<dyn DriverDialect> {
        Arc::clone(&self.driver) as _
    }

    fn target(&self) -> ConnectTarget {
        ConnectTarget::session(self.host())
    }

    fn refused(&self) -> ConnectTarget {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        ConnectTarget::session(HostInfo::new("127.0.0.1", port, HostRole::Unknown))
    }

    async fn silence(&self, on: bool) {
        Rig::silence(self, on).await;
    }

    fn questions(&self) -> Vec<Question> {
        let text = |text: &str| Some(text.to_owned());
        let many = (1..=1000).map(|number| vec![Some(number.to_string())]).collect();
        vec![
            Question::new(
                "SELECT 1 AS one, NULL AS nothing, '' AS blank",
                &["one", "nothing", "blank"],
                vec![vec![text("1"), None, text("")]],
            ),
            Question::new("SELECT 1 AS one FROM dual WHERE false", &["one"], Vec::new()),
            Question::new(
                "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) SELECT n FROM s",
                &["n"],
                many,
            ),
        ]
    }

    fn refused_statement(&self) -> String {
        "SELECT nothing".to_owned()
    }

    fn setting(&self) -> String {
        "SET time_zone = '+05:00', @x = 1".to_owned()
    }

    async fn step(&self, connection: &Arc<dyn DriverConnection>, step: TransactionStep) -> Result<()> {
        let deadline = wrapper_core::env::Deadline::after(std::time::Duration::from_secs(10), "the test");
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
        let sql =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user IN (?, 'unauthenticated user')";
        let mut observer = self.observer.lock().await;
        let count: Option<u64> = observer.exec_first(sql, (self.cluster.app().user,)).await.expect("counted");
        usize::try_from(count.expect("a row")).ok()
    }

    fn classified(&self) -> Vec<(Box<dyn StdError + Send + Sync>, ErrorClass)> {
        let server = |code| {
            let (message, state) = ("x".to_owned(), "HY000".to_owned());
            let error = mysql_async::Error::Server(mysql_async::ServerError { code, message, state });
            Box::new(error) as Box<dyn StdError + Send + Sync>
        };
        vec![
            (Box::new(Error::new(ErrorKind::Network, "reset")), ErrorClass::Network),
            (server(1053), ErrorClass::Network),
            (server(1290), ErrorClass::ReadOnly),
            (server(1243), ErrorClass::WrongStatement),
            (server(1062), ErrorClass::Other),
        ]
    }
}

#[async_trait]
impl ProviderRig for Rig {
    fn provider(&self) -> Arc<dyn HostListProvider> {
        let dialect = dialect_for(DialectId::Mariadb).expect("known");
        Arc::new(StaticListProvider::new(dialect, [self.host()]).expect("one host"))
    }

    async fn connect(&self, host: Option<&HostInfo>) -> Result<Arc<dyn DriverConnection>> {
        let target = host.map_or_else(|| self.target(), |host| ConnectTarget::session(host.clone()));
        let deadline = wrapper_core::env::Deadline::after(std::time::Duration::from_secs(10), "the test");
        self.driver.connect(&target, deadline).await
    }

    async fn silence(&self, on: bool) {
        Rig::silence(self, on).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_and_the_static_list_keep_their_contracts() {
    let rig = Rig::start().await;
    let driver = driver_dialect_conformance(&rig).await;
    println!("{driver}");
    let provider = host_list_provider_conformance(&rig).await;
    println!("{provider}");
    assert!(driver.is_kept(), "{driver}");
    assert!(provider.is_kept(), "{provider}");
    rig.cluster.stop().await;
}
