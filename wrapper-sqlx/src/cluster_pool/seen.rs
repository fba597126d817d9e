//! What is known of a connection that is out of its pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use wrapper_core::TransactionOutcome;
use wrapper_core::driver::TransactionStatus;

/// Shared by the connection's handle and the place that holds it.
#[derive(Debug)]
pub(super) struct Seen {
    status: Mutex<TransactionStatus>,
    /// How many calls were handed to sqlx.
    sent: AtomicU64,
    /// How many answers, or parts of them, have come.
    received: AtomicU64,
    /// A call was handed to sqlx and has not ended in good order; it may have been dropped.
    unfinished: AtomicBool,
    /// That call may end the transaction.
    may_end: AtomicBool,
    /// It is not to be used again.
    given_up: AtomicBool,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            status: Mutex::new(TransactionStatus::Idle),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            unfinished: AtomicBool::new(false),
            may_end: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        }
    }

    pub(super) fn status(&self) -> TransactionStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_status(&self, status: TransactionStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// A call is handed to sqlx in this poll.
    pub(super) fn begin(&self, may_end: bool) {
        self.sent.fetch_add(1, Ordering::AcqRel);
        self.may_end.store(may_end, Ordering::Release);
        self.unfinished.store(true, Ordering::Release);
        if may_end && self.status() == TransactionStatus::Idle {
            self.set_status(TransactionStatus::Unknown);
        }
    }

    /// The call has ended, and the connection is ready for the next one.
    pub(super) fn end(&self) {
        self.unfinished.store(false, Ordering::Release);
        self.may_end.store(false, Ordering::Release);
    }

    /// Whether a call was dropped before its end, or has ended in disorder.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(super) fn note_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Marks the connection as one that must not go back to its pool; whether it was none before.
    pub(super) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Whether the next user of the connection would find nothing of this one's.
    pub(super) fn is_clean(&self) -> bool {
        !self.is_unfinished() && self.status() == TransactionStatus::Idle
    }

    /// What becomes of the open transaction when the connection is lost now.
    pub(super) fn outcome_if_lost(&self) -> TransactionOutcome {
        match self.status() {
            TransactionStatus::Idle => TransactionOutcome::NotSent,
            TransactionStatus::Open | TransactionStatus::Failed if !self.may_end.load(Ordering::Acquire) => {
                TransactionOutcome::RolledBack
            }
            _ => TransactionOutcome::MayHaveApplied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_lost_for_certain_unless_something_that_may_end_it_was_sent() {
        let seen = Seen::new();
        assert_eq!(seen.outcome_if_lost(), TransactionOutcome::NotSent);
        for status in [TransactionStatus::Open, TransactionStatus::Failed] {
            seen.set_status(status);
            assert_eq!(seen.outcome_if_lost(), TransactionOutcome::RolledBack);
            seen.begin(false);
            assert_eq!(seen.outcome_if_lost(), TransactionOutcome::RolledBack);
            seen.begin(true);
            assert_eq!(seen.outcome_if_lost(), TransactionOutcome::MayHaveApplied);
            seen.end();
            assert_eq!(seen.outcome_if_lost(), TransactionOutcome::RolledBack);
        }
        seen.set_status(TransactionStatus::Unknown);
        assert_eq!(seen.outcome_if_lost(), TransactionOutcome::MayHaveApplied);
    }

    #[test]
    fn a_connection_is_clean_only_between_calls_and_outside_transactions() {
        let seen = Seen::new();
        assert!(seen.is_clean());
        seen.begin(false);
        assert!(!seen.is_clean());
        seen.end();
        assert!(seen.is_clean());
        // A text that may have begun a transaction was sent, and its answer was not waited for.
        seen.begin(true);
        seen.end();
        assert!(!seen.is_clean());
        assert_eq!(seen.status(), TransactionStatus::Unknown);
    }
}
