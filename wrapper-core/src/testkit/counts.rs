//! How many sockets lead to each host, and for what.

use std::sync::Arc;

use super::state::Shared;
use crate::driver::ConnectPurpose;

/// Sockets of one purpose: open now, most at once, opened ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Open now, connects under way included.
    pub open: usize,
    /// The most that were open at once.
    pub most: usize,
    /// Opened since the beginning.
    pub total: u64,
}

impl Tally {
    fn add(&mut self) {
        self.open += 1;
        self.most = self.most.max(self.open);
        self.total += 1;
    }
}

/// Sockets as the client holds them: from the dialling to the kill or the drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Of sessions.
    pub sessions: Tally,
    /// Of monitors.
    pub monitors: Tally,
}

impl Counts {
    fn of(&mut self, purpose: ConnectPurpose) -> &mut Tally {
        match purpose {
            ConnectPurpose::Monitor => &mut self.monitors,
            ConnectPurpose::Session => &mut self.sessions,
        }
    }
}

/// The counts of the cluster and of each host.
#[derive(Debug)]
pub(super) struct Ledgers {
    pub(super) all: Counts,
    pub(super) hosts: Vec<Counts>,
}

impl Ledgers {
    pub(super) fn new(hosts: usize) -> Self {
        Self { all: Counts::default(), hosts: vec![Counts::default(); hosts] }
    }
}

/// One socket; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    shared: Arc<Shared>,
    host: usize,
    purpose: ConnectPurpose,
}

impl Socket {
    pub(super) fn open(shared: &Arc<Shared>, host: usize, purpose: ConnectPurpose) -> Self {
        {
            let counts = &mut shared.lock().counts;
            counts.all.of(purpose).add();
            counts.hosts[host].of(purpose).add();
        }
        Self { shared: Arc::clone(shared), host, purpose }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let counts = &mut self.shared.lock().counts;
        counts.all.of(self.purpose).open -= 1;
        counts.hosts[self.host].of(self.purpose).open -= 1;
    }
}
