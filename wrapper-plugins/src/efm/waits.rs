//! The waits on one connection, in the order in which they began.
//!
//! Answers come in the order of the calls, so that nearly always the first wait is the one that ends: to enter and to
//! leave costs a few instructions. What the monitor's task asks walks over the waits; it asks when one is overdue.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Names a wait; grows from wait to wait.
pub(super) type WaitId = u64;

/// The waits on one connection. A wait stays until it has left, also after its connection was closed; from then on
/// nobody looks at it again.
#[derive(Debug, Default)]
pub(super) struct Waits {
    queue: VecDeque<Wait>,
    next: WaitId,
}

#[derive(Debug)]
struct Wait {
    id: WaitId,
    since: Instant,
    /// Bytes received when `since` was set; kept only where they restart the grace.
    bytes: u64,
    /// Bytes received when a probe was last started; a wait that no probe has been started for has none.
    look: Option<u64>,
    /// Its connection was closed.
    condemned: bool,
}

impl Waits {
    /// Number of waits that have not left.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Enters a wait that begins `now`.
    #[inline]
    pub(super) fn enter(&mut self, now: Instant, bytes: u64) -> WaitId {
        let id = self.next;
        self.next += 1;
        self.queue.push_back(Wait { id, since: now, bytes, look: None, condemned: false });
        id
    }

    /// The wait has ended.
    #[inline]
    pub(super) fn leave(&mut self, id: WaitId) {
        if self.queue.front().is_some_and(|first| first.id == id) {
            self.queue.pop_front();
        } else {
            self.leave_out_of_turn(id);
        }
    }

    fn leave_out_of_turn(&mut self, id: WaitId) {
        if let Ok(at) = self.queue.binary_search_by_key(&id, |wait| wait.id) {
            self.queue.remove(at);
        }
    }

    /// When the oldest wait began that could still be closed.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.open().map(|wait| wait.since).min()
    }

    /// When the oldest wait began that no probe has been started for.
    pub(super) fn oldest_unprobed(&self) -> Option<Instant> {
        self.open().filter(|wait| wait.look.is_none()).map(|wait| wait.since).min()
    }

    /// Waits older than `grace` begin again when their connection has received bytes.
    pub(super) fn restart_on_bytes(&mut self, now: Instant, grace: Duration, received: u64) {
        for wait in self.overdue(now, grace).filter(|wait| wait.bytes != received) {
            (wait.since, wait.bytes, wait.look) = (now, received, None);
        }
    }

    /// A probe starts for the waits older than `grace`: notes what their connection has received. Unless `first`,
    /// waits that an earlier probe of the same series has looked at keep what was noted then.
    pub(super) fn probe_starts(&mut self, now: Instant, grace: Duration, first: bool, received: u64) {
        for wait in self.overdue(now, grace).filter(|wait| first || wait.look.is_none()) {
            wait.look = Some(received);
        }
    }

    /// Condemns the waits older than `grace`: true when there is one, and the connection is to be closed. A wait that
    /// has received bytes since it was looked at stays: its host has spoken to it.
    pub(super) fn condemn(&mut self, now: Instant, grace: Duration, received: u64) -> bool {
        let mut any = false;
        for wait in self.overdue(now, grace) {
            if wait.look.is_some_and(|look| look != received) {
                wait.look = Some(received);
            } else {
                wait.condemned = true;
                any = true;
            }
        }
        any
    }

    fn open(&self) -> impl Iterator<Item = &Wait> {
        self.queue.iter().filter(|wait| !wait.condemned)
    }

    fn overdue(&mut self, now: Instant, grace: Duration) -> impl Iterator<Item = &mut Wait> {
        self.queue
            .iter_mut()
            .filter(move |wait| !wait.condemned && now.saturating_duration_since(wait.since) >= grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    fn now() -> Instant {
        wrapper_core::env::Environment::builder().build().now()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_leave_in_any_order() {
        let start = now();
        let mut waits = Waits::default();
        let ids: Vec<WaitId> = (0..4).map(|n| waits.enter(start + GRACE * n, 0)).collect();
        assert_eq!(waits.oldest(), Some(start));
        waits.leave(ids[2]);
        waits.leave(ids[2]);
        assert_eq!((waits.len(), waits.oldest()), (3, Some(start)));
        waits.leave(ids[0]);
        assert_eq!(waits.oldest(), Some(start + GRACE));
        waits.leave(ids[3]);
        waits.leave(ids[1]);
        assert_eq!((waits.len(), waits.oldest()), (0, None));
        let later = waits.enter(start, 0);
        assert!(ids.iter().all(|id| *id != later));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_save_a_wait_and_silence_condemns_it_once() {
        let start = now();
        let mut waits = Waits::default();
        waits.enter(start, 0);
        waits.enter(start + GRACE, 0);
        let now = start + GRACE;
        waits.probe_starts(now, GRACE, true, 7);
        assert_eq!(waits.oldest_unprobed(), Some(start + GRACE));
        assert!(!waits.condemn(now, GRACE, 8), "the host has spoken");
        assert!(waits.condemn(now, GRACE, 8));
        assert!(!waits.condemn(now, GRACE, 8));
        assert_eq!((waits.len(), waits.oldest()), (2, Some(start + GRACE)));
        waits.restart_on_bytes(now + GRACE, GRACE, 9);
        assert_eq!(waits.oldest(), Some(now + GRACE));
    }
}
