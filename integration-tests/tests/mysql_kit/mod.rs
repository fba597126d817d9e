//! What the tests of the MySQL adapter share: clusters, connectors, waits on events, what became of rows.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests")]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use integration_tests::names::NameTable;
use integration_tests::{Flavour, MySqlCluster, NodeId};
use mysql_async::prelude::Queryable;
use wrapper_core::env::{Environment, Resolver};
use wrapper_mysql::{Conn, Connector, ConnectorBuilder, Error};

/// No wait in these tests is longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How late a loaded machine may be on top of a computed time.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Table(NameTable);

#[async_trait]
impl Resolver for Table {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let address = self.0.lookup(host).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("`{host}` is not in the cluster's name table"))
        })?;
        Ok(vec![SocketAddr::new(address, port)])
    }
}

/// A cluster with proxies that promotes a reader 200 ms after the loss of its writer, and has a table `t`.
pub(crate) async fn cluster(flavour: Flavour) -> MySqlCluster {
    let promotion = Duration::from_millis(200);
    let cluster = MySqlCluster::builder()
        .flavour(flavour)
        .with_proxy(true)
        .promotion_time(promotion..=promotion)
        .start()
        .await
        .expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint)").await;
    cluster
}

/// A connector to `host` of `cluster`, as the cluster's application user.
pub(crate) fn builder(cluster: &MySqlCluster, host: &str) -> ConnectorBuilder {
    let app = cluster.app();
    Connector::builder_at(host, cluster.port())
        .user(&app.user)
        .password(app.password.clone())
        .dbname(&app.database)
        .set("ssl_mode", "disabled")
        .environment(Environment::builder().resolver(Table(cluster.names())).build())
}

/// A connector to the writer endpoint, with quick host monitoring.
pub(crate) fn connector(cluster: &MySqlCluster) -> Connector {
    builder(cluster, &cluster.cluster_endpoint())
        .set("failure_detection_time", "400ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
        .build()
        .expect("the configuration is valid")
}

pub(crate) async fn connected(connector: &Connector) -> Conn {
    within("the connect", connector.connect()).await.expect("connected")
}

/// Fails the test instead of hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not end within {LIMIT:?}"),
    }
}

/// Waits until `check` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let end = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs SQL on the writer, past library, proxy and front.
pub(crate) async fn sql(cluster: &MySqlCluster, sql: &str) {
    let mut direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    direct.query_drop(sql).await.expect("run past the library");
}

/// How many rows with this id the writer shows, asked past library and proxy.
pub(crate) async fn rows(cluster: &MySqlCluster, id: u64) -> u64 {
    let mut direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    let count: Option<u64> =
        direct.exec_first("SELECT COUNT(*) FROM t WHERE id = ?", (id,)).await.expect("counted");
    count.expect("a row")
}

/// Whether a statement that contains `text` runs on the writer.
pub(crate) async fn runs(cluster: &MySqlCluster, text: &str) -> bool {
    let Ok(mut direct) = cluster.connect_superuser(cluster.writer()).await else { return false };
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ? AND info LIKE ?";
    let count: Option<u64> =
        direct.exec_first(sql, (cluster.app().user, format!("%{text}%"))).await.expect("counted");
    count.unwrap_or_default() > 0
}

/// How many connections of the application a node has.
pub(crate) async fn connections(cluster: &MySqlCluster, node: NodeId) -> u64 {
    let mut direct = cluster.connect_superuser(node).await.expect("connected past the library");
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?";
    direct.exec_first(sql, (cluster.app().user,)).await.expect("counted").unwrap_or_default()
}

/// The node whose server answers.
pub(crate) async fn node_of(cluster: &MySqlCluster, conn: &mut Conn) -> NodeId {
    let id: Option<u32> =
        within("asking for the id", conn.query_first("SELECT @@GLOBAL.server_id")).await.expect("answered");
    let id = id.expect("a row");
    cluster.nodes().into_iter().find(|node| cluster.server_id(*node) == id).expect("a node of the cluster")
}

/// The error of a call that must have failed.
#[track_caller]
pub(crate) fn failed<T>(result: Result<T, Error>, what: &str) -> Error {
    match result {
        Ok(_) => panic!("{what} succeeded"),
        Err(error) => error,
    }
}

/// Ends a connector: the shutdown returns soon, and no task is left.
pub(crate) async fn end(connector: Connector) {
    let began = Instant::now();
    within("the shutdown", connector.shutdown()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "the shutdown took {:?}", began.elapsed());
    assert_eq!(connector.cluster().task_count(), 0, "a task outlived the shutdown");
}
