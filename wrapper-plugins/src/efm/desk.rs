//! Where the waits of one session are entered: by its calls, under one lock that hardly anybody else ever takes.
//!
//! What lives here: [`Desk`]. What may not: what follows from a wait (the monitor's task).

use std::sync::{Arc, Mutex, Weak};

use slab::Slab;
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Environment;
use wrapper_core::plugin::WatchToken;

use super::host::{HostMonitor, lock};
use super::waits::{WaitId, Waits};

/// The waits of one session. Its calls write here, the monitors of its hosts look when a wait may be overdue: a call
/// touches nothing that other sessions touch.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<Places>);

/// A place for each connection that the session uses: one, and a second one around a switch.
#[derive(Debug, Default)]
struct Places {
    list: Slab<Place>,
    /// The one that was used last.
    last: usize,
}

/// The waits on one connection.
#[derive(Debug)]
pub(super) struct Place {
    /// Weak: a connection closes when its session lets go of it. A wait's call holds it.
    pub(super) connection: Weak<dyn DriverConnection>,
    monitor: Arc<HostMonitor>,
    pub(super) waits: Waits,
}

impl Place {
    fn is_of(&self, connection: &Arc<dyn DriverConnection>) -> bool {
        // The weak handle keeps the address from being used again.
        std::ptr::addr_eq(self.connection.as_ptr(), Arc::as_ptr(connection))
    }

    /// Bytes that the connection has received; 0 when it is gone, and its calls with it.
    pub(super) fn received(&self) -> u64 {
        self.connection.upgrade().map_or(0, |connection| connection.bytes_received())
    }
}

impl Places {
    fn of(&mut self, connection: &Arc<dyn DriverConnection>) -> Option<usize> {
        if !self.list.get(self.last).is_some_and(|place| place.is_of(connection)) {
            self.last = self.list.iter().find(|(_, place)| place.is_of(connection))?.0;
        }
        Some(self.last)
    }
}

/// A wait that was entered.
pub(super) struct Entered {
    pub(super) token: WatchToken,
    /// The monitor whose task the caller must start.
    pub(super) start: Option<Arc<HostMonitor>>,
}

impl Desk {
    /// A wait on `connection` begins. `None` when there is no place for it, or its monitor was disposed of: a place
    /// must be [`put`](Self::put) there.
    #[inline]
    pub(super) fn enter(&self, connection: &Arc<dyn DriverConnection>, env: &Environment) -> Option<Entered> {
        let mut places = lock(&self.0);
        let at = places.of(connection)?;
        let place = places.list.get_mut(at)?;
        if place.monitor.is_retired() {
            return None;
        }
        let restarts = place.monitor.parameters.restart_grace_on_bytes;
        let bytes = if restarts { connection.bytes_received() } else { 0 };
        let id = place.waits.enter(env.now(), bytes);
        // The wait is there: the task, which looks under this lock when it turns idle, has seen it or is woken now.
        let start = if place.monitor.needs_attention() { HostMonitor::attend(&place.monitor) } else { None };
        Some(Entered { token: token(at, id), start })
    }

    /// The wait that `token` stands for has ended.
    #[inline]
    pub(super) fn leave(&self, token: WatchToken) {
        let Some((at, id)) = parts(token) else { return };
        if let Some(place) = lock(&self.0).list.get_mut(at) {
            place.waits.leave(id);
        }
    }

    /// Puts a place for `connection`, watched by `monitor`, which must know this desk already.
    pub(super) fn put(&self, connection: &Arc<dyn DriverConnection>, monitor: Arc<HostMonitor>) {
        let mut places = lock(&self.0);
        if let Some(at) = places.of(connection) {
            // The monitor that stands there was disposed of: none of its waits is left.
            if let Some(place) = places.list.get_mut(at).filter(|place| place.waits.len() == 0) {
                place.monitor = monitor;
            }
            return;
        }
        places.list.retain(|_, place| place.waits.len() > 0 || place.connection.strong_count() > 0);
        let connection = Arc::downgrade(connection);
        places.last = places.list.insert(Place { connection, monitor, waits: Waits::default() });
    }

    /// Calls `look` with each place that `monitor` watches and that has a wait.
    pub(super) fn each(&self, monitor: &HostMonitor, mut look: impl FnMut(&mut Place)) {
        let mut places = lock(&self.0);
        for (_, place) in places.list.iter_mut() {
            if place.waits.len() > 0 && std::ptr::eq(Arc::as_ptr(&place.monitor), monitor) {
                look(place);
            }
        }
    }
}

/// Bits of a token that name the wait.
const ID: u32 = 48;

/// Place and wait in one number; never 0, which stands for a wait that could not be entered.
fn token(place: usize, id: WaitId) -> WatchToken {
    ((place as u64 + 1) << ID) | (id & ((1 << ID) - 1))
}

fn parts(token: WatchToken) -> Option<(usize, WaitId)> {
    let place = (token >> ID).checked_sub(1)?;
    Some((usize::try_from(place).ok()?, token & ((1 << ID) - 1)))
}
