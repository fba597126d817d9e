//! Which host that accepts writes is believed to be the writer (R10).
//!
//! What lives here: the memory of the hosts that have named themselves as the writer, and the rule. What may not: any
//! question to a host; the search.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::ClusterCore;
use crate::host::{HostInfo, HostKey};
use crate::topology::HostStatus;

/// The hosts that have named themselves as the writer and have not been seen as readers since.
///
/// A host that lost the role stays here, through any number of failovers, until it says that it is a reader: from
/// then on only a promotion can let it accept writes again.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<BTreeSet<HostKey>>);

impl Claims {
    fn observe(&self, key: &HostKey, status: &HostStatus) {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !status.accepts_writes {
            claimed.remove(key);
        } else if status.claims_writer == Some(true) {
            // Not on `None`: the topology of a host that was just promoted may first be empty and then late.
            claimed.insert(key.clone());
        }
    }

    fn contains(&self, key: &HostKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}

impl ClusterCore {
    /// Whether a host is believed to be the writer by what it has just said of itself, which is remembered.
    ///
    /// A host that has lost the role may still accept writes: it no longer names itself, though it did before. One
    /// that was just promoted may not name itself yet, because its topology is late: it never did before, or it was
    /// a reader since.
    pub(super) fn believes(&self, host: &HostInfo, status: &HostStatus) -> bool {
        let key = self.identified(host, status).key;
        self.claims.observe(&key, status);
        status.accepts_writes && (status.claims_writer != Some(false) || !self.claims.contains(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(accepts_writes: bool, claims_writer: Option<bool>) -> HostStatus {
        HostStatus { id: None, accepts_writes, claims_writer }
    }

    #[test]
    fn a_claim_is_remembered_until_the_host_is_a_reader() {
        let claims = Claims::default();
        let [a, b] = ["a", "b"].map(|name| HostKey::new(name, 5432));
        for (accepts, claim, remembered) in [
            (true, None, false),
            (true, Some(false), false),
            (false, Some(true), false),
            (true, Some(true), true),
            (true, Some(false), true),
            (true, None, true),
            (false, Some(false), false),
            (true, Some(false), false),
        ] {
            claims.observe(&a, &says(accepts, claim));
            assert_eq!(claims.contains(&a), remembered, "{accepts} {claim:?}");
            assert!(!claims.contains(&b));
        }
    }
}
