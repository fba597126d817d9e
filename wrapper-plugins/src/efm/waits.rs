//! The waits that are watched on one host, oldest first: O(1) to enter, to leave, and to find the oldest.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;
use wrapper_core::driver::DriverConnection;

/// Marks the end of the list.
const END: usize = usize::MAX;

/// Waits in the order in which they began. A slot is taken until the wait has left, also after its connection was
/// closed; from then on it is out of the list and nobody looks at it again.
#[derive(Debug)]
pub(super) struct Waits {
    slots: Slab<Wait>,
    oldest: usize,
    newest: usize,
}

#[derive(Debug)]
struct Wait {
    connection: Arc<dyn DriverConnection>,
    since: Instant,
    /// Bytes received when `since` was set; kept only where they restart the grace.
    bytes: u64,
    /// Bytes received when a probe was last started; a wait that no probe has been started for has none.
    look: Option<u64>,
    listed: bool,
    older: usize,
    newer: usize,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { slots: Slab::new(), oldest: END, newest: END }
    }

    /// Number of waits that have not left.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no wait that could still be closed.
    pub(super) fn is_clear(&self) -> bool {
        self.oldest == END
    }

    /// Enters a wait that begins `now`, which is not before any other wait's beginning.
    pub(super) fn enter(&mut self, connection: Arc<dyn DriverConnection>, now: Instant, bytes: u64) -> usize {
        let wait = Wait { connection, since: now, bytes, look: None, listed: false, older: END, newer: END };
        let slot = self.slots.insert(wait);
        self.link(slot);
        slot
    }

    /// The wait in `slot` has ended; its connection is to be dropped outside the lock.
    pub(super) fn leave(&mut self, slot: usize) -> Option<Arc<dyn DriverConnection>> {
        self.unlink(slot);
        self.slots.try_remove(slot).map(|wait| wait.connection)
    }

    /// When the oldest wait began.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.get(self.oldest).map(|wait| wait.since)
    }

    /// When the oldest wait began that no probe has been started for.
    pub(super) fn oldest_unprobed(&self) -> Option<Instant> {
        self.listed().map(|slot| &self.slots[slot]).find(|wait| wait.look.is_none()).map(|wait| wait.since)
    }

    /// Waits older than `grace` that have received bytes begin again.
    pub(super) fn restart_on_bytes(&mut self, now: Instant, grace: Duration) {
        for slot in self.overdue(now, grace) {
            let wait = &mut self.slots[slot];
            let bytes = wait.connection.bytes_received();
            if bytes != wait.bytes {
                (wait.since, wait.bytes, wait.look) = (now, bytes, None);
                self.unlink(slot);
                self.link(slot);
            }
        }
    }

    /// A probe starts for the waits older than `grace`: notes what they have received. Unless `first`, waits that
    /// an earlier probe of the same series has looked at keep what was noted then.
    pub(super) fn probe_starts(&mut self, now: Instant, grace: Duration, first: bool) {
        for slot in self.overdue(now, grace) {
            let wait = &mut self.slots[slot];
            if first || wait.look.is_none() {
                wait.look = Some(wait.connection.bytes_received());
            }
        }
    }

    /// Takes the waits older than `grace` out of the list and returns their connections, each once. A wait that has
    /// received bytes since it was looked at stays: its host has spoken to it.
    pub(super) fn condemn(&mut self, now: Instant, grace: Duration) -> Vec<Arc<dyn DriverConnection>> {
        let mut condemned: Vec<Arc<dyn DriverConnection>> = Vec::new();
        for slot in self.overdue(now, grace) {
            let wait = &mut self.slots[slot];
            let bytes = wait.connection.bytes_received();
            if wait.look.is_some_and(|look| look != bytes) {
                wait.look = Some(bytes);
                continue;
            }
            condemned.push(Arc::clone(&wait.connection));
            self.unlink(slot);
        }
        condemned.sort_by_key(address);
        condemned.dedup_by_key(|connection| address(connection));
        condemned
    }

    fn overdue(&self, now: Instant, grace: Duration) -> Vec<usize> {
        self.listed().take_while(|slot| now.duration_since(self.slots[*slot].since) >= grace).collect()
    }

    fn listed(&self) -> impl Iterator<Item = usize> + '_ {
        let first = Some(self.oldest).filter(|slot| *slot != END);
        std::iter::successors(first, |slot| Some(self.slots[*slot].newer).filter(|slot| *slot != END))
    }

    fn link(&mut self, slot: usize) {
        let older = self.newest;
        let wait = &mut self.slots[slot];
        (wait.listed, wait.older, wait.newer) = (true, older, END);
        match self.slots.get_mut(older) {
            Some(older) => older.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }

    fn unlink(&mut self, slot: usize) {
        let Some(wait) = self.slots.get_mut(slot).filter(|wait| wait.listed) else { return };
        wait.listed = false;
        let (older, newer) = (wait.older, wait.newer);
        match self.slots.get_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
    }
}

/// Tells connections apart: two handles of one connection have one address.
fn address(connection: &Arc<dyn DriverConnection>) -> usize {
    Arc::as_ptr(connection).cast::<()>() as usize
}
