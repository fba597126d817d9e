//! What the cluster says of itself: what the fronts before its servers put into their answers.
//!
//! One truth for all nodes. A node whose topology is delayed answers from a copy of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::verbs::NodeId;

/// What is published of one node.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) instance: String,
    pub(crate) server_id: u32,
    /// When it was lost, in seconds of the epoch; none while it runs.
    pub(crate) lost_at: Option<f64>,
}

/// What one node knows of all.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) rows: Vec<Row>,
    pub(crate) writer: NodeId,
    /// Whether the node was told to lag behind, or not to learn anything any more.
    pub(crate) stale: bool,
}

/// The published topology of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Topology(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: View,
    /// By node: what it knows instead.
    late: [Option<Late>; 3],
    orders: u64,
}

#[derive(Clone, Debug)]
struct Late {
    view: View,
    by: Option<Duration>,
    /// By this number an overtaken order is known.
    order: u64,
}

impl Topology {
    pub(crate) fn new(rows: Vec<Row>, writer: NodeId) -> Self {
        let now = View { rows, writer, stale: false };
        Self(Arc::new(Mutex::new(State { now, late: [None, None, None], orders: 0 })))
    }

    /// What this node knows at present.
    pub(crate) fn seen_by(&self, node: NodeId) -> View {
        let state = self.lock();
        state.late[node.index()].as_ref().map_or(&state.now, |late| &late.view).clone()
    }

    /// Changes the topology; nodes that lag learn of it later.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut [Row], &mut NodeId)) {
        let mut state = self.lock();
        let View { rows, writer, .. } = &mut state.now;
        change(rows, writer);
        for node in NodeId::ALL {
            if let Some(Late { by: Some(by), order, .. }) = state.late[node.index()] {
                let (topology, view) = (self.clone(), state.now.as_seen_now());
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let mut state = topology.lock();
                    if let Some(late) = state.late[node.index()].as_mut().filter(|late| late.order == order) {
                        late.view = view;
                    }
                });
            }
        }
    }

    /// From now on these nodes learn of changes `by` later; `None`: never.
    pub(crate) fn delay(&self, nodes: &[NodeId], by: Option<Duration>) {
        let mut state = self.lock();
        state.orders += 1;
        for &node in nodes {
            let order = state.orders;
            let known = state.late[node.index()].take().map(|late| late.view);
            let view = known.unwrap_or_else(|| state.now.as_seen_now());
            state.late[node.index()] = Some(Late { view, by, order });
        }
    }

    /// From now on these nodes know what all know.
    pub(crate) fn catch_up(&self, nodes: &[NodeId]) {
        let mut state = self.lock();
        for &node in nodes {
            state.late[node.index()] = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// A copy that grows old.
    fn as_seen_now(&self) -> Self {
        let mut rows = self.rows.clone();
        rows.iter_mut().for_each(|row| row.lost_at = row.lost_at.or(Some(now())));
        Self { rows, writer: self.writer, stale: true }
    }
}

/// Seconds of the epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
