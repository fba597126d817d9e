//! Telling observers, and counting callers that wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use super::ClusterCore;
use crate::observe::Event;
use crate::plugin::{Chain, HostStateChange};

impl ClusterCore {
    /// Tells the observers; a panic in one of them is caught. Switches go to the flight recorder too.
    pub fn emit(&self, event: &Event) {
        if let Event::Switched(report) = event {
            self.recorder.record(Arc::clone(report));
        }
        for observer in &self.observers {
            let _ = catch_unwind(AssertUnwindSafe(|| observer.on_event(event)));
        }
    }

    /// Tells the plugins of a session of topologies and host states, until the chain is dropped.
    pub(crate) fn notify_chain(&self, chain: &Arc<Chain>) {
        if chain.notifies() {
            let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
            // Sessions may share a chain.
            if !chains.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(chain))) {
                chains.push(Arc::downgrade(chain));
            }
        }
    }

    pub(super) fn for_each_chain(&self, tell: impl Fn(&Chain)) {
        let chains: Vec<Arc<Chain>> = {
            let mut all = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|chain| chain.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        chains.iter().for_each(|chain| tell(chain));
    }

    /// Tells the observers and the plugins of all sessions that a host went up or down.
    pub fn host_state_changed(&self, change: &HostStateChange) {
        self.emit(&Event::HostState(change.clone()));
        self.for_each_chain(|chain| chain.host_state_changed(change));
    }

    /// Emits a warning, once for each text.
    pub fn warn_once(&self, text: impl Into<String>) {
        let text = text.into();
        if self.warned.insert(text.clone(), ()).is_none() {
            self.emit(&Event::Warning(text));
        }
    }

    pub(crate) fn callers_held(&self, change: i64) {
        if change >= 0 {
            self.callers_held.fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.callers_held.fetch_sub(change.unsigned_abs(), Ordering::Relaxed);
        }
    }

    pub(crate) fn held(&self) -> u64 {
        self.callers_held.load(Ordering::Relaxed)
    }
}
