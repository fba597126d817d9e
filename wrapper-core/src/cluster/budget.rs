//! The cap on the connections that monitors hold (R7).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::driver::DriverConnection;
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostInfo;

/// The cap on monitoring connections: over it probes take turns.
#[derive(Debug)]
pub struct Budget {
    permits: Arc<Semaphore>,
    cap: usize,
}

impl Budget {
    pub(super) fn new(cap: usize) -> Self {
        let cap = cap.clamp(1, Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(cap)), cap }
    }

    /// The cap.
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// How many monitoring connections are open or being opened.
    pub fn used(&self) -> usize {
        self.cap - self.permits.available_permits()
    }

    /// Waits for a turn; those who wait are served in the order in which they came.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the cluster was shut down.
    ///
    /// # Cancellation
    /// Safe: the turn goes to the next one.
    pub async fn permit(&self) -> Result<MonitorPermit> {
        Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map(MonitorPermit)
            .map_err(|_| Error::new(ErrorKind::Closed, "the cluster was shut down"))
    }
}

/// The right to hold one monitoring connection, until it is dropped.
#[derive(Debug)]
pub struct MonitorPermit(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// A connection of a monitor; it counts against the budget until it is dropped, and is closed at once then.
#[derive(Debug)]
pub struct MonitorConnection {
    connection: Arc<dyn DriverConnection>,
    host: HostInfo,
    _permit: MonitorPermit,
}

impl MonitorConnection {
    pub(super) fn new(connection: Arc<dyn DriverConnection>, host: HostInfo, permit: MonitorPermit) -> Self {
        Self { connection, host, _permit: permit }
    }

    /// The connection.
    pub fn connection(&self) -> &Arc<dyn DriverConnection> {
        &self.connection
    }

    /// The host.
    pub fn host(&self) -> &HostInfo {
        &self.host
    }
}

impl Drop for MonitorConnection {
    fn drop(&mut self) {
        self.connection.kill(Error::new(ErrorKind::Closed, "the monitor has ended"));
    }
}
