//! When the writer was last seen to have changed: what a pool's hook compares the age of a client with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use deadpool::managed::{Hook, HookError, Manager};
use wrapper_core::cluster::ClusterCore;

use super::RawConnect;

/// The last change of the writer, by the time at which this pool has noticed it.
#[derive(Debug)]
pub(super) struct Switches {
    last: Mutex<(u64, Option<Instant>)>,
    /// Whether the pool's clients lead to writers: connections to readers outlive a change.
    writers: AtomicBool,
}

impl Switches {
    pub(super) fn new(epoch: u64) -> Self {
        Self { last: Mutex::new((epoch, None)), writers: AtomicBool::new(true) }
    }

    /// To be called when a client was opened: it is not to be taken for one that is older than the last change.
    pub(super) fn opened(&self, cluster: &ClusterCore, writer: bool) {
        self.writers.store(writer, Ordering::Release);
        self.last(cluster);
    }

    fn last(&self, cluster: &ClusterCore) -> Option<Instant> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = cluster.writer_epoch();
        if epoch != last.0 {
            *last = (epoch, Some(cluster.env().now().into_std()));
        }
        last.1.filter(|_| self.writers.load(Ordering::Acquire))
    }
}

impl RawConnect {
    /// Refuses clients that were opened before the last change of the writer; for `pre_recycle` of any pool of deadpool
    /// over clients of this value. Without it, a client can be handed out in the moment between the monitor's answer and
    /// the end of its connection.
    pub fn hook<M: Manager>(&self) -> Hook<M> {
        let (cluster, switches) = (self.cluster_core(), self.switches());
        Hook::sync_fn(move |_, metrics| match switches.last(&cluster) {
            Some(switched) if metrics.created <= switched => {
                Err(HookError::message("the writer has changed since the client was opened"))
            }
            _ => Ok(()),
        })
    }
}
