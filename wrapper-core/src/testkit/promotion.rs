//! How the writer's role passes from one host to another, in the phases in which it does on Aurora.

use std::time::Duration;

use super::cluster::ScriptedCluster;
use super::state::Health;
use crate::host::HostRole;

/// What becomes of the old writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Abandon {
    /// Its process dies: connections are reset, connects refused.
    Crashes,
    /// It restarts as a reader: connections are reset, connects answered with *starting up* for a while.
    StepsDown,
    /// It falls silent.
    Freezes,
    /// It does not know: it accepts writes on, and loses them.
    Unaware,
}

/// A failover or a switchover: to which host, and how long each phase takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailoverPlan {
    /// The host that is promoted.
    pub to: usize,
    /// What becomes of the old writer.
    pub old: Abandon,
    /// How long nobody accepts writes.
    pub promotion: Duration,
    /// How long the new writer restarts before it accepts writes, if it does: its connections are reset.
    pub restart: Option<Duration>,
    /// How long after the promotion the other hosts' topologies, or the new writer's own, are stale at most.
    pub stale_topology: Duration,
    /// How long after the promotion the writer endpoint leads to the old writer.
    pub stale_dns: Duration,
}

impl FailoverPlan {
    /// The writer crashes, `to` is promoted: 500 ms without a writer, no restart, topology at once, DNS after 5 s.
    pub fn crash(to: usize) -> Self {
        Self {
            to,
            old: Abandon::Crashes,
            promotion: Duration::from_millis(500),
            restart: None,
            stale_topology: Duration::ZERO,
            stale_dns: Duration::from_secs(5),
        }
    }

    /// A planned switchover to `to`: both restart.
    pub fn switchover(to: usize) -> Self {
        Self { old: Abandon::StepsDown, restart: Some(Duration::from_millis(200)), ..Self::crash(to) }
    }

    /// The same with another fate of the old writer.
    #[must_use]
    pub fn old(mut self, old: Abandon) -> Self {
        self.old = old;
        self
    }
}

impl ScriptedCluster {
    /// Moves the writer's role as `plan` says, and returns when the new writer accepts writes.
    ///
    /// The old writer stays as the plan leaves it; see [`rejoin`](Self::rejoin).
    ///
    /// # Cancellation
    /// The cluster stays in the phase in which it is.
    pub async fn fail_over(&self, plan: FailoverPlan) {
        let clock = &self.shared.clock;
        let old = std::mem::take(&mut self.shared.lock().owner);
        if let Some(old) = old.filter(|old| *old != plan.to) {
            match plan.old {
                Abandon::Crashes => {
                    self.set_role(old, HostRole::Reader);
                    self.crash(old);
                }
                Abandon::StepsDown => {
                    self.set_role(old, HostRole::Reader);
                    self.set_health(old, Health::Starting);
                    self.cut(old);
                }
                Abandon::Freezes => {
                    self.set_role(old, HostRole::Reader);
                    self.freeze(old);
                }
                Abandon::Unaware => {}
            }
        }
        clock.sleep(plan.promotion).await;
        if let Some(restart) = plan.restart {
            let before = self.health(plan.to);
            self.set_health(plan.to, Health::Starting);
            self.cut(plan.to);
            clock.sleep(restart).await;
            self.set_health(plan.to, before);
        }
        if let (Some(old), Abandon::StepsDown) = (old.filter(|old| *old != plan.to), plan.old) {
            self.set_health(old, Health::Up);
        }
        let now = clock.now();
        let mut state = self.shared.lock();
        let state = &mut *state;
        state.owner = Some(plan.to);
        state.hosts[plan.to].role = HostRole::Writer;
        let stale = u64::try_from(plan.stale_topology.as_millis()).unwrap_or(u64::MAX);
        for host in &mut state.hosts {
            let lag = Duration::from_millis(clock.random(stale.saturating_add(1)));
            host.sees(now + lag, Some(plan.to));
        }
        let from = now + plan.stale_dns;
        state.endpoint.retain(|(since, _)| *since <= from);
        state.endpoint.push((from, plan.to));
    }

    /// A host that was left behind by a failover comes back as a reader: restarted, up, answering, its connections
    /// reset. Does nothing to the writer.
    pub fn rejoin(&self, host: usize) {
        if self.writer() == Some(host) {
            return;
        }
        self.set_role(host, HostRole::Reader);
        self.set_health(host, Health::Up);
        self.cut(host);
        self.thaw(host);
    }
}
