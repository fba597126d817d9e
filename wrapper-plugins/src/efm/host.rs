//! What sessions and the monitor of a host share: the waits on the host, and the monitors of a cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use wrapper_core::cluster::ClusterCore;
use wrapper_core::driver::DriverConnection;
use wrapper_core::host::{HostInfo, HostKey};

use super::config::Parameters;
use super::desk::{Desk, Place};

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
        self.sum(HostMonitor::waiting)
    }

    /// How many monitor tasks are alive; each ends when its host has not been called for the disposal time.
    pub fn monitors(&self) -> usize {
        self.sum(|monitor| usize::from(monitor.is(STOPPED, false)))
    }

    /// How many probe connections are open or being opened.
    pub fn probing(&self) -> usize {
        self.sum(|monitor| usize::from(monitor.probing.load(Ordering::Acquire)))
    }

    /// The monitor of `host` for `parameters`, made on first use and again after its disposal. It knows `desk` from
    /// now on.
    pub(super) fn monitor(
        &self,
        host: &HostInfo,
        parameters: Parameters,
        desk: &Arc<Desk>,
    ) -> Arc<HostMonitor> {
        let mut hosts = lock(&self.hosts);
        let monitors = hosts.entry(host.key.clone()).or_default();
        monitors.retain(|monitor| !monitor.is_retired());
        let monitor = match monitors.iter().find(|monitor| monitor.parameters == parameters) {
            Some(monitor) => Arc::clone(monitor),
            None => {
                let monitor = Arc::new(HostMonitor::new(host.clone(), parameters));
                monitors.push(Arc::clone(&monitor));
                monitor
            }
        };
        monitor.know(desk);
        monitor
    }

    /// Disposes of `monitor`; false when a wait is there.
    pub(super) fn retire(&self, monitor: &HostMonitor) -> bool {
        // Under the lock that everybody takes who finds it retired: nobody sees it so when it stays after all.
        let _undecided = lock(&self.hosts);
        monitor.set(RETIRED, true);
        let unused = monitor.waiting() == 0;
        if !unused {
            monitor.set(RETIRED, false);
        }
        unused
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

    fn sum(&self, of: impl Fn(&HostMonitor) -> usize) -> usize {
        let monitors: Vec<Arc<HostMonitor>> = lock(&self.hosts).values().flatten().map(Arc::clone).collect();
        monitors.iter().map(|monitor| of(monitor)).sum()
    }
}

/// The task waits for `busy` and for nothing that comes before the disposal time.
const IDLE: u8 = 1;
/// There is no task, and none is about to be started.
const STOPPED: u8 = 1 << 1;
/// Disposed of: nothing may be entered any more.
const RETIRED: u8 = 1 << 2;

/// One host as sessions and the monitor's task see it. The waits themselves stand on the sessions' desks.
#[derive(Debug)]
pub(super) struct HostMonitor {
    pub(super) host: HostInfo,
    pub(super) parameters: Parameters,
    /// In one word, because every wait looks at it: 0 nearly always.
    flags: AtomicU8,
    pub(super) probing: AtomicBool,
    /// The host was found silent and has not answered since.
    pub(super) down: AtomicBool,
    desks: Mutex<Vec<Weak<Desk>>>,
    busy: Notify,
}

impl HostMonitor {
    fn new(host: HostInfo, parameters: Parameters) -> Self {
        Self {
            host,
            parameters,
            flags: AtomicU8::new(STOPPED),
            probing: AtomicBool::new(false),
            down: AtomicBool::new(false),
            desks: Mutex::default(),
            busy: Notify::new(),
        }
    }

    fn is(&self, flag: u8, on: bool) -> bool {
        (self.flags.load(Ordering::SeqCst) & flag != 0) == on
    }

    /// Sets a flag; gives what it was.
    fn set(&self, flag: u8, on: bool) -> bool {
        let before = if on {
            self.flags.fetch_or(flag, Ordering::SeqCst)
        } else {
            self.flags.fetch_and(!flag, Ordering::SeqCst)
        };
        before & flag != 0
    }

    #[inline]
    pub(super) fn is_retired(&self) -> bool {
        self.is(RETIRED, true)
    }

    /// Whether the task must be woken or started for a wait that was entered.
    #[inline]
    pub(super) fn needs_attention(&self) -> bool {
        self.flags.load(Ordering::SeqCst) != 0
    }

    /// Wakes the task; gives the monitor when the caller must start it.
    #[cold]
    pub(super) fn attend(monitor: &Arc<Self>) -> Option<Arc<Self>> {
        if monitor.set(IDLE, false) {
            monitor.busy.notify_one();
        }
        monitor.set(STOPPED, false).then(|| Arc::clone(monitor))
    }

    fn know(&self, desk: &Arc<Desk>) {
        let mut desks = lock(&self.desks);
        let known = |other: &Weak<Desk>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(desk));
        if !desks.iter().any(known) {
            desks.retain(|desk| desk.strong_count() > 0);
            desks.push(Arc::downgrade(desk));
        }
    }

    /// Calls `look` with each connection's waits.
    fn each(&self, mut look: impl FnMut(&mut Place)) {
        // Not under the lock: the last handle of a desk may be the one that is dropped here.
        let desks: Vec<Arc<Desk>> = lock(&self.desks).iter().filter_map(Weak::upgrade).collect();
        for desk in desks {
            desk.each(self, &mut look);
        }
    }

    /// Number of waits that have not left.
    fn waiting(&self) -> usize {
        let mut sum = 0;
        self.each(|place| sum += place.waits.len());
        sum
    }

    /// When the oldest wait began, and the oldest one that no probe was started for.
    pub(super) fn oldest(&self) -> (Option<Instant>, Option<Instant>) {
        let (mut oldest, mut unprobed) = (None, None);
        self.each(|place| {
            oldest = earlier(oldest, place.waits.oldest());
            unprobed = earlier(unprobed, place.waits.oldest_unprobed());
        });
        (oldest, unprobed)
    }

    /// Waits older than the grace that have received bytes begin again.
    pub(super) fn restart_on_bytes(&self, now: Instant) {
        self.each(|place| {
            let received = place.received();
            place.waits.restart_on_bytes(now, self.parameters.grace, received);
        });
    }

    /// A probe starts, which is the first one of a series or not.
    pub(super) fn probe_starts(&self, now: Instant, first: bool) {
        self.each(|place| {
            let received = place.received();
            place.waits.probe_starts(now, self.parameters.grace, first, received);
        });
    }

    /// The connections whose calls have waited longer than `grace`, each once.
    pub(super) fn condemn(&self, now: Instant, grace: Duration) -> Vec<Arc<dyn DriverConnection>> {
        let mut condemned = Vec::new();
        self.each(|place| {
            let Some(connection) = place.connection.upgrade() else { return };
            if place.waits.condemn(now, grace, connection.bytes_received()) {
                condemned.push(connection);
            }
        });
        condemned
    }

    /// Says that the task has nothing to wait for; false when there is a wait that could still be closed.
    pub(super) fn turn_idle(&self) -> bool {
        // First the flag, then the look: a wait that is entered behind the look sees the flag.
        self.set(IDLE, true);
        let clear = self.oldest().0.is_none();
        if !clear {
            self.set(IDLE, false);
        }
        clear
    }

    /// Returns when a wait has begun since [`turn_idle`](Self::turn_idle).
    pub(super) async fn busy(&self) {
        self.busy.notified().await;
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Stands for the task of a monitor: when it ends, however it ends, the next wait starts another one.
#[derive(Debug)]
pub(super) struct Running(pub(super) Arc<HostMonitor>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Release);
        self.0.set(IDLE, false);
        self.0.set(STOPPED, true);
    }
}

/// Nothing that runs under these locks leaves a value half changed, so that a panic elsewhere does no harm to it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
