//! The contract of a host list provider: where the hosts of a cluster come from.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::driver::DriverConnection;
use crate::env::Deadline;
use crate::error::Result;
use crate::host::{HostInfo, HostRole, HostStatus};
use crate::topology::Topology;

/// Where the hosts of a cluster come from, and how a server is asked about them.
///
/// Implemented by core for every flavour (static list, Aurora, Multi-AZ DB cluster); a user may bring another.
/// Called by the cluster's topology monitor and by connects that verify a role. Implementations hold no connection,
/// no credential and no task.
#[async_trait]
pub trait HostListProvider: Debug + Send + Sync {
    /// The hosts known before any connection: the ones that were configured.
    fn initial_hosts(&self) -> &[HostInfo];

    /// Whether servers can be asked for the list of hosts. When not, roles are found by asking each host.
    fn is_dynamic(&self) -> bool;

    /// Asks a server for the topology that it holds.
    ///
    /// # Errors
    /// The query failed, was denied ([`ErrorKind::Grant`](crate::ErrorKind::Grant), with the statement that mends
    /// it), or its answer has no usable row ([`ErrorKind::Topology`](crate::ErrorKind::Topology)).
    ///
    /// # Cancellation
    /// Safe: the connection stays usable.
    async fn refresh(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<Topology>;

    /// Asks a server for its own id and role, in one round trip.
    ///
    /// # Errors
    /// The query failed.
    ///
    /// # Cancellation
    /// Safe: the connection stays usable.
    async fn status(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostStatus>;

    /// Asks a server for its role alone, where less than a whole [`status`](Self::status) is enough: the host has
    /// just been asked for that on another connection.
    ///
    /// # Errors
    /// The query failed.
    ///
    /// # Cancellation
    /// Safe: the connection stays usable.
    async fn role(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostRole> {
        Ok(self.status(connection, deadline).await?.role())
    }
}
