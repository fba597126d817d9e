//! What the tap has learnt of a connection, readable from any thread.
//!
//! What lives here: [`Probe`] and the [`Mark`] a call takes of it before it sends. What may not: parsing.
//!
//! Requests are numbered from 1 in the order in which they were written. A request is everything up to the message
//! that the server answers with ReadyForQuery.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use wrapper_core::TransactionOutcome;
use wrapper_core::driver::TransactionStatus;

use super::scanner::Effect;

/// A parameter of the session that the server reports by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Its name, as the server writes it.
    pub(crate) name: String,
    /// Its value when the session began.
    pub(crate) first: String,
    /// Its value now, which a transaction that is still open may undo.
    now: String,
    /// Its value when no transaction was open.
    pub(crate) settled: String,
}

/// What has been seen on the wire. One task writes, any thread reads.
#[derive(Default)]
pub(crate) struct Probe {
    status: AtomicU8,
    encrypted: AtomicBool,
    copying_in: AtomicBool,
    begun: AtomicU64,
    answered: AtomicU64,
    opener: AtomicU64,
    ender: AtomicU64,
    announced: AtomicU64,
    openers: AtomicU64,
    commits: AtomicU64,
    /// Upper half: number of transactions that ended. Lower half: how the last 32 did, newest in bit 0, 1 = commit.
    ends: AtomicU64,
    parameters: Mutex<Vec<Parameter>>,
}

/// Where a connection stood before a call sent anything; what became of the call is told by the difference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    begun: u64,
    answered: u64,
    commits: u64,
    status: TransactionStatus,
}

impl Probe {
    /// Where the transaction stands, counting a begin that was written or announced and not answered yet.
    pub(crate) fn status(&self) -> TransactionStatus {
        // Answers first: a begin that is answered between the loads then shows in the status byte.
        let answered = self.answered.load(Ordering::Acquire);
        match self.status.load(Ordering::Acquire) {
            b'T' => TransactionStatus::Open,
            b'E' => TransactionStatus::Failed,
            b'I' if self.opener.load(Ordering::Acquire) > answered => TransactionStatus::Open,
            b'I' if self.announced.load(Ordering::Acquire) > self.openers.load(Ordering::Acquire) => {
                TransactionStatus::Open
            }
            b'I' => TransactionStatus::Idle,
            _ => TransactionStatus::Unknown,
        }
    }

    /// To be called in the poll that queues `sql` to the driver: until it is written, nothing else knows of it.
    pub(crate) fn announce(&self, sql: &str) {
        if Effect::of(sql).opens() {
            // Begins that were written without being announced must not make up for this one.
            let openers = self.openers.load(Ordering::Acquire);
            let _ = self.announced.fetch_update(Ordering::AcqRel, Ordering::Acquire, |announced| {
                Some(announced.max(openers) + 1)
            });
        }
    }

    /// Number of requests that were written and not answered yet.
    pub(crate) fn outstanding(&self) -> u64 {
        let answered = self.answered.load(Ordering::Acquire);
        self.begun.load(Ordering::Acquire).saturating_sub(answered)
    }

    /// A mark of now; to be taken in the poll that sends, before it sends.
    pub(crate) fn mark(&self) -> Mark {
        let status = self.status();
        Mark {
            begun: self.begun.load(Ordering::Acquire),
            answered: self.answered.load(Ordering::Acquire),
            commits: self.commits.load(Ordering::Acquire),
            status,
        }
    }

    /// Whether a request was written since `mark`; if not, the call that took it has sent nothing.
    pub(crate) fn wrote_since(&self, mark: &Mark) -> bool {
        self.begun.load(Ordering::Acquire) != mark.begun
    }

    /// Whether the server has confirmed a commit since `mark`.
    pub(crate) fn committed_since(&self, mark: &Mark) -> bool {
        self.commits.load(Ordering::Acquire) != mark.commits
    }

    /// What became of a call whose connection was lost before its answer came.
    ///
    /// Meant to be asked after the connection has ended, when nothing more can be written.
    pub(crate) fn outcome_of_loss(&self, mark: &Mark) -> TransactionOutcome {
        let in_transaction = matches!(mark.status, TransactionStatus::Open | TransactionStatus::Failed);
        let wrote = self.wrote_since(mark);
        // A request that may end the transaction was on its way when the call was made, or came later.
        if (in_transaction || wrote) && self.ender.load(Ordering::Acquire) > mark.answered {
            return TransactionOutcome::MayHaveApplied;
        }
        match (in_transaction, wrote) {
            // Whether or not the call itself was sent: the outcome is the transaction's.
            (true, _) => TransactionOutcome::RolledBack,
            (false, true) => TransactionOutcome::MayHaveApplied,
            (false, false) => TransactionOutcome::NotSent,
        }
    }

    /// Notes that TLS is in place.
    pub(crate) fn set_encrypted(&self) {
        self.encrypted.store(true, Ordering::Release);
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted.load(Ordering::Acquire)
    }

    pub(super) fn set_copying_in(&self, on: bool) {
        self.copying_in.store(on, Ordering::Release);
    }

    /// Whether the server waits for the data of a COPY that the client has not ended.
    pub(crate) fn is_copying_in(&self) -> bool {
        self.copying_in.load(Ordering::Acquire)
    }

    /// How many transactions have ended so far.
    pub(crate) fn ends(&self) -> u32 {
        (self.ends.load(Ordering::Acquire) >> 32) as u32
    }

    /// Whether the transaction that was open when [`Probe::ends`] gave `since` was committed; `None` when it is
    /// still open, or too long ago.
    pub(crate) fn committed_after(&self, since: u32) -> Option<bool> {
        let log = self.ends.load(Ordering::Acquire);
        let later = ((log >> 32) as u32).wrapping_sub(since);
        (1..=32).contains(&later).then(|| (log >> (later - 1)) & 1 == 1)
    }

    /// What a reported parameter was when the session began.
    pub(crate) fn first_value(&self, name: &str) -> Option<String> {
        let parameters = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        parameters.iter().find(|parameter| parameter.name == name).map(|parameter| parameter.first.clone())
    }

    /// The reported parameters.
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn on_request(&self) -> u64 {
        // Only the connection's task writes: a plain store is enough, and cheaper.
        let number = self.begun.load(Ordering::Relaxed) + 1;
        self.begun.store(number, Ordering::Release);
        number
    }

    pub(super) fn on_effect(&self, request: u64, effect: Effect) {
        if effect.opens() {
            self.opener.store(request, Ordering::Release);
            self.openers.fetch_add(1, Ordering::AcqRel);
        }
        if effect.ends() {
            self.ender.store(request, Ordering::Release);
        }
    }

    /// An error fails the transaction that is open; the status that follows says so, or that it has ended.
    pub(super) fn on_error(&self) {
        let _ = self.status.compare_exchange(b'T', b'E', Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn on_ready(&self, status: u8) {
        self.status.store(status, Ordering::Release);
    }

    pub(super) fn on_answered(&self) {
        self.answered.store(self.answered.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    pub(super) fn on_end(&self, committed: bool) {
        if committed {
            self.commits.fetch_add(1, Ordering::AcqRel);
        }
        let log = self.ends.load(Ordering::Acquire);
        let count = ((log >> 32) as u32).wrapping_add(1);
        let history = ((log as u32) << 1) | u32::from(committed);
        self.ends.store(u64::from(count) << 32 | u64::from(history), Ordering::Release);
    }

    pub(super) fn on_parameter(&self, name: String, value: String) {
        let mut parameters = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        match parameters.iter_mut().find(|parameter| parameter.name == name) {
            Some(parameter) => parameter.now = value,
            None => {
                parameters.push(Parameter { name, first: value.clone(), now: value.clone(), settled: value });
            }
        }
    }

    pub(super) fn settle_parameters(&self) {
        for parameter in self.parameters.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if parameter.settled != parameter.now {
                parameter.settled.clone_from(&parameter.now);
            }
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("status", &self.status())
            .field("begun", &self.begun.load(Ordering::Relaxed))
            .field("answered", &self.answered.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
