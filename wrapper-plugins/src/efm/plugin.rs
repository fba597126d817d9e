//! The plugin of one session: enters and leaves waits, starts a monitor where there is none.

use std::sync::{Arc, Weak};

use wrapper_core::cluster::{Cluster, ClusterCore};
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Environment;
use wrapper_core::host::HostInfo;
use wrapper_core::plugin::{MethodSet, OrderClass, Plugin, WatchToken};

use super::config::Parameters;
use super::desk::{Desk, Entered};
use super::host::{EfmMonitors, HostMonitor, Running};
use super::monitor::supervise;

/// Host monitoring of one session.
#[derive(Debug)]
pub(super) struct EfmPlugin {
    parameters: Parameters,
    env: Environment,
    // Weak: the cluster holds chains, chains hold plugins.
    cluster: Weak<ClusterCore>,
    monitors: Arc<EfmMonitors>,
    desk: Arc<Desk>,
}

impl EfmPlugin {
    pub(super) fn new(cluster: &Cluster, parameters: Parameters) -> Self {
        Self {
            parameters,
            env: cluster.env().clone(),
            cluster: Arc::downgrade(cluster.core()),
            monitors: EfmMonitors::of(cluster),
            desk: Arc::default(),
        }
    }

    /// The first wait on a connection, or the first one since its host's monitor was disposed of.
    #[cold]
    fn enter_anew(&self, connection: &Arc<dyn DriverConnection>, host: &HostInfo) -> Entered {
        loop {
            let monitor = self.monitors.monitor(host, self.parameters, &self.desk);
            self.desk.put(connection, monitor);
            if let Some(entered) = self.desk.enter(connection, &self.env) {
                return entered;
            }
        }
    }

    #[cold]
    fn start(&self, monitor: Arc<HostMonitor>) {
        let running = Running(monitor);
        // A cluster that was shut down watches no more; `running` says so when it is dropped.
        let Some(cluster) = self.cluster.upgrade().filter(|cluster| !cluster.is_shut_down()) else { return };
        let task = supervise(Arc::clone(&cluster), Arc::clone(&self.monitors), running);
        cluster.spawn("host monitor", task);
    }
}

impl Plugin for EfmPlugin {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn class(&self) -> OrderClass {
        OrderClass::Monitoring
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::WATCH
    }

    fn watch(&self, connection: &Arc<dyn DriverConnection>, host: &HostInfo) -> WatchToken {
        let entered = match self.desk.enter(connection, &self.env) {
            Some(entered) => entered,
            None => self.enter_anew(connection, host),
        };
        if let Some(monitor) = entered.start {
            self.start(monitor);
        }
        entered.token
    }

    fn unwatch(&self, token: WatchToken) {
        self.desk.leave(token);
    }
}

/// Host monitoring that was switched off by `failure_detection_enabled=false`.
#[derive(Debug)]
pub(super) struct Off;

impl Plugin for Off {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn class(&self) -> OrderClass {
        OrderClass::Monitoring
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::NONE
    }
}
