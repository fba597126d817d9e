//! The faults of single nodes, and the knobs that may be turned while the cluster runs.

use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::cluster::{Inner, LocalCluster, Tuning};
use super::error::Error;
use super::topology;
use crate::proxy::Mode;
use crate::verbs::{Cut, FreezeScope, NodeId};

impl LocalCluster {
    /// Kills all processes of a node. Nobody is promoted: see [`fail_over`](Self::fail_over).
    ///
    /// # Errors
    /// When the node does not run.
    pub async fn crash(&self, node: NodeId) -> Result<(), Error> {
        self.inner.crash(node).await
    }

    /// Stops the processes of a node; sockets stay open and silent until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// When the node does not run.
    pub async fn freeze(&self, node: NodeId, scope: FreezeScope) -> Result<(), Error> {
        self.inner.freeze(node, scope).await
    }

    /// Lets a frozen node go on. One that was the writer and was replaced meanwhile still believes to be it,
    /// though no standby listens and no commit returns; [`rejoin`](Self::rejoin) makes a reader of it.
    ///
    /// # Errors
    /// None at present; a node that is not frozen is left as it is.
    pub async fn thaw(&self, node: NodeId) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        off_thread(move || inner.server(node).thaw()).await
    }

    /// Refuses new connections to a node while its server lives; open ones go on.
    ///
    /// # Errors
    /// Without proxies.
    pub async fn refuse(&self, node: NodeId) -> Result<(), Error> {
        self.inner.set_mode("refuse", node, Mode::Refuse).await
    }

    /// Spoils the connections of a node, open and new ones, until [`heal`](Self::heal).
    ///
    /// # Errors
    /// Without proxies.
    pub async fn cut(&self, node: NodeId, cut: Cut) -> Result<(), Error> {
        self.inner.cut(node, cut).await
    }

    /// Lets everything through the proxy of a node again.
    ///
    /// # Errors
    /// Without proxies.
    pub async fn heal(&self, node: NodeId) -> Result<(), Error> {
        self.inner.set_mode("heal", node, Mode::Pass).await
    }

    /// From now on the metadata functions of these nodes learn of changes this much later, about themselves too.
    ///
    /// # Errors
    /// When the topology's files cannot be written.
    pub fn delay_topology(&self, nodes: &[NodeId], by: Duration) -> Result<(), Error> {
        self.inner.topology.delay(nodes, Some(by))
    }

    /// From now on the metadata functions of these nodes answer what they know now, whatever happens.
    ///
    /// # Errors
    /// When the topology's files cannot be written.
    pub fn freeze_topology(&self, nodes: &[NodeId]) -> Result<(), Error> {
        self.inner.topology.delay(nodes, None)
    }

    /// Ends the delay or the freezing of the topology on these nodes.
    ///
    /// # Errors
    /// When the topology's files cannot be removed.
    pub fn update_topology(&self, nodes: &[NodeId]) -> Result<(), Error> {
        self.inner.topology.catch_up(nodes)
    }

    /// Changes the time between the loss of a writer and the promotion, for the next failovers.
    pub fn set_promotion_time(&self, between: RangeInclusive<Duration>) {
        self.inner.tune(|tuning| tuning.promotion_time = between);
    }

    /// Changes whether a promoted server restarts.
    pub fn set_restart_on_promote(&self, restart: bool) {
        self.inner.tune(|tuning| tuning.restart_on_promote = restart);
    }

    /// Changes whether the remaining readers restart at a promotion.
    pub fn set_restart_readers(&self, restart: bool) {
        self.inner.tune(|tuning| tuning.restart_readers = restart);
    }

    /// Changes how long after a failover the old writer comes back by itself; `None`: not at all.
    pub fn set_rejoin_after(&self, pause: Option<Duration>) {
        self.inner.tune(|tuning| tuning.rejoin_after = pause);
    }
}

impl Inner {
    fn tune(&self, change: impl FnOnce(&mut Tuning)) {
        change(&mut self.tuning.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) async fn crash(self: &Arc<Self>, node: NodeId) -> Result<(), Error> {
        if !self.server(node).is_running() {
            let reason = "it is not running".to_owned();
            return Err(Error::WrongState { verb: "crash", node, reason });
        }
        let inner = Arc::clone(self);
        off_thread(move || inner.server(node).kill()).await?;
        self.mark_lost(node)
    }

    pub(crate) async fn freeze(self: &Arc<Self>, node: NodeId, scope: FreezeScope) -> Result<(), Error> {
        let inner = Arc::clone(self);
        off_thread(move || inner.server(node).freeze(scope)).await?
    }

    pub(crate) async fn cut(&self, node: NodeId, cut: Cut) -> Result<(), Error> {
        let mode = match cut {
            Cut::Reset => Mode::Reset,
            Cut::Stall => Mode::StallDown,
            Cut::StallBothWays => Mode::StallBoth,
            Cut::Delay(by) => Mode::Delay(by),
        };
        self.set_mode("cut", node, mode).await
    }

    async fn set_mode(&self, verb: &'static str, node: NodeId, mode: Mode) -> Result<(), Error> {
        let proxy = self.proxies.get(node.index()).ok_or(Error::NoProxy { verb })?;
        proxy.set(mode).await.map_err(Error::io(format!("{verb} {node}")))
    }

    /// Publishes that a node no longer runs; who is the writer stays as it was.
    pub(crate) fn mark_lost(&self, node: NodeId) -> Result<(), Error> {
        self.topology.publish(|rows, _| {
            if let Some(row) = rows.get_mut(node.index()) {
                row.lost_at = Some(topology::now());
            }
        })
    }
}

/// Runs short blocking work (signals, `/proc`, reaping) where it holds up no task.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped)
}
