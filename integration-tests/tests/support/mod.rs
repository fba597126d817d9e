//! What the scenarios of transactions, monitoring, load and endings share: clusters, waits on events, checks of an end.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use integration_tests::{Flavour, LocalCluster, NodeId};
use wrapper_core::observe::{Event, Observer};
use wrapper_pg::{Connector, ConnectorBuilder, Error};

use crate::common::{LIMIT, builder, within};

/// The longest that a shutdown may take, whatever state the servers are in.
pub(crate) const END: Duration = Duration::from_secs(2);

/// How late a loaded machine may be on top of a computed time.
pub(crate) const SLACK: Duration = Duration::from_millis(1500);

/// An Aurora cluster with proxies, which promotes a reader 200 ms after the loss of its writer.
pub(crate) async fn aurora() -> LocalCluster {
    aurora_promoting_after(Duration::from_millis(200)).await
}

/// The same of another flavour.
pub(crate) async fn started(flavour: Flavour) -> LocalCluster {
    promoting_after(flavour, Duration::from_millis(200)).await
}

/// An Aurora cluster with proxies and a promotion time of its own.
pub(crate) async fn aurora_promoting_after(promotion: Duration) -> LocalCluster {
    promoting_after(Flavour::Aurora, promotion).await
}

async fn promoting_after(flavour: Flavour, promotion: Duration) -> LocalCluster {
    let cluster = LocalCluster::builder()
        .flavour(flavour)
        .with_proxy(true)
        .promotion_time(promotion..=promotion)
        .start()
        .await
        .expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint); GRANT ALL ON t TO PUBLIC").await;
    cluster
}

/// A connector to the writer endpoint whose host monitoring is quick.
pub(crate) fn watchful(cluster: &LocalCluster) -> ConnectorBuilder {
    builder(cluster, &cluster.cluster_endpoint())
        .set("failure_detection_time", "400ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
}

/// Runs SQL on the writer, past library and proxy.
pub(crate) async fn sql(cluster: &LocalCluster, sql: &str) {
    let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    direct.batch_execute(sql).await.expect("run past the library");
}

/// How many rows with this id a server shows, asked past library and proxy.
pub(crate) async fn rows_on(cluster: &LocalCluster, node: NodeId, id: i64) -> i64 {
    let direct = cluster.connect_superuser(node).await.expect("connected past the library");
    let row = direct.query_one("SELECT count(*) FROM t WHERE id = $1", &[&id]).await.expect("counted");
    row.get(0)
}

/// How many rows with this id the writer shows.
pub(crate) async fn rows(cluster: &LocalCluster, id: i64) -> i64 {
    rows_on(cluster, cluster.writer(), id).await
}

/// Waits until `check` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let end = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Shuts the connector down: it must end in its bound and leave no task.
pub(crate) async fn ended(connector: &Connector) {
    let begin = Instant::now();
    within("the shutdown", connector.shutdown()).await;
    assert!(begin.elapsed() < END, "the shutdown took {:?}", begin.elapsed());
    assert_eq!(connector.cluster().task_count(), 0, "tasks after the shutdown");
}

/// Polls `future` at most `times` times and drops it then; what it gave, when it was ready before.
pub(crate) async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Keeps every event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    /// How many events are of a kind.
    pub(crate) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().expect("not poisoned").iter().filter(|event| is(event)).count()
    }

    /// How many searches for a writer have begun.
    pub(crate) fn searches(&self) -> usize {
        self.count(|event| matches!(event, Event::SearchStarted))
    }

    /// Whether a failover has begun.
    pub(crate) fn failing_over(&self) -> bool {
        self.count(|event| matches!(event, Event::Decision { action: "fail over", .. })) > 0
    }

    /// How many handles there are on this list.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        self.0.lock().expect("not poisoned").push(event.clone());
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
