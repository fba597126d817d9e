//! Damping of reconnect storms: how many sessions of a cluster may open their next connection at once.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use wrapper_core::cluster::Cluster;
use wrapper_core::env::Deadline;
use wrapper_core::{Error, ErrorKind, Result};

/// Most connects that the switches of one cluster make at once.
const AT_ONCE: usize = 32;

/// The gate that all switches of a cluster share.
#[derive(Debug)]
pub(super) struct Gate(Semaphore);

impl Gate {
    pub(super) fn of(cluster: &Cluster) -> Arc<Self> {
        cluster.shared(|| Self(Semaphore::new(AT_ONCE)))
    }

    pub(super) async fn pass(&self, deadline: Deadline) -> Result<SemaphorePermit<'_>> {
        let pass = async {
            self.0.acquire().await.map_err(|_| Error::new(ErrorKind::Closed, "the cluster was shut down"))
        };
        deadline.run("waiting for other sessions to reconnect", pass).await
    }
}
