//! The value that a topology is: a list of hosts with at most one writer.

use std::fmt;
use std::sync::Arc;

use crate::host::{HostInfo, HostKey, HostRole};

/// The hosts of a cluster at one moment, ordered by key, with at most one writer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    hosts: Vec<HostInfo>,
}

impl Topology {
    /// Orders the hosts and settles contradictions.
    ///
    /// Of several rows for one host the most recently updated stays. Of several hosts that claim to be the writer
    /// the most recently updated one stays writer (the first by key when the times do not tell); the others are
    /// kept as readers, because a host that still claims the role is a host that can be asked.
    pub fn new(mut hosts: Vec<HostInfo>) -> Self {
        hosts.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| b.updated.cmp(&a.updated)));
        hosts.dedup_by(|later, kept| later.key == kept.key);
        let mut writer: Option<usize> = None;
        for (index, host) in hosts.iter().enumerate() {
            if host.role != HostRole::Writer {
                continue;
            }
            if writer.is_none_or(|best| hosts[best].updated < host.updated) {
                writer = Some(index);
            }
        }
        for (index, host) in hosts.iter_mut().enumerate() {
            if host.role == HostRole::Writer && Some(index) != writer {
                host.role = HostRole::Reader;
            }
        }
        Self { hosts }
    }

    /// All hosts, ordered by key.
    pub fn hosts(&self) -> &[HostInfo] {
        &self.hosts
    }

    /// The writer, if one is known.
    pub fn writer(&self) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.role == HostRole::Writer)
    }

    /// The readers.
    pub fn readers(&self) -> impl Iterator<Item = &HostInfo> {
        self.hosts.iter().filter(|host| host.role == HostRole::Reader)
    }

    /// The host with this key.
    pub fn find(&self, key: &HostKey) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.key == *key)
    }

    /// The host that the database knows by this id.
    pub fn find_id(&self, id: &str) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.id.as_deref() == Some(id))
    }

    /// Whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The same hosts with `writer` as the only writer; a host that is not listed is added.
    #[must_use]
    pub fn with_writer(&self, writer: &HostInfo) -> Self {
        let mut hosts: Vec<HostInfo> = self
            .hosts
            .iter()
            .filter(|host| host.key != writer.key)
            .cloned()
            .map(|host| if host.role == HostRole::Writer { host.with_role(HostRole::Reader) } else { host })
            .collect();
        let known = self.find(&writer.key).cloned().unwrap_or_else(|| writer.clone());
        hosts.push(known.with_role(HostRole::Writer));
        Self::new(hosts)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.hosts.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{host}")?;
        }
        if self.hosts.is_empty() { f.write_str("no hosts") } else { Ok(()) }
    }
}

/// A topology as it was published: which one it is, and how far it can be trusted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Published {
    /// The topology.
    pub topology: Arc<Topology>,
    /// Counts publications of the cluster.
    pub sequence: u64,
    /// Whether its writer was asked on the writer itself whether it is one.
    pub verified: bool,
    /// The number of the last writer search that a verified topology answers.
    pub answers: u64,
    /// When it was published.
    pub at: tokio::time::Instant,
}

impl Published {
    pub(crate) fn new(
        topology: Arc<Topology>,
        sequence: u64,
        verified: bool,
        answers: u64,
        at: tokio::time::Instant,
    ) -> Self {
        Self { topology, sequence, verified, answers, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn host(name: &str, role: HostRole, updated: u64) -> HostInfo {
        let mut host = HostInfo::new(name, 5432, role);
        host.updated = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(updated));
        host
    }

    #[test]
    fn of_two_writers_the_most_recently_updated_stays_and_none_is_dropped() {
        let topology = Topology::new(vec![host("a", HostRole::Writer, 5), host("b", HostRole::Writer, 9)]);
        assert_eq!(topology.writer().map(HostInfo::host), Some("b"));
        assert_eq!(topology.readers().map(HostInfo::host).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn of_two_rows_for_one_host_the_newer_stays() {
        let topology = Topology::new(vec![host("a", HostRole::Writer, 5), host("A", HostRole::Reader, 9)]);
        assert_eq!(topology.hosts().len(), 1);
        assert_eq!(topology.writer(), None);
    }

    #[test]
    fn a_claimed_writer_replaces_the_old_one() {
        let topology = Topology::new(vec![host("a", HostRole::Writer, 5), host("b", HostRole::Reader, 5)]);
        let next = topology.with_writer(&host("b", HostRole::Unknown, 6));
        assert_eq!(next.writer().map(HostInfo::host), Some("b"));
        assert_eq!(next.hosts().len(), 2);
    }
}
