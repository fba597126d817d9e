//! What the scenarios share beside the kit of the MySQL tests: clusters whose old writers stay away, what a lost host does
//! to the next call, the truth of roles.

use std::time::Duration;

use integration_tests::local::Truth;
use integration_tests::mysql::Builder;
use integration_tests::{Flavour, MySqlCluster, NodeId};
use mysql_async::prelude::Queryable;
use wrapper_mysql::{Conn, Connector, ConnectorBuilder, Error, ErrorKind};

use crate::common::within;
pub(crate) use crate::mysql_kit::{builder, connected as connect, end, failed, node_of, rows, runs, sql};

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

/// How many rows with this id a server shows, asked past library and proxy.
pub(crate) async fn rows_on(cluster: &MySqlCluster, node: NodeId, id: u64) -> u64 {
    let mut direct = cluster.connect_superuser(node).await.expect("connected past the library");
    let sql = "SELECT COUNT(*) FROM t WHERE id = ?";
    direct.exec_first(sql, (id,)).await.expect("counted").expect("a row")
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
