//! What one client saw: its acknowledged writes and its errors, on the demo's clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An attempt that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What kind of error it was.
    pub(crate) kind: String,
    /// What is known of the write.
    pub(crate) outcome: &'static str,
    /// The error as the application would log it.
    pub(crate) text: String,
    /// Whether the write may have been applied, so that repeating it blindly could double it.
    pub(crate) in_doubt: bool,
    /// Whether the write can be tried again at once, on the same client.
    pub(crate) ready: bool,
}

#[derive(Debug, Default)]
struct Seen {
    /// Number and time of each acknowledged write, in order.
    acknowledged: Vec<(i64, Duration)>,
    failures: BTreeMap<(String, &'static str), u64>,
    last_failure: Option<String>,
}

/// The record of one client.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    seen: Mutex<Seen>,
}

/// The longest time without an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// Whether a write ended it, not the end of the demo.
    pub(crate) closed: bool,
}

impl Gap {
    pub(crate) fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

impl Tally {
    /// An empty record; `start` is the zero of its clock.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, seen: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn acknowledge(&self, number: i64) {
        let now = self.now();
        self.seen().acknowledged.push((number, now));
    }

    pub(crate) fn fail(&self, failure: Failure) {
        let mut seen = self.seen();
        *seen.failures.entry((failure.kind, failure.outcome)).or_default() += 1;
        seen.last_failure = Some(failure.text);
    }

    /// The acknowledged numbers.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        self.seen().acknowledged.iter().map(|(number, _)| *number).collect()
    }

    /// The times of the acknowledged writes.
    pub(crate) fn times(&self) -> Vec<Duration> {
        self.seen().acknowledged.iter().map(|(_, at)| *at).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen().acknowledged.len()
    }

    /// The last acknowledged write.
    pub(crate) fn last(&self) -> Option<Duration> {
        self.seen().acknowledged.last().map(|(_, at)| *at)
    }

    /// The first acknowledged write at or after `at`.
    pub(crate) fn first_after(&self, at: Duration) -> Option<Duration> {
        self.times().into_iter().find(|time| *time >= at)
    }

    /// How often each kind of error was seen, with what was known of the write.
    pub(crate) fn failures(&self) -> BTreeMap<(String, &'static str), u64> {
        self.seen().failures.clone()
    }

    pub(crate) fn last_failure(&self) -> Option<String> {
        self.seen().last_failure.clone()
    }

    /// The longest time without a write up to `end`.
    pub(crate) fn longest_gap(&self, end: Duration) -> Option<Gap> {
        let times = self.times();
        let last = Gap { from: *times.last()?, to: end, closed: false };
        let inner = times.windows(2).map(|pair| Gap { from: pair[0], to: pair[1], closed: true });
        inner.chain([last]).max_by_key(|gap| gap.length())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_may_be_the_one_before_the_end() {
        let tally = Tally::new(Instant::now());
        assert_eq!(tally.longest_gap(Duration::from_secs(9)), None);
        let ms = Duration::from_millis;
        tally.seen().acknowledged = vec![(1, ms(10)), (2, ms(20)), (3, ms(500)), (4, ms(510))];
        let gap = tally.longest_gap(ms(520));
        assert_eq!(gap, Some(Gap { from: ms(20), to: ms(500), closed: true }));
        let gap = tally.longest_gap(ms(2000));
        assert_eq!(gap, Some(Gap { from: ms(510), to: ms(2000), closed: false }));
        assert_eq!(tally.first_after(ms(21)), Some(ms(500)));
    }
}
