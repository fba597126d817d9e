//! A cluster, a connector onto it, and who answers a session: what `common` has, for the MySQL family.

use std::time::Duration;

use integration_tests::local::Truth;
use integration_tests::mysql::Builder;
use integration_tests::{Flavour, MySqlCluster, NodeId};
use mysql_async::prelude::Queryable;
use wrapper_core::env::Environment;
use wrapper_mysql::{Conn, Connector, ConnectorBuilder, Error, ErrorKind};

use crate::common::{TableResolver, within};

pub(crate) const STEP: Duration = Duration::from_secs(30);

/// A cluster that promotes 300 ms after a loss, and whose old writers stay away until told.
pub(crate) fn cluster(flavour: Flavour) -> Builder {
    let promotion = Duration::from_millis(300);
    MySqlCluster::builder().flavour(flavour).promotion_time(promotion..=promotion).rejoin_after(None)
}

/// An Aurora cluster with proxies and with a table of ids, written past the library.
pub(crate) async fn aurora() -> MySqlCluster {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
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
        .environment(Environment::builder().resolver(TableResolver(cluster.names())).build())
}

/// A connector to the writer endpoint, with defaults.
pub(crate) fn connector(cluster: &MySqlCluster) -> Connector {
    builder(cluster, &cluster.cluster_endpoint()).build().expect("the configuration is valid")
}

/// A connector whose host monitoring is quick.
pub(crate) fn watchful(cluster: &MySqlCluster, host: &str) -> ConnectorBuilder {
    builder(cluster, host)
        .set("failure_detection_time", "300ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
}

pub(crate) async fn connect(connector: &Connector) -> Conn {
    within("the connect", connector.connect()).await.expect("connected")
}

/// Runs SQL on the writer as the application, past the library.
pub(crate) async fn sql(cluster: &MySqlCluster, sql: &str) {
    let mut direct = cluster.connect_app(cluster.writer()).await.expect("connected past the library");
    direct.query_drop(sql).await.expect("run past the library");
}

/// How many rows with this id a server shows, asked past library and proxy.
pub(crate) async fn rows_on(cluster: &MySqlCluster, node: NodeId, id: i64) -> u64 {
    let mut direct = cluster.connect_superuser(node).await.expect("connected past the library");
    let sql = "SELECT COUNT(*) FROM t WHERE id = ?";
    direct.exec_first(sql, (id,)).await.expect("counted").expect("a row")
}

/// How many rows with this id the writer shows.
pub(crate) async fn rows(cluster: &MySqlCluster, id: i64) -> u64 {
    rows_on(cluster, cluster.writer(), id).await
}

/// Whether a server runs a statement with this text for the application.
pub(crate) async fn runs(cluster: &MySqlCluster, node: NodeId, text: &str) -> bool {
    let mut direct = cluster.connect_superuser(node).await.expect("connected past the library");
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app' AND info LIKE ?";
    let found: Option<u64> = direct.exec_first(sql, (format!("%{text}%"),)).await.expect("asked");
    found.is_some_and(|count| count > 0)
}

/// The node whose server answers the session, by its own word.
pub(crate) async fn node_of(cluster: &MySqlCluster, conn: &mut Conn) -> NodeId {
    let id: Option<u32> =
        within("asking who it is", conn.query_first("SELECT @@server_id")).await.expect("an id");
    let id = id.expect("a row");
    NodeId::ALL.into_iter().find(|node| cluster.server_id(*node) == id).expect("a node of the cluster")
}

/// What the server behind the session says of its role, asked past the library.
pub(crate) async fn truth_of(cluster: &MySqlCluster, conn: &mut Conn) -> Truth {
    let node = node_of(cluster, conn).await;
    cluster.truth().await[node.index()]
}

/// The first call of a session whose host is gone: it must end with a finished failover.
#[track_caller]
pub(crate) fn moved(conn: &mut Conn) -> impl Future<Output = Error> {
    let caller = std::panic::Location::caller();
    async move {
        let error = failed(within("the call", conn.query_drop("SELECT 1")).await, "a call on a lost host");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{caller}: {error:?}");
        error
    }
}

/// The error of a call that must have failed.
#[track_caller]
pub(crate) fn failed<T>(result: Result<T, Error>, what: &str) -> Error {
    match result {
        Ok(_) => panic!("{what} succeeded"),
        Err(error) => error,
    }
}

/// Ends a connector: the shutdown returns soon, whatever has become of the servers, and no task is left.
pub(crate) async fn end(connector: Connector) {
    let began = tokio::time::Instant::now();
    within("the shutdown", connector.shutdown()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "the shutdown took {:?}", began.elapsed());
    assert_eq!(connector.cluster().task_count(), 0, "a task outlived the shutdown");
}
