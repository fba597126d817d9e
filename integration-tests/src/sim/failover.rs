//! Changes of the writer: failover after a crash or freeze, planned switchover, promotion.
//!
//! What may not live here: faults of single nodes (`verbs.rs`).

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::cluster::SimCluster;
use super::error::SimError;
use super::inner::{Inner, locked};
use super::node::Ending;

/// What a change of the writer did, and when.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FailoverRecord {
    /// The node that wrote before; `None` when there was none.
    pub old_writer: Option<usize>,
    /// The node that writes now.
    pub new_writer: usize,
    /// When the old writer stopped.
    pub stopped: Instant,
    /// When the new writer began to accept writes.
    pub accepting: Instant,
}

impl FailoverRecord {
    /// How long nobody accepted writes.
    #[must_use]
    pub fn gap(&self) -> Duration {
        self.accepting - self.stopped
    }
}

/// How the writer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Crash,
    Freeze,
    Planned,
    /// At once, and without a pause.
    Promotion,
}

impl SimCluster {
    /// Crashes the writer. After the promotion time the best reader (up, least lag) becomes the writer; after the
    /// rejoin time the old one is back as a reader. Returns when writes are accepted again.
    ///
    /// # Errors
    /// [`SimError::NoCandidate`] (before anything is done), [`SimError::Busy`], [`SimError::Ended`].
    ///
    /// # Cancellation
    /// Dropped midway, the failover goes on unwatched.
    pub async fn fail_over(&self) -> Result<FailoverRecord, SimError> {
        self.change_writer(Cause::Crash, None).await
    }

    /// Freezes the writer, and promotes the best reader after the promotion time. The old writer stays frozen;
    /// thawed, it restarts as a reader.
    ///
    /// # Errors
    /// As [`fail_over`](Self::fail_over).
    ///
    /// # Cancellation
    /// Dropped midway, the failover goes on unwatched.
    pub async fn fail_over_frozen(&self) -> Result<FailoverRecord, SimError> {
        self.change_writer(Cause::Freeze, None).await
    }

    /// Stops the writer in good order (its sessions are told 57P01) and promotes this node after the switchover
    /// time; after the rejoin time the old writer is back as a reader.
    ///
    /// # Errors
    /// [`SimError::AlreadyWriter`], [`SimError::NodeDown`], and as [`fail_over`](Self::fail_over).
    ///
    /// # Cancellation
    /// Dropped midway, the switchover goes on unwatched.
    pub async fn planned_switchover(&self, to: usize) -> Result<FailoverRecord, SimError> {
        self.change_writer(Cause::Planned, Some(to)).await
    }

    /// Makes this node the writer at once. An old writer that runs is restarted as a reader; one that is frozen
    /// restarts when it is thawed.
    ///
    /// # Errors
    /// As [`planned_switchover`](Self::planned_switchover).
    ///
    /// # Cancellation
    /// Dropped midway, the promotion goes on unwatched.
    pub async fn promote(&self, node: usize) -> Result<FailoverRecord, SimError> {
        self.change_writer(Cause::Promotion, Some(node)).await
    }

    async fn change_writer(&self, cause: Cause, to: Option<usize>) -> Result<FailoverRecord, SimError> {
        let busy = Arc::clone(&self.inner().changing).try_lock_owned().map_err(|_| SimError::Busy)?;
        let to = self.inner().candidate(to)?;
        let (report, reported) = oneshot::channel();
        let inner = Arc::clone(self.inner());
        let task = async move {
            let outcome = inner.change_writer(cause, to).await;
            drop(busy);
            report.send(outcome).ok(); // nobody may be waiting any more
        };
        self.inner().spawn(&self.inner().tasks, task);
        reported.await.map_err(|_| SimError::Ended)?
    }
}

impl Inner {
    /// Checks the wished node, or finds the best one.
    fn candidate(&self, wished: Option<usize>) -> Result<usize, SimError> {
        let writer = self.store.writer();
        if let Some(node) = wished {
            return match self.node(node)?.is_up() {
                _ if writer == Some(node) => Err(SimError::AlreadyWriter { node }),
                true => Ok(node),
                false => Err(SimError::NodeDown { node }),
            };
        }
        let lags = locked(&self.tuning).lags.clone();
        let last = writer.unwrap_or_else(|| locked(&self.history).at(Duration::ZERO).writer);
        let fit = |node: &usize| *node != last && self.nodes[*node].is_up() && !self.nodes[*node].is_frozen();
        (0..self.nodes.len()).filter(fit).min_by_key(|node| lags[*node]).ok_or(SimError::NoCandidate)
    }

    async fn change_writer(self: Arc<Self>, cause: Cause, to: usize) -> Result<FailoverRecord, SimError> {
        let old_writer = self.store.writer();
        let stopped = Instant::now();
        if let Some(old) = old_writer {
            match cause {
                Cause::Crash => self.stop(old, Ending::Reset).await?,
                Cause::Planned => self.stop(old, Ending::Shutdown).await?,
                Cause::Freeze => {
                    self.nodes[old].frozen.send_replace(true);
                }
                Cause::Promotion => {}
            }
        }
        let (pause, restart, restart_time) = self.draw(cause);
        // Without a pause the old writer writes until the new one does.
        if !pause.is_zero() {
            self.store.fence();
        }
        let restart_time = if restart { restart_time.min(pause) } else { Duration::ZERO };
        self.sleep(pause - restart_time).await?;
        // The chosen one may have been lost in the meantime.
        let to = if self.nodes[to].is_up() { to } else { self.candidate(None)? };
        if restart {
            self.stop(to, Ending::Shutdown).await?;
            self.sleep(restart_time).await?;
        }
        self.store.promote(to);
        self.record(|snapshot| snapshot.writer = to);
        self.names.point(&self.config.cluster_endpoint(), self.nodes[to].address.ip());
        self.start(to)?;
        let accepting = Instant::now();
        if let Some(old) = old_writer {
            self.demote(old).await?;
        }
        Ok(FailoverRecord { old_writer, new_writer: to, stopped, accepting })
    }

    fn draw(&self, cause: Cause) -> (Duration, bool, Duration) {
        let mut tuning = locked(&self.tuning);
        let range: RangeInclusive<Duration> = match cause {
            Cause::Crash | Cause::Freeze => tuning.promotion.clone(),
            Cause::Planned => tuning.switchover.clone(),
            Cause::Promotion => return (Duration::ZERO, false, Duration::ZERO),
        };
        let spread = range.end().saturating_sub(*range.start());
        let pause = *range.start() + spread.mul_f64(tuning.random.f64());
        (pause, tuning.restart_promoted, tuning.restart_time)
    }

    /// Brings the old writer back as a reader: at once if it runs, after the rejoin time if it is down, and when
    /// it is thawed if it is frozen.
    async fn demote(self: &Arc<Self>, old: usize) -> Result<(), SimError> {
        let node = self.node(old)?;
        if node.is_frozen() {
            node.state().restart_when_thawed = true;
            return Ok(());
        }
        if node.is_up() {
            self.stop(old, Ending::Shutdown).await?;
            return self.start(old);
        }
        let (rejoin, downs) = (locked(&self.tuning).rejoin, node.state().downs);
        let inner = Arc::clone(self);
        let task = async move {
            let wanted = inner.sleep(rejoin).await.is_ok() && inner.nodes[old].state().downs == downs;
            if wanted {
                // Is its port taken by now, the node stays down, as the topology then shows.
                inner.start(old).ok();
            }
        };
        self.spawn(&self.tasks, task);
        Ok(())
    }
}
