//! What a switch of a session is made of.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::Attempt;
use crate::cluster::Cluster;
use crate::driver::DriverConnection;
use crate::env::Deadline;
use crate::error::{Error, Result};
use crate::observe::SwitchReport;
use crate::plugin::{Chain, Connected};

/// What happens to the old connection of a session after a switch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Disposal {
    /// It is closed at once; calls in flight on it end with this reason. For failover.
    Kill(Error),
    /// It ends when every call in flight on it has been answered. For switchover and routing.
    Drain,
}

/// How a switch finds its next connection.
#[async_trait]
pub trait Search: Send {
    /// Finds and opens the next connection; it is called again when carrying the session state over failed with a
    /// network error and the deadline has not passed.
    ///
    /// # Errors
    /// Ends the switch.
    ///
    /// # Cancellation
    /// Must close whatever it opened.
    async fn find(&mut self, cx: &SwitchContext) -> Result<Connected>;
}

/// What a [`Search`] works with.
#[derive(Debug)]
#[non_exhaustive]
pub struct SwitchContext {
    /// The cluster.
    pub cluster: Cluster,
    /// The chain of the session.
    pub chain: Arc<Chain>,
    /// The attempt that failed.
    pub failed: Attempt,
    /// When the switch must have ended.
    pub deadline: Deadline,
    report: Mutex<SwitchReport>,
}

impl SwitchContext {
    pub(super) fn new(
        cluster: Cluster,
        chain: Arc<Chain>,
        failed: Attempt,
        deadline: Deadline,
        report: SwitchReport,
    ) -> Self {
        Self { cluster, chain, failed, deadline, report: Mutex::new(report) }
    }

    /// Adds to the report of this switch.
    pub fn report<T>(&self, edit: impl FnOnce(&mut SwitchReport) -> T) -> T {
        edit(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is to be switched, why, and how.
pub struct SwitchPlan {
    /// The attempt that failed.
    pub failed: Attempt,
    /// Why.
    pub cause: Error,
    /// What happens to the old connection.
    pub disposal: Disposal,
    /// When the switch must have ended.
    pub deadline: Deadline,
    /// How the next connection is found.
    pub search: Box<dyn Search>,
}

impl std::fmt::Debug for SwitchPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwitchPlan")
            .field("failed", &self.failed)
            .field("cause", &self.cause)
            .field("disposal", &self.disposal)
            .finish_non_exhaustive()
    }
}

/// What an adapter or a user adds to a switch of a session.
#[async_trait]
pub trait SwitchHook: Send + Sync {
    /// Carries state to the new connection, before it becomes current. `Ok(true)` means that everything was done
    /// and the library's own transfer is left out.
    ///
    /// # Errors
    /// The new connection is dropped. On a network error another one is searched; any other error ends the switch.
    ///
    /// # Cancellation
    /// The new connection is dropped.
    async fn carry(
        &self,
        old: &Arc<dyn DriverConnection>,
        new: &Arc<dyn DriverConnection>,
        deadline: Deadline,
    ) -> Result<bool> {
        let _ = (old, new, deadline);
        Ok(false)
    }

    /// The new connection has become current. Sync, cannot fail.
    fn installed(&self, old: &Arc<dyn DriverConnection>, new: &Arc<dyn DriverConnection>) {
        let _ = (old, new);
    }
}
