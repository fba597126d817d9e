//! One row every 10 ms, by the library's client or by the bare driver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::support::engine::{Client, Endpoint, Writes};

/// The pause between two writes.
pub(crate) const EVERY: Duration = Duration::from_millis(10);
/// The pause before the bare driver connects again.
const BARE_RETRY: Duration = Duration::from_millis(50);

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) id: i64,
    pub(crate) at: Instant,
    /// Counts the client's connections, from 1.
    pub(crate) generation: u64,
}

/// What a load has seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    acks: Vec<Ack>,
    failures: Vec<String>,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ack(&self, id: i64, generation: u64) {
        self.lock().acks.push(Ack { id, at: Instant::now(), generation });
    }

    fn fail(&self, what: String) {
        self.lock().failures.push(what);
    }

    /// The acknowledged writes.
    pub(crate) fn acks(&self) -> Vec<Ack> {
        self.lock().acks.clone()
    }

    /// The first write that was acknowledged on another connection than the first.
    pub(crate) fn first_after(&self) -> Option<Ack> {
        self.lock().acks.iter().find(|ack| ack.generation > 1).copied()
    }

    /// What the client's calls failed with, in order.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.lock().failures.clone()
    }
}

/// Writes by the library's client until the future is dropped. A failed call is not repeated; the next row is
/// written at its own time.
pub(crate) async fn wrapped(mut client: impl Client, seen: Seen) {
    let mut ticks = ticks();
    for id in 1_i64.. {
        ticks.tick().await;
        match client.insert(id).await {
            Ok(()) => seen.ack(id, client.generation()),
            Err(error) => seen.fail(error),
        }
    }
}

/// Writes by the bare driver until the future is dropped; any error makes it connect again.
pub(crate) async fn bare(endpoint: impl Endpoint, seen: Seen) {
    let mut ticks = ticks();
    let (mut id, mut generation) = (0, 0);
    loop {
        if let Some(mut client) = endpoint.connect().await {
            generation += 1;
            loop {
                ticks.tick().await;
                id += 1;
                match client.insert(id).await {
                    Ok(()) => seen.ack(id, generation),
                    Err(error) => {
                        seen.fail(error);
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(BARE_RETRY).await;
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
