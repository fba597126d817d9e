//! The plugin of one session: enters and leaves waits, starts a monitor where there is none.

use std::sync::{Arc, Mutex, Weak};

use wrapper_core::cluster::{Cluster, ClusterCore};
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Environment;
use wrapper_core::host::{HostInfo, HostKey};
use wrapper_core::plugin::{MethodSet, OrderClass, Plugin, WatchToken};

use super::config::Parameters;
use super::host::{EfmMonitors, HostMonitor, Running, lock};
use super::monitor::supervise;

/// Host monitoring of one session.
#[derive(Debug)]
pub(super) struct EfmPlugin {
    parameters: Parameters,
    env: Environment,
    // Weak: the cluster holds chains, chains hold plugins.
    cluster: Weak<ClusterCore>,
    monitors: Arc<EfmMonitors>,
    used: Mutex<Used>,
}

/// The monitors that this session has used. A token names one of them by its place, so places never move.
#[derive(Debug, Default)]
struct Used {
    places: Vec<Arc<HostMonitor>>,
    last: usize,
}

impl Used {
    fn place_of(&mut self, host: &HostKey) -> Option<usize> {
        let is_it = |monitor: &Arc<HostMonitor>| monitor.host.key == *host;
        if !self.places.get(self.last).is_some_and(is_it) {
            self.last = self.places.iter().position(is_it)?;
        }
        Some(self.last)
    }

    fn put(&mut self, monitor: Arc<HostMonitor>) {
        // The monitor of this host that stands there was disposed of: none of its tokens is out.
        match self.place_of(&monitor.host.key) {
            Some(place) => self.places[place] = monitor,
            None => {
                self.last = self.places.len();
                self.places.push(monitor);
            }
        }
    }
}

impl EfmPlugin {
    pub(super) fn new(cluster: &Cluster, parameters: Parameters) -> Self {
        Self {
            parameters,
            env: cluster.env().clone(),
            cluster: Arc::downgrade(cluster.core()),
            monitors: EfmMonitors::of(cluster),
            used: Mutex::default(),
        }
    }

    fn enter(
        &self,
        connection: &Arc<dyn DriverConnection>,
        host: &HostInfo,
    ) -> (WatchToken, Option<Arc<HostMonitor>>) {
        let mut used = lock(&self.used);
        loop {
            if let Some(place) = used.place_of(&host.key) {
                let monitor = &used.places[place];
                if let Some((slot, start)) = monitor.enter(connection) {
                    return (token(place, slot), start.then(|| Arc::clone(monitor)));
                }
            }
            used.put(self.monitors.monitor(host, self.parameters, &self.env));
        }
    }

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
        let (token, start) = self.enter(connection, host);
        if let Some(monitor) = start {
            self.start(monitor);
        }
        token
    }

    fn unwatch(&self, token: WatchToken) {
        let Some((place, slot)) = parts(token) else { return };
        let connection = lock(&self.used).places.get(place).and_then(|monitor| monitor.leave(slot));
        // The last handle of a connection may be this one: it is dropped outside the locks.
        drop(connection);
    }
}

/// Place and slot in one number; never 0, which stands for a wait that could not be entered.
fn token(place: usize, slot: usize) -> WatchToken {
    ((place as u64 + 1) << 32) | (slot as u64 & u64::from(u32::MAX))
}

fn parts(token: WatchToken) -> Option<(usize, usize)> {
    let place = (token >> 32).checked_sub(1)?;
    Some((usize::try_from(place).ok()?, usize::try_from(token & u64::from(u32::MAX)).ok()?))
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
