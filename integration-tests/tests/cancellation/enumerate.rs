//! Drops an operation between any two messages of the protocol, and lets the session be looked at after each drop.
//!
//! What may not live here: anything that knows a driver. The programs for PostgreSQL and for MySQL share this file.

use std::fmt::Display;
use std::ops::Add;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use integration_tests::gate::{MessageGate, Sender};

/// How often an operation is dropped at one boundary.
pub(crate) const TIMES: usize = 20;

/// No wait here is longer.
const LIMIT: Duration = Duration::from_secs(20);

/// No operation has more messages than this on one side.
const MOST: usize = 80;

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not end within {LIMIT:?}"),
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Operations, sides and numbers of messages at which it was dropped.
    pub(crate) boundaries: usize,
    /// Drops at them.
    pub(crate) drops: usize,
    /// Connections that were given up.
    pub(crate) discarded: usize,
}

impl Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            boundaries: self.boundaries + other.boundaries,
            drops: self.drops + other.drops,
            discarded: self.discarded + other.discarded,
        }
    }
}

/// One session behind a gate of its own.
pub(crate) trait Session {
    /// Runs on the session; what it writes, it writes as two rows of the id, both or none.
    type Operation: Copy;
    type Error: Display;

    fn gate(&self) -> &MessageGate;

    /// An id that no operation had before.
    fn next_id(&mut self) -> i64;

    /// The operation, and the gate that leaves it where it is.
    fn run(&mut self, operation: Self::Operation, id: i64) -> Running<'_, Self::Error>;

    /// Uses the session as its next user does; says whether it is still usable.
    async fn check(&mut self, id: i64) -> Result<bool, String>;

    /// Opens the session anew.
    async fn reopen(&mut self);

    /// Opens another session, and drops it.
    async fn connect(&self);

    /// Enumerates each operation; none may leave anything behind.
    async fn go_through(&mut self, operations: &[(&str, Self::Operation)]) -> Tally {
        let mut all = Tally::default();
        for (name, operation) in operations {
            let found = self.enumerate(*operation, TIMES).await;
            let found = found.unwrap_or_else(|poisoned| panic!("{name}, {poisoned}"));
            assert!(found.boundaries >= 2, "{name}: {found:?}");
            all = all + found;
        }
        all
    }

    /// Drops the operation after each number of messages of either side, `times` times each.
    async fn enumerate(&mut self, operation: Self::Operation, times: usize) -> Result<Tally, String> {
        let mut tally = Tally::default();
        for sender in [Sender::Server, Sender::Client] {
            for messages in 0..=MOST {
                let mut dropped = 0;
                for time in 0..times {
                    let id = self.next_id();
                    self.gate().hold_after(sender, messages);
                    let ended = {
                        let Running { gate, future } = self.run(operation, id);
                        let at_gate = async {
                            gate.held().await;
                            // Every other time, what had passed before is looked at first.
                            if time % 2 == 1 {
                                tokio::time::sleep(Duration::from_micros(300)).await;
                            }
                        };
                        tokio::select! {
                            biased;
                            () = at_gate => None,
                            ended = future => Some(ended),
                        }
                    };
                    self.gate().open();
                    dropped += usize::from(ended.is_none());
                    let place = format!("{sender:?} held after {messages} messages, time {time}");
                    if let Some(Err(error)) = ended {
                        return Err(format!("{place}: failed though nothing was wrong: {error}"));
                    }
                    let usable = within("the check", self.check(id)).await;
                    if !usable.map_err(|what| format!("{place}: {what}"))? {
                        tally.discarded += 1;
                        within("the next connect", self.reopen()).await;
                    }
                }
                tally.drops += dropped;
                if dropped == 0 {
                    break;
                }
                tally.boundaries += 1;
                if messages == MOST {
                    return Err(format!("more than {MOST} messages"));
                }
            }
        }
        Ok(tally)
    }

    /// Drops a connect after each number of messages of either side; gives the number of boundaries.
    async fn enumerate_connects(&self) -> usize {
        let mut boundaries = 0;
        for sender in [Sender::Server, Sender::Client] {
            for messages in 0..=MOST {
                let mut dropped = 0;
                for _ in 0..TIMES {
                    self.gate().hold_after(sender, messages);
                    dropped += tokio::select! {
                        biased;
                        () = self.gate().held() => 1,
                        () = self.connect() => 0,
                    };
                    self.gate().open();
                }
                if dropped == 0 {
                    break;
                }
                boundaries += 1;
            }
        }
        boundaries
    }
}

/// An operation under way.
pub(crate) struct Running<'a, E> {
    pub(crate) gate: &'a MessageGate,
    pub(crate) future: LocalBoxFuture<'a, Result<(), E>>,
}
