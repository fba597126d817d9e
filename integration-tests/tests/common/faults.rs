//! What the tests with faults share beside `common`: a log of events, who answers a client, the end of a test.
#![allow(dead_code, clippy::expect_used, reason = "helpers of tests; each test binary uses its part")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use integration_tests::local::{Builder, Truth};
use integration_tests::{Flavour, LocalCluster, NodeId};
use wrapper_core::observe::{Event, Observer};
use wrapper_pg::{Client, Connector};

use crate::common::{LIMIT, within};

/// How late the end of a bounded wait may be seen on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

/// A cluster that promotes 300 ms after a loss, and whose old writers stay away until told.
pub(crate) fn cluster(flavour: Flavour) -> Builder {
    let promotion = Duration::from_millis(300);
    LocalCluster::builder().flavour(flavour).promotion_time(promotion..=promotion).rejoin_after(None)
}

/// Keeps every event of a connector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}

impl Events {
    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|event| wanted(event)).count()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |event: &Event| match event {
            Event::Warning(text) => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }

    pub(crate) fn searches(&self) -> usize {
        self.count(|event| matches!(event, Event::SearchStarted))
    }

    pub(crate) fn silences(&self) -> usize {
        self.count(|event| matches!(event, Event::HostSilent { .. }))
    }
}

/// The node whose server answers the client, by its own word.
pub(crate) async fn node_of(cluster: &LocalCluster, client: &Client) -> NodeId {
    let sql = "SELECT current_setting('cluster_name')";
    let name: String =
        within("asking for the name", client.query_one_scalar(sql, &[])).await.expect("a name");
    cluster.node_named(&name).expect("a node of the cluster")
}

/// What the server behind the client says of its role, asked past the library.
pub(crate) async fn truth_of(cluster: &LocalCluster, client: &Client) -> Truth {
    cluster.truth().await[node_of(cluster, client).await.index()]
}

/// Waits until `done` says so.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + LIMIT;
    while !done().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ends a connector: the shutdown returns soon, whatever has become of the servers, and no task is left.
pub(crate) async fn end(connector: Connector) {
    let began = tokio::time::Instant::now();
    within("the shutdown", connector.shutdown()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "the shutdown took {:?}", began.elapsed());
    assert_eq!(connector.cluster().task_count(), 0, "a task outlived the shutdown");
}
