//! What must hold after every seed.

use std::fmt;

/// A promise of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// No acknowledged write is lost, unless the cluster itself has lost it.
    NoLostWrite,
    /// No write reaches a host on a connection that was opened before the library published that the host was demoted.
    NoWriteToDemoted,
    /// The library never sends a statement twice.
    NeverTwice,
    /// Every call ends by its deadline, and a session works again once the cluster does.
    EndsInTime,
    /// What is reported as rolled back, or as not sent, is never found committed; a transaction is all or nothing.
    OutcomeIsTrue,
    /// One switch for each lost generation of a session, one search at a time for all of them.
    OneFailover,
    /// No task, connection or watched wait is left after the shutdown.
    NothingLeft,
    /// The monitors keep to their budget at every instant, and to one connection at rest.
    Budget,
    /// The session's settings are there on the connection after a switch.
    SettingsKept,
    /// A call that was cancelled leaves nothing for the next one: no open transaction, no stale answer.
    CleanAfterCancel,
    /// Calls that are made at the same time on one session are sent in the order in which they were made.
    InOrder,
    /// A stream gives its own rows, in order and all of them, or an error.
    WholeStreams,
    /// No host is called silent that was not.
    NoFalseVerdict,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// How it showed.
    pub what: String,
}

impl Violation {
    pub(super) fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}
