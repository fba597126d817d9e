//! Many seeds on all cores.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::planted::Planted;
use super::world::{Played, run};

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// How many were played.
    pub played: u64,
    /// Calls in all of them.
    pub calls: u64,
    /// Switches in all of them.
    pub switches: u64,
    /// The runs that broke a promise, by seed; with a planted bug the first one that broke the bug's promise.
    pub failed: Vec<Played>,
}

/// Plays `count` seeds from `first` on, on `threads` threads. Without a planted bug it goes on after a failure, up to
/// ten of them; with one it stops when the bug's promise was seen broken.
pub fn campaign(first: u64, count: u64, threads: usize, planted: Option<Planted>) -> Campaign {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let played = run(first + index, planted);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.played += 1;
                    total.calls += played.calls;
                    total.switches += played.switches;
                    let counts = match planted {
                        Some(bug) => {
                            played.violations.iter().any(|violation| violation.invariant == bug.breaks())
                        }
                        None => !played.violations.is_empty(),
                    };
                    if counts {
                        total.failed.push(played);
                        let most = if planted.is_some() { 1 } else { 10 };
                        if total.failed.len() >= most {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.failed.sort_by_key(|played| played.seed);
    total
}
