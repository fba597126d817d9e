//! How a lost node comes back: as it was, or rewound to the new writer's history.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::cluster::{Inner, LocalCluster};
use super::conf::{DATABASE, HARNESS};
use super::error::Error;
use super::server::{Start, TICK};
use super::start::START_LIMIT;
use crate::verbs::NodeId;

/// Attempts of a return that nobody waits for, and the pause between them.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

impl LocalCluster {
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

    /// Makes a node a reader of the present writer: kills it if it runs, rewinds it if a promotion has passed it
    /// by, starts it, and returns when it streams.
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
                    Err(error) => inner.server(node).note(&error),
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
        server.spawn(Start::AsItIs)?;
        server.accepting(&self.superuser_password, DATABASE, START_LIMIT).await?;
        self.returned(node);
        self.mark_found(node)
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
    pub(crate) async fn rejoin_to(self: &Arc<Self>, node: NodeId, writer: NodeId) -> Result<(), Error> {
        let server = self.server(node);
        let inner = Arc::clone(self);
        let killed = tokio::task::spawn_blocking(move || inner.server(node).kill()).await;
        killed.map_err(|_| Error::Stopped)?;
        if !self.is_current(node) {
            self.rewind(node, writer).await?;
        }
        self.configure(node, Some(writer))?;
        server.mark_standby()?;
        server.spawn(Start::AsItIs)?;
        self.until_streaming(node).await?;
        server.set_epoch(self.promotions.load(Ordering::Acquire));
        if self.reader.load(Ordering::Acquire) == writer.index() {
            self.point_reader(node);
        }
        self.returned(node);
        self.mark_found(node)
    }

    /// Whether the node's history is the present one.
    fn is_current(&self, node: NodeId) -> bool {
        self.server(node).epoch() == self.promotions.load(Ordering::Acquire)
    }

    fn mark_found(&self, node: NodeId) -> Result<(), Error> {
        self.topology.publish(|rows, _| {
            if let Some(row) = rows.get_mut(node.index()) {
                row.lost_at = None;
            }
        })
    }

    /// Makes a node's data a copy of the writer's: by pg_rewind, or whole when that cannot.
    async fn rewind(&self, node: NodeId, writer: NodeId) -> Result<(), Error> {
        let (server, source) = (self.server(node), self.server(writer).address);
        let source = format!(
            "host={} port={} user={HARNESS} password={} dbname={DATABASE} sslmode=disable",
            source.ip(),
            source.port(),
            self.superuser_password,
        );
        // pg_rewind ends the recovery of a killed server itself, as a writer. That is right for an old writer; a
        // killed standby would get a checkpoint of its own into its history, which pg_rewind then takes for the
        // writer's, and could not follow the writer past it.
        if !server.is_standby() {
            // Until its first checkpoint a promoted server's control file names its old timeline, and pg_rewind
            // would find nothing to do.
            self.control(writer).await?.run("checkpoint", "CHECKPOINT").await?;
            server.unmark()?;
            let arguments = ["-D", "data", "--no-sync", "--source-server", &source];
            match server.program("pg_rewind", &arguments, START_LIMIT).await {
                Ok(()) => return Ok(()),
                Err(error) => server.note(&error),
            }
        }
        server.remove_data().await?;
        let arguments = ["-D", "data", "--no-sync", "-X", "stream", "--checkpoint=fast", "-d", &source];
        server.program("pg_basebackup", &arguments, START_LIMIT).await
    }

    async fn until_streaming(&self, node: NodeId) -> Result<(), Error> {
        let server = self.server(node);
        let control = server.accepting(&self.superuser_password, DATABASE, START_LIMIT).await?;
        let end = Instant::now() + START_LIMIT;
        let sql = "SELECT status FROM pg_stat_wal_receiver";
        while control.text("streaming", sql).await?.as_deref() != Some("streaming") {
            if Instant::now() >= end {
                let what = format!("{node} streams; the end of its log: {}", server.log_end());
                return Err(Error::Deadline { what, limit: START_LIMIT });
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }
}
