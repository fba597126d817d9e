//! What sessions and the monitor of a host share: the waits on the host, and the monitors of a cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wrapper_core::cluster::ClusterCore;
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Environment;
use wrapper_core::host::{HostInfo, HostKey};

use super::config::Parameters;
use super::waits::Waits;

/// The monitors of one cluster, shared by all its sessions; also the numbers of host monitoring.
#[derive(Debug, Default)]
pub struct EfmMonitors {
    // A host has one monitor for each set of parameters in use: as a rule one.
    hosts: Mutex<BTreeMap<HostKey, Vec<Arc<HostMonitor>>>>,
}

impl EfmMonitors {
    /// The monitors of `cluster`.
    pub fn of(cluster: &ClusterCore) -> Arc<Self> {
        cluster.shared(Self::default)
    }

    /// How many waits for a server are watched now.
    pub fn watched(&self) -> usize {
        self.sum(|state| state.waits.len())
    }

    /// How many monitor tasks are alive; each ends when its host has not been called for the disposal time.
    pub fn monitors(&self) -> usize {
        self.sum(|state| usize::from(state.running))
    }

    /// How many probe connections are open or being opened.
    pub fn probing(&self) -> usize {
        self.sum(|state| usize::from(state.probing))
    }

    /// The monitor of `host` for `parameters`, made on first use and again after its disposal.
    pub(super) fn monitor(
        &self,
        host: &HostInfo,
        parameters: Parameters,
        env: &Environment,
    ) -> Arc<HostMonitor> {
        let mut hosts = lock(&self.hosts);
        let monitors = hosts.entry(host.key.clone()).or_default();
        monitors.retain(|monitor| !monitor.is_retired());
        if let Some(monitor) = monitors.iter().find(|monitor| monitor.parameters == parameters) {
            return Arc::clone(monitor);
        }
        let monitor = Arc::new(HostMonitor::new(host.clone(), parameters, env.clone()));
        monitors.push(Arc::clone(&monitor));
        monitor
    }

    /// Takes out what was retired.
    pub(super) fn sweep(&self, host: &HostKey) {
        let mut hosts = lock(&self.hosts);
        if let Some(monitors) = hosts.get_mut(host) {
            monitors.retain(|monitor| !monitor.is_retired());
            if monitors.is_empty() {
                hosts.remove(host);
            }
        }
    }

    fn sum(&self, of: impl Fn(&State) -> usize) -> usize {
        lock(&self.hosts).values().flatten().map(|monitor| of(&monitor.state())).sum()
    }
}

/// The waits on one host, as sessions enter and leave them and the monitor's task reads them.
#[derive(Debug)]
pub(super) struct HostMonitor {
    pub(super) host: HostInfo,
    pub(super) parameters: Parameters,
    env: Environment,
    state: Mutex<State>,
    busy: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) waits: Waits,
    /// The task waits for `busy` and for nothing that comes before the disposal time.
    idle: bool,
    /// There is a task, or one is about to be started.
    running: bool,
    /// Disposed of: nothing may be entered any more.
    retired: bool,
    pub(super) probing: bool,
    /// The host was found silent and has not answered since.
    pub(super) down: bool,
}

impl HostMonitor {
    fn new(host: HostInfo, parameters: Parameters, env: Environment) -> Self {
        let state = State {
            waits: Waits::new(),
            idle: false,
            running: false,
            retired: false,
            probing: false,
            down: false,
        };
        Self { host, parameters, env, state: Mutex::new(state), busy: Notify::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A wait on `connection` begins: its slot, and whether the caller must start the monitor's task. `None` when the
    /// monitor was disposed of and another one must be asked for.
    pub(super) fn enter(&self, connection: &Arc<dyn DriverConnection>) -> Option<(usize, bool)> {
        let connection = Arc::clone(connection);
        let bytes = if self.parameters.restart_grace_on_bytes { connection.bytes_received() } else { 0 };
        let mut state = self.state();
        if state.retired {
            return None;
        }
        // Under the lock, so that the waits stand in the order of their beginnings.
        let now = self.env.now();
        let slot = state.waits.enter(connection, now, bytes);
        let start = !std::mem::replace(&mut state.running, true);
        let was_idle = std::mem::take(&mut state.idle);
        drop(state);
        if was_idle {
            self.busy.notify_one();
        }
        Some((slot, start))
    }

    /// The wait in `slot` has ended.
    pub(super) fn leave(&self, slot: usize) -> Option<Arc<dyn DriverConnection>> {
        self.state().waits.leave(slot)
    }

    /// Says that the task has nothing to wait for; false when a wait has begun meanwhile.
    pub(super) fn turn_idle(&self) -> bool {
        let mut state = self.state();
        state.idle = state.waits.is_clear();
        state.idle
    }

    /// Returns when a wait has begun since [`turn_idle`](Self::turn_idle).
    pub(super) async fn busy(&self) {
        self.busy.notified().await;
    }

    /// Disposes of the monitor; false when a wait is there.
    pub(super) fn retire(&self) -> bool {
        let mut state = self.state();
        if state.waits.len() > 0 {
            return false;
        }
        state.retired = true;
        true
    }

    fn is_retired(&self) -> bool {
        self.state().retired
    }
}

/// Stands for the task of a monitor: when it ends, however it ends, the next wait starts another one.
#[derive(Debug)]
pub(super) struct Running(pub(super) Arc<HostMonitor>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running = false;
        state.idle = false;
        state.probing = false;
    }
}

/// Nothing that runs under these locks leaves a value half changed, so that a panic elsewhere does no harm to it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
