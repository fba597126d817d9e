//! Changes of the writer: who is promoted, how, and from when on the new writer accepts writes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::cluster::{Inner, LocalCluster};
use super::conf::DATABASE;
use super::control::Control;
use super::error::Error;
use super::server::Start;
use super::start::START_LIMIT;
use super::truth::Truth;
use crate::verbs::{FailoverRecord, Fault, NodeId};

/// How long one step of a failover (a stop, an election) may take.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// The pause between two attempts to write on a server that is being promoted.
const ATTEMPT: Duration = Duration::from_millis(1);

/// How a writer stops being one.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Fault(Fault),
    Planned,
    /// It is left as it is.
    None,
}

impl LocalCluster {
    /// Crashes the writer (unless it is down already) and promotes, after the promotion time, the standby that has received most. Returns
    /// when the new writer accepts writes. The old writer comes back as a reader later
    /// ([`rejoin_after`](super::Builder::rejoin_after)).
    ///
    /// # Errors
    /// When no standby can be promoted, or a step takes too long.
    ///
    /// # Cancellation
    /// The failover goes on when the future is dropped.
    pub async fn fail_over(&self) -> Result<FailoverRecord, Error> {
        self.fail_over_after(Fault::Crash).await
    }

    /// As [`fail_over`](Self::fail_over), with another fault. A frozen or cut-off writer stays so, and does not
    /// come back by itself: thaw or heal it, then [`rejoin`](Self::rejoin).
    ///
    /// # Errors
    /// As `fail_over`; a cut needs proxies.
    ///
    /// # Cancellation
    /// The failover goes on when the future is dropped.
    pub async fn fail_over_after(&self, fault: Fault) -> Result<FailoverRecord, Error> {
        self.inner.switch_in_task(Loss::Fault(fault), None).await
    }

    /// Stops the writer as an administrator does, with the standbys caught up, and promotes a chosen node after
    /// the promotion time. The old writer comes back as a reader later.
    ///
    /// # Errors
    /// When `to` is the writer or does not run, or a step takes too long.
    ///
    /// # Cancellation
    /// The switchover goes on when the future is dropped.
    pub async fn planned_switchover(&self, to: NodeId) -> Result<FailoverRecord, Error> {
        self.inner.switch_in_task(Loss::Planned, Some(to)).await
    }

    /// Promotes a chosen node now, after it received what any standby has. The old writer is left as it is: lost
    /// already, or alive but with no standby that listens, so that its commits no longer return.
    ///
    /// # Errors
    /// When `to` is the writer or does not run, or a step takes too long.
    ///
    /// # Cancellation
    /// The promotion goes on when the future is dropped.
    pub async fn promote(&self, to: NodeId) -> Result<FailoverRecord, Error> {
        self.inner.switch_in_task(Loss::None, Some(to)).await
    }
}

impl Inner {
    async fn switch_in_task(
        self: &Arc<Self>,
        loss: Loss,
        to: Option<NodeId>,
    ) -> Result<FailoverRecord, Error> {
        self.detached(Arc::clone(self).switch(loss, to)).await
    }

    async fn switch(self: Arc<Self>, loss: Loss, to: Option<NodeId>) -> Result<FailoverRecord, Error> {
        let _turn = self.turn.lock().await;
        let old_writer = self.writer();
        if let Some(to) = to {
            self.check_candidate(to)?;
        }
        let helper = self.acknowledger(old_writer, loss)?;
        let t_crash = Instant::now();
        self.lose(old_writer, loss).await?;
        let promotion_time = self.draw_promotion_time(loss);
        tokio::time::sleep_until((t_crash + promotion_time).into()).await;

        let (new_writer, other) = self.elect(old_writer, to).await?;
        let t_accepting = match (other, helper) {
            (None, Some(helper)) => {
                let back = self.bring_back(helper, new_writer);
                tokio::try_join!(biased; self.elevate(new_writer, None), back)?.0
            }
            _ => self.elevate(new_writer, other).await?,
        };
        self.announce(new_writer, other)?;
        if !self.server(old_writer).is_running() {
            self.rejoin_later(old_writer);
        }
        Ok(FailoverRecord { old_writer, new_writer, t_crash, t_accepting, promotion_time })
    }

    /// Who, of the nodes that are down, comes back to acknowledge the new writer's commits when only one node is
    /// left to promote; none when two are.
    ///
    /// An error, before anything is done, when nobody could be promoted or acknowledge.
    fn acknowledger(&self, old: NodeId, loss: Loss) -> Result<Option<NodeId>, Error> {
        let standing: Vec<NodeId> = NodeId::ALL.into_iter().filter(|node| self.stands(*node, old)).collect();
        let left = match standing[..] {
            [] => return Err(Error::NoCandidate { old_writer: old }),
            [left] if self.commits_wait() => left,
            _ => return Ok(None),
        };
        let old_returns = match loss {
            Loss::Planned | Loss::Fault(Fault::Crash) => self.tuning().rejoin_after.is_some(),
            Loss::Fault(_) | Loss::None => false,
        };
        let waiting = self.returning().into_iter().find(|node| *node != left);
        match waiting.or(old_returns.then_some(old)) {
            Some(helper) => Ok(Some(helper)),
            None => {
                let verb = match loss {
                    Loss::Planned => "switch over",
                    Loss::Fault(_) => "fail over",
                    Loss::None => "promote",
                };
                Err(Error::NoStandby { verb, left })
            }
        }
    }

    /// Whether a commit waits for a standby, as it does unless the test has asked for something else.
    fn commits_wait(&self) -> bool {
        let settings = &self.options.server_settings;
        !settings.iter().any(|(name, value)| name == "synchronous_standby_names" && value.is_empty())
    }

    fn stands(&self, node: NodeId, old: NodeId) -> bool {
        let server = self.server(node);
        node != old && server.is_running() && server.frozen().is_none()
    }

    /// Brings a node back as the only standby of a writer that is being promoted: its first commit waits for this.
    async fn bring_back(self: &Arc<Self>, node: NodeId, writer: NodeId) -> Result<(), Error> {
        if !self.returning().contains(&node) {
            // It has just been lost: it stays away for as long as it was told.
            tokio::time::sleep(self.tuning().rejoin_after.unwrap_or_default()).await;
        }
        self.wait_for(writer, Truth::Writer, START_LIMIT).await?;
        self.rejoin_to(node, writer).await
    }

    fn check_candidate(&self, to: NodeId) -> Result<(), Error> {
        let server = self.server(to);
        let reason = if to == self.writer() {
            "it is the writer already"
        } else if !server.is_running() {
            "it is not running"
        } else if server.frozen().is_some() {
            "it is frozen"
        } else {
            return Ok(());
        };
        Err(Error::WrongState { verb: "promote", node: to, reason: reason.to_owned() })
    }

    async fn lose(self: &Arc<Self>, writer: NodeId, loss: Loss) -> Result<(), Error> {
        match loss {
            Loss::None => Ok(()),
            Loss::Planned => {
                self.server(writer).stop(STEP_LIMIT).await?;
                self.mark_lost(writer)
            }
            Loss::Fault(Fault::Crash) if !self.server(writer).is_running() => Ok(()),
            Loss::Fault(Fault::Crash) => self.crash(writer).await,
            Loss::Fault(Fault::Freeze(scope)) => self.freeze(writer, scope).await,
            Loss::Fault(Fault::Cut(cut)) => self.cut(writer, cut).await,
        }
    }

    fn draw_promotion_time(&self, loss: Loss) -> Duration {
        if matches!(loss, Loss::None) {
            return Duration::ZERO;
        }
        let between = self.tuning().promotion_time;
        let spread = between.end().saturating_sub(*between.start());
        let part = self.draw.lock().unwrap_or_else(PoisonError::into_inner).f64();
        *between.start() + spread.mul_f64(part)
    }

    /// Takes the survivors off the old writer, so that it can acknowledge nothing more, and picks the one that
    /// has received most, or brings the wanted one there. Gives also the other survivor.
    async fn elect(&self, old: NodeId, wanted: Option<NodeId>) -> Result<(NodeId, Option<NodeId>), Error> {
        let mut standing = Vec::new();
        for node in NodeId::ALL {
            if self.stands(node, old) {
                self.configure(node, None)?;
                self.server(node).reload();
                standing.push(node);
            }
        }
        let mut received = Vec::new();
        for &node in &standing {
            received.push((self.received(node).await?, node));
        }
        let (most, best) = received.iter().copied().max().ok_or(Error::NoCandidate { old_writer: old })?;
        let chosen = wanted.unwrap_or(best);
        let own = received.iter().find(|(_, node)| *node == chosen).map(|(position, _)| *position);
        match own {
            None => {
                let reason = "it no longer runs".to_owned();
                return Err(Error::WrongState { verb: "promote", node: chosen, reason });
            }
            Some(own) if own < most => self.fetch_from(chosen, best, most).await?,
            Some(_) => {}
        }
        Ok((chosen, standing.into_iter().find(|node| *node != chosen)))
    }

    /// How far a standby has got, after its connection to the old writer has ended.
    async fn received(&self, node: NodeId) -> Result<u64, Error> {
        let control = self.control(node).await?;
        let end = Instant::now() + STEP_LIMIT;
        let receiving = "SELECT count(*) FROM pg_stat_wal_receiver";
        while control.text("end of streaming", receiving).await?.as_deref() != Some("0") {
            if Instant::now() >= end {
                let what = format!("{node} stops streaming from the old writer");
                return Err(Error::Deadline { what, limit: STEP_LIMIT });
            }
            tokio::time::sleep(ATTEMPT).await;
        }
        self.position(&control).await
    }

    async fn position(&self, control: &Control) -> Result<u64, Error> {
        // What was received is unset or too low after a restart, what was replayed lags: the greater holds.
        let sql =
            "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), '0/0') - '0/0')::bigint";
        let text = control.text("position", sql).await?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// Lets a standby stream from another until it has as much.
    async fn fetch_from(&self, node: NodeId, source: NodeId, position: u64) -> Result<(), Error> {
        self.configure(node, Some(source))?;
        self.server(node).reload();
        let control = self.control(node).await?;
        let end = Instant::now() + STEP_LIMIT;
        while self.position(&control).await? < position {
            if Instant::now() >= end {
                let what = format!("{node} receives what {source} has");
                return Err(Error::Deadline { what, limit: STEP_LIMIT });
            }
            tokio::time::sleep(ATTEMPT).await;
        }
        self.configure(node, None)?;
        self.server(node).reload();
        Ok(())
    }

    /// Promotes a standby, lets the other one follow it, and gives the time of the first acknowledged write.
    async fn elevate(&self, node: NodeId, other: Option<NodeId>) -> Result<Instant, Error> {
        let tuning = self.tuning();
        let server = self.server(node);
        // Told before the promotion: it follows over the change of timelines without a new connection.
        if let Some(other) = other {
            self.configure(other, Some(node))?;
            self.server(other).reload();
        }
        let epoch = self.promotions.fetch_add(1, Ordering::AcqRel) + 1;
        let monitor = if tuning.restart_on_promote {
            server.stop(STEP_LIMIT).await?;
            server.spawn(Start::AsPromoted)?;
            None
        } else {
            let monitor = self.control(node).await?;
            server.promote()?;
            Some(monitor)
        };
        let restart = async {
            if let Some(other) = other.filter(|_| tuning.restart_readers) {
                self.server(other).stop(STEP_LIMIT).await?;
                self.server(other).spawn(Start::AsItIs)?;
            }
            Ok(())
        };
        let (t_accepting, ()) = tokio::try_join!(biased; self.first_write(node, monitor), restart)?;
        for follower in [Some(node), other].into_iter().flatten() {
            self.server(follower).set_epoch(epoch);
        }
        Ok(t_accepting)
    }

    /// Tries to write until a write is acknowledged.
    async fn first_write(&self, node: NodeId, mut monitor: Option<Control>) -> Result<Instant, Error> {
        let end = Instant::now() + START_LIMIT;
        let mut last = "no attempt yet".to_owned();
        while Instant::now() < end {
            let control = match monitor.take() {
                Some(control) if !control.is_closed() => control,
                _ => self.server(node).accepting(&self.superuser_password, DATABASE, START_LIMIT).await?,
            };
            match control.run("first write", "INSERT INTO public.accepting DEFAULT VALUES").await {
                Ok(()) => return Ok(Instant::now()),
                Err(error) => last = error.to_string(),
            }
            monitor = Some(control);
            tokio::time::sleep(ATTEMPT).await;
        }
        let what =
            format!("{node} accepts a write ({last}); the end of its log: {}", self.server(node).log_end());
        Err(Error::Deadline { what, limit: START_LIMIT })
    }

    /// Publishes the new writer in the topology and, with the lag, in the names.
    fn announce(&self, node: NodeId, other: Option<NodeId>) -> Result<(), Error> {
        self.writer.store(node.index(), Ordering::Release);
        self.topology.publish(|_, writer| *writer = node)?;
        self.names.point(&self.cluster_endpoint(), self.clients_reach[node.index()].ip());
        if self.reader.load(Ordering::Acquire) == node.index()
            && let Some(other) = other
        {
            self.point_reader(other);
        }
        Ok(())
    }

    pub(crate) fn point_reader(&self, node: NodeId) {
        self.reader.store(node.index(), Ordering::Release);
        self.names.point(&self.reader_endpoint(), self.clients_reach[node.index()].ip());
    }
}
