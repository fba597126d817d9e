//! The side of a session that plugins see: no driver's type.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Session, SwitchPlan};
use crate::cluster::Cluster;
use crate::driver::DriverConnection;
use crate::error::Result;
use crate::host::HostInfo;
use crate::observe::SwitchReport;
use crate::plugin::Chain;

/// One attempt of a call: the connection that it owns until it ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The session's generation.
    pub generation: u64,
    /// The host.
    pub host: HostInfo,
    /// The connection.
    pub connection: Arc<dyn DriverConnection>,
    /// The cluster's count of writer changes when this connection was opened or last checked.
    pub epoch: u64,
}

/// What a plugin may do with the session of a call.
pub trait SessionSeam: Debug + Send + Sync {
    /// The current connection.
    fn current(&self) -> Attempt;

    /// The cluster.
    fn cluster(&self) -> &Cluster;

    /// The chain of the session, for connects that a switch makes.
    fn chain(&self) -> &Arc<Chain>;

    /// Switches the session away from a failed generation, once for all callers of that generation (R5).
    ///
    /// The search runs as a task of the cluster: the caller may be dropped without harm. A caller that comes late
    /// joins the running flight, or learns at once that the session has moved on already; a flight that has failed
    /// is not joined.
    ///
    /// # Errors
    /// The error of the search; [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) at the plan's deadline;
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) when the session, or the cluster's runtime, ended meanwhile.
    ///
    /// # Cancellation
    /// Safe: the flight goes on.
    fn switch(&self, plan: SwitchPlan) -> BoxFuture<'_, Result<Arc<SwitchReport>>>;
}

impl<C: DriverConnection> SessionSeam for Session<C> {
    fn current(&self) -> Attempt {
        self.load().attempt()
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    fn switch(&self, plan: SwitchPlan) -> BoxFuture<'_, Result<Arc<SwitchReport>>> {
        Box::pin(self.fly(plan))
    }
}
