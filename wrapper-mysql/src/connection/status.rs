//! Where the transaction stands: the server's status flags, and what is in flight.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use mysql_async::Conn;
use mysql_async::consts::StatusFlags;
use wrapper_core::TransactionOutcome;
use wrapper_core::driver::TransactionStatus;

use crate::sql::Effect;

const OPEN: u8 = 1;
const NO_AUTOCOMMIT: u8 = 1 << 1;
/// The last answer was an error, which carries no flags, and nobody has asked since.
const STALE: u8 = 1 << 2;

const IN_FLIGHT: u8 = 1;
const BEGINS: u8 = 1 << 1;
const COMMITS: u8 = 1 << 2;
const INERT: u8 = 1 << 3;

/// Flags of the last answer, effects of the call in flight.
#[derive(Default)]
pub(crate) struct Status {
    flags: AtomicU8,
    in_flight: AtomicU8,
}

impl Status {
    /// Takes the flags of the driver's last answer in; says whether there were any.
    pub(crate) fn read(&self, conn: &Conn) -> bool {
        let Some(flags) = conn.last_ok_packet().map(|ok| ok.status_flags()) else { return false };
        let mut now = 0;
        if flags.contains(StatusFlags::SERVER_STATUS_IN_TRANS) {
            now |= OPEN;
        }
        if !flags.contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT) {
            now |= NO_AUTOCOMMIT;
        }
        self.flags.store(now, Ordering::Release);
        true
    }

    /// The last answer carried no flags.
    pub(crate) fn set_stale(&self) {
        self.flags.fetch_or(STALE, Ordering::AcqRel);
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.has(STALE)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    pub(crate) fn autocommits(&self) -> bool {
        !self.has(NO_AUTOCOMMIT)
    }

    /// Whether a transaction was open when the last answer came.
    pub(crate) fn was_open(&self) -> bool {
        self.has(OPEN)
    }

    pub(crate) fn begin(&self, effect: Effect) {
        let mut bits = IN_FLIGHT;
        if effect.begins || (!effect.inert && !self.autocommits()) {
            bits |= BEGINS;
        }
        if effect.commits {
            bits |= COMMITS;
        }
        if effect.inert {
            bits |= INERT;
        }
        self.in_flight.store(bits, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.in_flight.store(0, Ordering::Release);
    }

    /// Whether an error as the answer to the call in flight may have changed the status.
    pub(crate) fn may_have_changed(&self) -> bool {
        self.was_open() || self.is_stale() || self.in_flight.load(Ordering::Acquire) & BEGINS != 0
    }

    pub(crate) fn now(&self) -> TransactionStatus {
        if self.in_flight.load(Ordering::Acquire) & BEGINS != 0 || self.has(OPEN) {
            TransactionStatus::Open
        } else if self.has(STALE) {
            TransactionStatus::Unknown
        } else {
            TransactionStatus::Idle
        }
    }

    /// What becomes of the work when the connection is lost now.
    pub(crate) fn outcome_if_lost(&self) -> TransactionOutcome {
        let call = self.in_flight.load(Ordering::Acquire);
        let (commits, inert) = (call & COMMITS != 0, call & (INERT | IN_FLIGHT) != IN_FLIGHT);
        match (self.was_open(), self.is_stale()) {
            (true, _) if commits => TransactionOutcome::MayHaveApplied,
            (true, _) => TransactionOutcome::RolledBack,
            (false, _) if call == 0 => TransactionOutcome::NotSent,
            (false, true) if commits => TransactionOutcome::MayHaveApplied,
            (false, _) if inert => TransactionOutcome::RolledBack,
            // Without autocommit nothing stays that was not committed.
            (false, _) if !commits && !self.autocommits() => TransactionOutcome::RolledBack,
            (false, _) => TransactionOutcome::MayHaveApplied,
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("transaction", &self.now())
            .field("autocommit", &self.autocommits())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TransactionOutcome::{MayHaveApplied, NotSent, RolledBack};

    fn lost(flags: u8, sql: &str) -> TransactionOutcome {
        let status = Status::default();
        status.flags.store(flags, Ordering::Release);
        status.begin(Effect::of(Some(sql)));
        status.outcome_if_lost()
    }

    #[test]
    fn what_is_lost_with_the_connection() {
        for (flags, sql, outcome) in [
            (0, "INSERT INTO t VALUES (1)", MayHaveApplied),
            (0, "BEGIN", RolledBack),
            (OPEN, "INSERT INTO t VALUES (1)", RolledBack),
            (OPEN, "COMMIT", MayHaveApplied),
            (OPEN, "CREATE TABLE u (a int)", MayHaveApplied),
            (OPEN, "ROLLBACK", RolledBack),
            (NO_AUTOCOMMIT, "INSERT INTO t VALUES (1)", RolledBack),
            (NO_AUTOCOMMIT, "SET autocommit = 1", MayHaveApplied),
            (STALE, "COMMIT", MayHaveApplied),
        ] {
            assert_eq!(lost(flags, sql), outcome, "{flags} {sql}");
        }
        let status = Status::default();
        assert_eq!(status.outcome_if_lost(), NotSent);
        status.flags.store(OPEN, Ordering::Release);
        assert_eq!(status.outcome_if_lost(), RolledBack);
    }

    #[test]
    fn a_request_that_may_begin_a_transaction_counts_as_one() {
        let status = Status::default();
        status.begin(Effect::of(Some("BEGIN")));
        assert_eq!(status.now(), TransactionStatus::Open);
        status.end();
        assert_eq!(status.now(), TransactionStatus::Idle);
        status.set_stale();
        assert_eq!(status.now(), TransactionStatus::Unknown);
    }
}
