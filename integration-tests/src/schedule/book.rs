//! What the clients of a run were told, and what went wrong.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wrapper_core::TransactionOutcome;

use super::invariant::{Invariant, Violation};

/// What the client knows of a unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was acknowledged.
    Acknowledged,
    /// It was said to be not applied.
    NotApplied,
    /// Nobody knows.
    Open,
}

impl Fate {
    pub(super) fn of(outcome: TransactionOutcome) -> Self {
        match outcome {
            TransactionOutcome::NotSent | TransactionOutcome::RolledBack => Self::NotApplied,
            TransactionOutcome::Committed => Self::Acknowledged,
            _ => Self::Open,
        }
    }
}

/// Writes that are applied together or not at all.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) statements: Vec<u64>,
    pub(super) fate: Fate,
}

#[derive(Debug, Default)]
pub(super) struct Pages {
    next: u64,
    pub(super) units: Vec<Unit>,
    /// Statements that were sent outside a transaction.
    pub(super) outside: Vec<u64>,
    /// Statements that were sent at the same time on one session, in their order.
    pub(super) bursts: Vec<Vec<u64>>,
    pub(super) violations: Vec<Violation>,
    /// By how much the clock was made to jump.
    pub(super) jumped: Duration,
    pub(super) calls: u64,
    pub(super) switches: u64,
}

/// Shared by the workers of a run.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Pages>);

impl Book {
    pub(super) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a statement.
    pub(super) fn number(&self) -> u64 {
        let mut pages = self.pages();
        pages.next += 1;
        pages.next
    }

    /// A number for a statement that is sent outside transactions.
    pub(super) fn number_outside(&self) -> u64 {
        let number = self.number();
        self.pages().outside.push(number);
        number
    }

    pub(super) fn unit(&self, statements: Vec<u64>, fate: Fate) {
        self.pages().units.push(Unit { statements, fate });
    }

    pub(super) fn broken(&self, invariant: Invariant, what: impl Into<String>) {
        self.pages().violations.push(Violation::new(invariant, what));
    }
}
