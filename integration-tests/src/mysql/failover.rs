//! Changes of the writer: who is promoted, how, and from when on the new writer accepts writes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::cluster::{CONTROL_LIMIT, Inner, MySqlCluster};
use super::conf::Role;
use super::control::Control;
use super::start::{START_LIMIT, first_write};
use super::{Error, Truth};
use crate::verbs::{FailoverRecord, Fault, NodeId};

/// How long one step of a failover (a stop, an election) may take.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(20);

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

impl MySqlCluster {
    /// Crashes the writer (unless it is down already) and promotes, after the promotion time, the replica that has
    /// received most. Returns when the new writer accepts writes. The old writer comes back as a reader later
    /// ([`rejoin_after`](super::Builder::rejoin_after)).
    ///
    /// # Errors
    /// When no replica can be promoted, or a step takes too long.
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

    /// Stops the writer as an administrator does and promotes a chosen node after the promotion time. The old writer
    /// comes back as a reader later.
    ///
    /// # Errors
    /// When `to` is the writer or does not run, or a step takes too long.
    ///
    /// # Cancellation
    /// The switchover goes on when the future is dropped.
    pub async fn planned_switchover(&self, to: NodeId) -> Result<FailoverRecord, Error> {
        self.inner.switch_in_task(Loss::Planned, Some(to)).await
    }

    /// Promotes a chosen node now, after it received what any replica has. The old writer is left as it is: lost
    /// already, or alive but with no replica that listens, so that its commits no longer return.
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

/// A replica that can be promoted, or follow.
struct Candidate {
    node: NodeId,
    control: Control,
    position: u64,
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

        let (chosen, other) = self.elect(old_writer, to).await?;
        let (new_writer, other_node) = (chosen.node, other.as_ref().map(|other| other.node));
        let t_accepting = match helper {
            Some(helper) if other.is_none() => {
                let back = self.bring_back(helper, new_writer);
                tokio::try_join!(biased; self.elevate(chosen, None), back)?.0
            }
            _ => self.elevate(chosen, other).await?,
        };
        self.announce(new_writer, other_node);
        if !self.server(old_writer).is_running() {
            self.rejoin_later(old_writer);
        }
        Ok(FailoverRecord { old_writer, new_writer, t_crash, t_accepting, promotion_time })
    }

    /// Who, of the nodes that are down, comes back to acknowledge the new writer's commits when only one node is left
    /// to promote; none when two are.
    ///
    /// An error, before anything is done, when nobody could be promoted or acknowledge.
    fn acknowledger(&self, old: NodeId, loss: Loss) -> Result<Option<NodeId>, Error> {
        let standing: Vec<NodeId> = NodeId::ALL.into_iter().filter(|node| self.stands(*node, old)).collect();
        let left = match standing[..] {
            [] => return Err(Error::NoCandidate { old_writer: old }),
            [left] => left,
            _ => return Ok(None),
        };
        let old_returns =
            matches!(loss, Loss::Planned | Loss::Fault(Fault::Crash)) && self.tuning().rejoin_after.is_some();
        let waiting = self.returning().into_iter().find(|node| *node != left);
        match waiting.or(old_returns.then_some(old)) {
            Some(helper) => Ok(Some(helper)),
            None => {
                let reason = "it would be left alone, and a commit waits for a replica; bring another node back first \
                              (`rejoin`, `restart`, `thaw`), or let old writers come back (`rejoin_after`)";
                Err(Error::WrongState { verb: "promote", node: left, reason: reason.to_owned() })
            }
        }
    }

    /// Whether a node can be promoted; one that a promotion has passed by has another history.
    fn stands(&self, node: NodeId, old: NodeId) -> bool {
        let server = self.server(node);
        node != old && server.is_running() && !server.is_frozen() && self.is_current(node)
    }

    /// Brings a node back as the only replica of a writer that is being promoted: its first commit waits for this.
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
        } else if server.is_frozen() {
            "it is frozen"
        } else if !self.is_current(to) {
            "another promotion has passed it by; rejoin it"
        } else {
            return Ok(());
        };
        Err(Error::WrongState { verb: "promote", node: to, reason: reason.to_owned() })
    }

    async fn lose(self: &Arc<Self>, writer: NodeId, loss: Loss) -> Result<(), Error> {
        match loss {
            Loss::None => Ok(()),
            Loss::Planned => {
                let mut control = self.control(writer).await?;
                control.allow(STEP_LIMIT);
                control.run("stop", control.kind.shut_down()).await?;
                self.server(writer).until_ended(STEP_LIMIT).await?;
                self.shut_front(writer).await;
                self.mark_lost(writer);
                Ok(())
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
    async fn elect(
        &self,
        old: NodeId,
        wanted: Option<NodeId>,
    ) -> Result<(Candidate, Option<Candidate>), Error> {
        let standing = NodeId::ALL.into_iter().filter(|node| self.stands(*node, old));
        let asked = standing.map(|node| async move {
            let mut control = self.control(node).await?;
            let position = control.stop_receiving(STEP_LIMIT).await?;
            Ok(Candidate { node, control, position })
        });
        let mut candidates = futures_util::future::try_join_all(asked).await?;
        candidates.sort_by_key(|candidate| (candidate.position, std::cmp::Reverse(candidate.node)));
        let best = candidates.pop().ok_or(Error::NoCandidate { old_writer: old })?;
        let second = candidates.pop();
        match (wanted, second) {
            (Some(wanted), second) if wanted == best.node => Ok((best, second)),
            (None, second) => Ok((best, second)),
            (Some(wanted), Some(mut second)) if wanted == second.node => {
                if second.position < best.position {
                    self.fetch_from(&mut second, &best).await?;
                }
                Ok((second, Some(best)))
            }
            (Some(wanted), _) => {
                let reason = "it no longer runs".to_owned();
                Err(Error::WrongState { verb: "promote", node: wanted, reason })
            }
        }
    }

    /// Lets a replica replicate from another until it has as much.
    async fn fetch_from(&self, behind: &mut Candidate, best: &Candidate) -> Result<(), Error> {
        behind.control.follow(self.server(best.node).address, &self.secret).await?;
        let end = Instant::now() + STEP_LIMIT;
        while behind.control.position().await? < best.position {
            if Instant::now() >= end {
                let what = format!("{} receives what {} has", behind.node, best.node);
                return Err(Error::Deadline { what, limit: STEP_LIMIT });
            }
            tokio::time::sleep(ATTEMPT).await;
        }
        behind.position = behind.control.stop_receiving(STEP_LIMIT).await?;
        Ok(())
    }

    /// Promotes a replica, lets the other one follow it, and gives the time of the first acknowledged write.
    async fn elevate(&self, chosen: Candidate, other: Option<Candidate>) -> Result<Instant, Error> {
        let tuning = self.tuning();
        let Candidate { node, mut control, .. } = chosen;
        self.configure(node, Role::Writer)?;
        let position = if tuning.restart_on_promote {
            let position = control.leave().await?;
            drop(control);
            self.stop_reader(node).await?;
            control = self.bring_up(node, START_LIMIT).await?;
            position
        } else {
            control.promote().await?
        };
        let epoch = {
            let mut promotions = self.promotions.lock().unwrap_or_else(PoisonError::into_inner);
            promotions.push(position);
            promotions.len()
        };
        self.server(node).set_epoch(epoch);
        let follow = async {
            let Some(other) = other else { return Ok(()) };
            let mut follower = other.control;
            if tuning.restart_readers {
                drop(follower);
                self.stop_reader(other.node).await?;
                follower = self.bring_up(other.node, START_LIMIT).await?;
            }
            follower.follow(self.server(node).address, &self.secret).await?;
            self.server(other.node).set_epoch(epoch);
            Ok(())
        };
        let (t_accepting, ()) = tokio::try_join!(biased; self.first_write(node, control), follow)?;
        Ok(t_accepting)
    }

    pub(crate) async fn stop_reader(&self, node: NodeId) -> Result<(), Error> {
        self.server(node).terminate();
        self.server(node).until_ended(STEP_LIMIT).await?;
        self.shut_front(node).await;
        Ok(())
    }

    /// Tries to write until a write is acknowledged.
    async fn first_write(&self, node: NodeId, mut control: Control) -> Result<Instant, Error> {
        let end = Instant::now() + START_LIMIT;
        // One attempt waits for the first replica; it is not broken off before it must be.
        control.allow(START_LIMIT);
        loop {
            let error = match control.run("first write", &first_write()).await {
                Ok(()) => return Ok(Instant::now()),
                Err(error) => error,
            };
            if Instant::now() >= end {
                let log = self.server(node).log_end();
                let what = format!("{node} accepts a write ({error}); the end of its log: {log}");
                return Err(Error::Deadline { what, limit: START_LIMIT });
            }
            tokio::time::sleep(ATTEMPT).await;
            let server = self.server(node);
            control = server.accepting(server.address, &self.secret, CONTROL_LIMIT).await?;
            control.allow(START_LIMIT);
        }
    }

    /// Publishes the new writer in the topology and, with the lag, in the names.
    fn announce(&self, node: NodeId, other: Option<NodeId>) {
        self.writer.store(node.index(), Ordering::Release);
        self.topology.publish(|_, writer| *writer = node);
        self.names.point(&self.cluster_endpoint(), self.clients_reach[node.index()].ip());
        if self.reader.load(Ordering::Acquire) == node.index()
            && let Some(other) = other
        {
            self.point_reader(other);
        }
    }

    pub(crate) fn point_reader(&self, node: NodeId) {
        self.reader.store(node.index(), Ordering::Release);
        self.names.point(&self.reader_endpoint(), self.clients_reach[node.index()].ip());
    }
}
