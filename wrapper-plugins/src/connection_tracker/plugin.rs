//! The plugin.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use wrapper_core::cluster::ClusterCore;
use wrapper_core::host::HostRole;
use wrapper_core::plugin::{BuildContext, MethodSet, OrderClass, Plugin, PluginFactory};
use wrapper_core::session::Attempt;
use wrapper_core::{Error, ErrorKind, Result};

/// Refuses idle connections to a demoted writer. Without settings.
///
/// ```
/// use wrapper_core::plugin::PluginFactory;
/// use wrapper_plugins::connection_tracker::ConnectionTracker;
///
/// assert_eq!(ConnectionTracker::new().name(), "connection_tracker");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionTracker(());

impl ConnectionTracker {
    /// The plugin's factory.
    pub fn new() -> Self {
        Self(())
    }
}

impl PluginFactory for ConnectionTracker {
    fn name(&self) -> &'static str {
        "connection_tracker"
    }

    fn needs_topology(&self) -> bool {
        true
    }

    fn off_on_proxy(&self) -> bool {
        true
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(Tracker { cluster: Arc::downgrade(cx.cluster.core()) }))
    }
}

#[derive(Debug)]
struct Tracker {
    // Weak: the cluster holds chains, chains hold plugins.
    cluster: Weak<ClusterCore>,
}

#[async_trait]
impl Plugin for Tracker {
    fn name(&self) -> &'static str {
        "connection_tracker"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Endpoints
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::REFUSE
    }

    fn refuse(&self, attempt: &Attempt) -> Result<()> {
        let demoted = || {
            self.cluster
                .upgrade()
                .is_some_and(|cluster| cluster.registry().demoted_in(&attempt.host.key) > attempt.epoch)
        };
        if attempt.host.role != HostRole::Writer || !demoted() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Demoted,
            format!("{} has lost the writer role since this connection was opened", attempt.host.key),
        )
        .with_host(attempt.host.host()))
    }
}
