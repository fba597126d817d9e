//! When the monitor has begun to search for the writer.

use std::sync::Arc;

use wrapper_core::cluster::ClusterCore;
use wrapper_core::env::watch;
use wrapper_core::observe::{Event, Observer};

/// Counts the searches of a cluster; the pools of the cluster share it.
#[derive(Clone, Debug)]
pub(super) struct Searches(Arc<watch::Sender<u64>>);

impl Searches {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Those that `cluster` was made with; ones that never begin, when it was made by somebody else.
    pub(super) fn of(cluster: &ClusterCore) -> Self {
        (*cluster.shared(Self::new)).clone()
    }

    /// Makes these the ones of `cluster`.
    pub(super) fn belong_to(self, cluster: &ClusterCore) {
        cluster.shared(|| self);
    }

    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

impl Observer for Searches {
    fn on_event(&self, event: &Event) {
        if matches!(event, Event::SearchStarted) {
            self.0.send_modify(|count| *count += 1);
        }
    }
}
