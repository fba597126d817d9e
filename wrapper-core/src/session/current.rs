//! The connection that a session stands on, and what it was when it was opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Attempt;
use crate::cluster::{Cluster, Lease};
use crate::driver::DriverConnection;
use crate::host::HostInfo;

/// One connection of a session: generation, host, connection.
#[derive(Debug)]
pub struct Current<C> {
    /// Counts the connections of the session, from 1.
    pub generation: u64,
    /// The host; its role is the one that it gave itself when the connection was opened.
    pub host: HostInfo,
    /// The driver's connection.
    pub connection: Arc<C>,
    /// The same connection without the driver's type, made once: each wait hands it to the watchers.
    pub(super) erased: Arc<dyn DriverConnection>,
    checked_epoch: AtomicU64,
    _lease: Lease,
}

impl<C: DriverConnection> Current<C> {
    pub(super) fn new(
        generation: u64,
        connection: Arc<C>,
        host: HostInfo,
        epoch: u64,
        cluster: &Cluster,
    ) -> Self {
        let _lease = cluster.registry().lease(&host.key);
        let erased = Arc::clone(&connection) as Arc<dyn DriverConnection>;
        Self { generation, host, connection, erased, checked_epoch: AtomicU64::new(epoch), _lease }
    }

    /// The same without the driver's type.
    pub fn attempt(&self) -> Attempt {
        Attempt {
            generation: self.generation,
            host: self.host.clone(),
            connection: Arc::clone(&self.erased),
            epoch: self.checked_epoch(),
        }
    }

    /// Whether `connection` is this connection.
    pub(super) fn is_on(&self, connection: &Arc<dyn DriverConnection>) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.connection), Arc::as_ptr(connection))
    }

    pub(super) fn checked_epoch(&self) -> u64 {
        self.checked_epoch.load(Ordering::Acquire)
    }

    pub(super) fn set_checked_epoch(&self, epoch: u64) {
        self.checked_epoch.store(epoch, Ordering::Release);
    }
}
