//! Host names of a test cluster, and how late their changes are seen.
//!
//! What lives here: the name table that a test cluster owns and every client under test asks, instead of an
//! `/etc/hosts` entry. What may not: any knowledge of servers or of the library under test.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A name table with a settable propagation lag, shared by a cluster and all its clients.
///
/// Instance names answer at once. A cluster endpoint that is pointed elsewhere keeps its old answer for
/// [`lag`](NameTable::set_lag), as the CNAME of an Aurora cluster endpoint does.
#[derive(Clone, Debug, Default)]
pub struct NameTable(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    lag: Duration,
    entries: BTreeMap<String, Entry>,
    lookups: u64,
}

#[derive(Debug)]
struct Entry {
    visible: IpAddr,
    pending: Vec<(Instant, IpAddr)>,
}

impl NameTable {
    /// An empty table without lag.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a later [`point`](Self::point) stays invisible.
    pub fn set_lag(&self, lag: Duration) {
        self.lock().lag = lag;
    }

    /// The present lag.
    pub fn lag(&self) -> Duration {
        self.lock().lag
    }

    /// Enters a name, visible at once.
    pub fn insert(&self, name: &str, address: IpAddr) {
        let entry = Entry { visible: address, pending: Vec::new() };
        self.lock().entries.insert(normal(name), entry);
    }

    /// Points an existing name elsewhere; clients see it after the lag.
    pub fn point(&self, name: &str, address: IpAddr) {
        let mut inner = self.lock();
        let due = Instant::now() + inner.lag;
        if let Some(entry) = inner.entries.get_mut(&normal(name)) {
            entry.pending.push((due, address));
        }
    }

    /// What a client sees now; `None` for an unknown name.
    pub fn lookup(&self, name: &str) -> Option<IpAddr> {
        let mut inner = self.lock();
        inner.lookups += 1;
        let now = Instant::now();
        let entry = inner.entries.get_mut(&normal(name))?;
        while entry.pending.first().is_some_and(|(due, _)| *due <= now) {
            entry.visible = entry.pending.remove(0).1;
        }
        Some(entry.visible)
    }

    /// Number of look-ups so far.
    pub fn lookups(&self) -> u64 {
        self.lock().lookups
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointed_name_is_seen_after_the_lag() {
        let table = NameTable::new();
        let (a, b): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        table.insert("Shop.cluster-x.local", a);
        table.set_lag(Duration::from_secs(3600));
        table.point("shop.cluster-x.local", b);
        assert_eq!(table.lookup("shop.cluster-x.local."), Some(a));
        table.set_lag(Duration::ZERO);
        table.point("shop.cluster-x.local", a);
        assert_eq!(table.lookup("other"), None);
    }
}
