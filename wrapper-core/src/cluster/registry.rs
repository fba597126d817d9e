//! The registry of live connections: how many lead to each host, and when a host was last demoted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::host::HostKey;

#[derive(Debug, Default)]
struct HostRecord {
    open: AtomicUsize,
    demoted: AtomicU64,
}

/// Which hosts the sessions of a cluster stand on.
#[derive(Debug, Default)]
pub struct Registry {
    hosts: DashMap<HostKey, Arc<HostRecord>>,
}

impl Registry {
    fn record(&self, host: &HostKey) -> Arc<HostRecord> {
        if let Some(record) = self.hosts.get(host) {
            return Arc::clone(&record);
        }
        Arc::clone(&self.hosts.entry(host.clone()).or_default())
    }

    /// Counts a connection to `host` until the lease is dropped.
    pub fn lease(&self, host: &HostKey) -> Lease {
        let record = self.record(host);
        record.open.fetch_add(1, Ordering::Relaxed);
        Lease(record)
    }

    /// How many connections of sessions lead to `host`.
    pub fn open(&self, host: &HostKey) -> usize {
        self.hosts.get(host).map_or(0, |record| record.open.load(Ordering::Relaxed))
    }

    /// The writer epoch that began when `host` last lost the writer role; 0 if it never did.
    pub fn demoted_in(&self, host: &HostKey) -> u64 {
        self.hosts.get(host).map_or(0, |record| record.demoted.load(Ordering::Acquire))
    }

    pub(super) fn demote(&self, host: &HostKey, epoch: u64) {
        self.record(host).demoted.store(epoch, Ordering::Release);
    }
}

/// One connection of a session in the [`Registry`]; dropping it takes it out.
#[derive(Debug)]
pub struct Lease(Arc<HostRecord>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
