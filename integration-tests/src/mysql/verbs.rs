//! The faults of single nodes, and the knobs that may be turned while the cluster runs.

use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::cluster::{Inner, MySqlCluster};
use super::{Error, topology};
use crate::local::cluster::Tuning;
use crate::proxy::Mode;
use crate::verbs::{Cut, FreezeScope, NodeId};

impl MySqlCluster {
    /// Kills the server of a node. Nobody is promoted: see [`fail_over`](Self::fail_over).
    ///
    /// # Errors
    /// When the node does not run.
    pub async fn crash(&self, node: NodeId) -> Result<(), Error> {
        self.inner.crash(node).await
    }

    /// Stops the server of a node; sockets stay open and silent until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// When the node does not run; with [`FreezeScope::PostmasterOnly`]: the server is one process.
    pub async fn freeze(&self, node: NodeId, scope: FreezeScope) -> Result<(), Error> {
        self.inner.freeze(node, scope).await
    }

    /// Lets a frozen node go on. One that was the writer and was replaced meanwhile still believes to be it,
    /// though no replica listens and no commit returns; [`rejoin`](Self::rejoin) makes a reader of it.
    ///
    /// # Errors
    /// None at present; a node that is not frozen is left as it is.
    pub async fn thaw(&self, node: NodeId) -> Result<(), Error> {
        self.inner.server(node).thaw();
        Ok(())
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

    /// From now on the metadata of these nodes learn of changes this much later, about themselves too: the replica
    /// status of Aurora, and `SHOW REPLICA STATUS` of a Multi-AZ DB cluster.
    pub fn delay_topology(&self, nodes: &[NodeId], by: Duration) {
        self.inner.topology.delay(nodes, Some(by));
    }

    /// From now on the metadata of these nodes stay as they are now, whatever happens.
    pub fn freeze_topology(&self, nodes: &[NodeId]) {
        self.inner.topology.delay(nodes, None);
    }

    /// Ends the delay or the freezing of the topology on these nodes.
    pub fn update_topology(&self, nodes: &[NodeId]) {
        self.inner.topology.catch_up(nodes);
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
        self.kill(node).await?;
        self.mark_lost(node);
        Ok(())
    }

    /// Kills a server, if it runs.
    pub(crate) async fn kill(self: &Arc<Self>, node: NodeId) -> Result<(), Error> {
        let inner = Arc::clone(self);
        let killed = tokio::task::spawn_blocking(move || inner.server(node).kill());
        killed.await.map_err(|_| Error::Stopped)?;
        self.shut_front(node).await;
        Ok(())
    }

    pub(crate) async fn freeze(self: &Arc<Self>, node: NodeId, scope: FreezeScope) -> Result<(), Error> {
        if scope != FreezeScope::AllProcesses {
            let reason = "its server is one process: freeze it whole, or stall its proxy".to_owned();
            return Err(Error::WrongState { verb: "freeze a part of", node, reason });
        }
        let inner = Arc::clone(self);
        let frozen = tokio::task::spawn_blocking(move || inner.server(node).freeze());
        frozen.await.map_err(|_| Error::Stopped)?
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
    pub(crate) fn mark_lost(&self, node: NodeId) {
        self.topology.publish(|rows, _| {
            if let Some(row) = rows.get_mut(node.index()) {
                row.lost_at = Some(topology::now());
            }
        });
    }
}
