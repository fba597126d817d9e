//! How a lost node comes back: as it was, as a replica of the new writer, or built anew.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Error;
use super::cluster::{CONTROL_LIMIT, Inner, MySqlCluster};
use super::conf::Role;
use super::control::Control;
use super::failover::STEP_LIMIT;
use super::start::START_LIMIT;
use crate::verbs::NodeId;

/// Attempts of a return that nobody waits for, and the pause between them.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

impl MySqlCluster {
    /// Starts a node that was crashed, in the role it had: a crashed writer that was not replaced is the writer
    /// again. Returns when it accepts connections.
    ///
    /// # Errors
    /// When it runs, when it was replaced or left behind by a promotion (then [`rejoin`](Self::rejoin) it), or when
    /// it does not come up.
    ///
    /// # Cancellation
    /// The start goes on when the future is dropped.
    pub async fn restart(&self, node: NodeId) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        self.inner.detached(async move { inner.restart(node).await }).await
    }

    /// Makes a node a reader of the present writer: kills it if it runs, gives up what it alone has, starts it, and
    /// returns when it has caught up.
    ///
    /// # Errors
    /// When it is the writer, or the writer does not answer, or it does not come up.
    ///
    /// # Cancellation
    /// The return goes on when the future is dropped.
    pub async fn rejoin(&self, node: NodeId) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        self.inner.detached(async move { inner.rejoin(node).await }).await
    }
}

impl Inner {
    /// Brings an old writer back after the pause that was set, unless somebody did or the cluster ended.
    pub(crate) fn rejoin_later(self: &Arc<Self>, node: NodeId) {
        let Some(pause) = self.tuning().rejoin_after else { return };
        self.returning.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
        // A handle would keep the cluster's folder and servers alive past its end.
        let (inner, stopped) = (Arc::downgrade(self), self.stopped.clone());
        let work = async move {
            tokio::time::sleep(pause).await;
            for _ in 0..ATTEMPTS {
                let Some(inner) = inner.upgrade() else { return };
                match inner.rejoin_if_down(node).await {
                    Ok(()) => return,
                    Err(error) => inner.server(node).note(&error.to_string()),
                }
                drop(inner);
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = work => {}
            }
        });
    }

    async fn rejoin_if_down(self: &Arc<Self>, node: NodeId) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        // Asked in this verb's turn: another one may have brought it back meanwhile.
        if self.server(node).is_running() || self.writer() == node {
            self.returned(node);
            return Ok(());
        }
        self.rejoin_to(node, self.writer()).await
    }

    /// The nodes that are down and come back by themselves.
    pub(crate) fn returning(&self) -> Vec<NodeId> {
        let returning = self.returning.lock().unwrap_or_else(PoisonError::into_inner);
        returning.iter().copied().filter(|node| !self.server(*node).is_running()).collect()
    }

    fn returned(&self, node: NodeId) {
        self.returning.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    async fn restart(&self, node: NodeId) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let server = self.server(node);
        if !self.is_current(node) {
            let reason = "another node was promoted while it was down; rejoin it".to_owned();
            return Err(Error::WrongState { verb: "restart", node, reason });
        }
        server.forget_ended();
        let mut control = self.bring_up(node, START_LIMIT).await?;
        if node != self.writer() {
            control.follow(self.server(self.writer()).address, &self.secret).await?;
        }
        self.returned(node);
        self.mark_found(node);
        Ok(())
    }

    async fn rejoin(self: &Arc<Self>, node: NodeId) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let writer = self.writer();
        if node == writer {
            let reason = "it is the writer".to_owned();
            return Err(Error::WrongState { verb: "rejoin", node, reason });
        }
        self.rejoin_to(node, writer).await
    }

    /// Makes a node a reader of `writer`. Only in the turn of the verb that calls it.
    ///
    /// It catches up on an address that no client knows: none reads there what the present history lacks, or misses
    /// what it has.
    pub(crate) async fn rejoin_to(self: &Arc<Self>, node: NodeId, writer: NodeId) -> Result<(), Error> {
        let server = self.server(node);
        self.kill(node).await?;
        let written = self.control(writer).await?.written().await?;
        let obstacle = match self.resume(node, writer, &written).await {
            Ok(true) => None,
            Ok(false) => Some("it has transactions that the new writer lacks".to_owned()),
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => Some(error.to_string()),
        };
        if let Some(obstacle) = obstacle {
            server.note(&format!("built anew: {obstacle}"));
            self.kill(node).await?;
            let inner = Arc::clone(self);
            let install = move || inner.server(node).install(&inner.seed());
            tokio::task::spawn_blocking(install).await.map_err(|_| Error::Stopped)??;
            let mut control = self.bring_up_aside(node).await?;
            self.catch_up(node, &mut control, writer, &written).await?;
        }
        let mut control =
            Control::connect((node, self.kind()), server.aside, &self.secret, CONTROL_LIMIT).await?;
        control.prepare_to_stop(STEP_LIMIT).await?;
        drop(control);
        self.stop_reader(node).await?;
        self.configure(node, Role::Reader)?;
        let mut control = self.bring_up(node, START_LIMIT).await?;
        self.catch_up(node, &mut control, writer, &written).await?;
        server.set_epoch(self.promotions());
        if self.reader.load(Ordering::Acquire) == writer.index() {
            self.point_reader(node);
        }
        self.returned(node);
        self.mark_found(node);
        Ok(())
    }

    /// Lets a node catch up from its own data; `false` when it has what the present history lacks.
    async fn resume(&self, node: NodeId, writer: NodeId, written: &str) -> Result<bool, Error> {
        let mut control = self.bring_up_aside(node).await?;
        let passed_by = {
            let promotions = self.promotions.lock().unwrap_or_else(PoisonError::into_inner);
            promotions.get(self.server(node).epoch()).copied()
        };
        // Its log is the beginning of the log of the writer of its time; the first promotion that it has not seen
        // says how far that log belongs to the present history.
        if let Some(last) = passed_by
            && control.position().await? > last
        {
            return Ok(false);
        }
        self.catch_up(node, &mut control, writer, written).await?;
        Ok(true)
    }

    async fn catch_up(
        &self,
        node: NodeId,
        control: &mut Control,
        writer: NodeId,
        written: &str,
    ) -> Result<(), Error> {
        control.follow(self.server(writer).address, &self.secret).await?;
        self.until_streaming(node, control, written, START_LIMIT).await
    }

    fn promotions(&self) -> usize {
        self.promotions.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether the node's history is the present one.
    pub(crate) fn is_current(&self, node: NodeId) -> bool {
        self.server(node).epoch() == self.promotions()
    }

    fn mark_found(&self, node: NodeId) {
        self.topology.publish(|rows, _| {
            if let Some(row) = rows.get_mut(node.index()) {
                row.lost_at = None;
            }
        });
    }
}
