//! Which reader a new connection of a reader pool goes to.
//!
//! What lives here: [`Readers`]: the plan for the next connect, and which readers did not answer lately. What may not:
//! connects.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wrapper_core::env::{Environment, Instant};
use wrapper_core::host::{HostInfo, HostKey, HostSelector};
use wrapper_core::topology::Topology;

/// How long a reader that did not answer is passed over, while there is another one.
const PASSED_OVER: Duration = Duration::from_secs(5);

/// The readers of a pool.
#[derive(Debug)]
pub(super) struct Readers {
    selector: Arc<dyn HostSelector>,
    /// Never the writer (`failover_mode=strict_reader`).
    strict: bool,
    env: Environment,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    failed: Vec<(HostKey, Instant)>,
    /// Connections were led to the writer, because no reader answered, and no reader was found since.
    fallen_back: bool,
}

#[derive(Debug)]
struct Plan {
    host: HostInfo,
    /// When the host last answered.
    proved: Option<Instant>,
}

impl Readers {
    pub(super) fn new(selector: Arc<dyn HostSelector>, strict: bool, env: Environment) -> Self {
        Self { selector, strict, env, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host for one connect: a reader that answers; else any reader that is not in `except`; else the writer, where
    /// it may be used.
    pub(super) fn choose(&self, topology: &Topology, except: &[HostKey]) -> Option<HostInfo> {
        let left: Vec<&HostInfo> = topology.readers().filter(|host| !except.contains(&host.key)).collect();
        let sound: Vec<&HostInfo> = left.iter().copied().filter(|host| !self.has_failed(&host.key)).collect();
        let chosen = match (sound.is_empty(), self.may_use_writer(topology)) {
            (false, _) => self.selector.pick(&sound, &self.env),
            (true, true) => topology.writer().filter(|writer| !except.contains(&writer.key)),
            (true, false) => None,
        };
        if sound.is_empty() && chosen.is_some() {
            self.state().fallen_back = true;
        }
        chosen.or_else(|| self.selector.pick(&left, &self.env)).cloned()
    }

    /// Whether the writer takes the place of a reader: none is known that answers.
    pub(super) fn may_use_writer(&self, topology: &Topology) -> bool {
        !self.strict && topology.readers().all(|host| self.has_failed(&host.key))
    }

    fn has_failed(&self, host: &HostKey) -> bool {
        let now = self.env.now();
        self.state().failed.iter().any(|(failed, at)| failed == host && now < *at + PASSED_OVER)
    }

    /// A host did not let a connection in.
    pub(super) fn note_failed(&self, host: &HostKey) {
        let now = self.env.now();
        let mut state = self.state();
        state.failed.retain(|(failed, _)| failed != host);
        state.failed.push((host.clone(), now));
    }

    /// A host let a connection in.
    pub(super) fn note_answered(&self, host: &HostKey) {
        let now = self.env.now();
        let mut state = self.state();
        state.failed.retain(|(failed, _)| failed != host);
        if let Some(plan) = state.plan.as_mut().filter(|plan| plan.host.key == *host) {
            plan.proved = Some(now);
        }
    }

    /// The host that the pool's options lead to.
    pub(super) fn planned(&self) -> Option<HostInfo> {
        self.state().plan.as_ref().map(|plan| plan.host.clone())
    }

    /// Whether the planned host has not answered for `this_long`.
    pub(super) fn is_unproved_for(&self, this_long: Duration) -> bool {
        let now = self.env.now();
        let proved = self.state().plan.as_ref().and_then(|plan| plan.proved);
        proved.is_none_or(|at| now.saturating_duration_since(at) >= this_long)
    }

    /// Whether connections lead to the writer because no reader answered.
    pub(super) fn has_fallen_back(&self) -> bool {
        self.state().fallen_back
    }

    /// A reader answers again; whether connections lead to the writer until now.
    pub(super) fn end_fall_back(&self) -> bool {
        std::mem::take(&mut self.state().fallen_back)
    }

    /// Plans the next connect; gives the plan before and the one now.
    pub(super) fn advance(&self, topology: &Topology) -> (Option<HostInfo>, Option<HostInfo>) {
        let next = self.choose(topology, &[]);
        let mut state = self.state();
        let before = state.plan.take();
        let proved =
            before.as_ref().filter(|plan| Some(&plan.host.key) == next.as_ref().map(|next| &next.key));
        let proved = proved.and_then(|plan| plan.proved);
        state.plan = next.clone().map(|host| Plan { host, proved });
        (before.map(|plan| plan.host), next)
    }

    /// Whether the planned host is still one that would be chosen.
    pub(super) fn plan_holds(&self, topology: &Topology) -> bool {
        self.planned().is_some_and(|host| {
            let listed = topology.readers().any(|reader| reader.key == host.key);
            (listed && !self.has_failed(&host.key)) || (!listed && self.may_use_writer(topology))
        })
    }
}

#[cfg(test)]
mod tests {
    use wrapper_core::host::{HostRole, SelectorOptions, Strategy};

    use super::*;

    fn host(name: &str, role: HostRole) -> HostInfo {
        HostInfo::new(name, 5432, role)
    }

    fn readers(strict: bool) -> Readers {
        let env = Environment::builder().seed(1).build();
        let selector = Strategy::RoundRobin.selector(&SelectorOptions::default(), &env);
        Readers::new(selector.into(), strict, env)
    }

    fn topology() -> Topology {
        Topology::new(vec![
            host("w", HostRole::Writer),
            host("a", HostRole::Reader),
            host("b", HostRole::Reader),
        ])
    }

    #[tokio::test(start_paused = true)]
    async fn plans_go_round_and_pass_over_a_reader_that_does_not_answer() {
        let (readers, topology) = (readers(false), topology());
        let mut seen: Vec<String> =
            (0..4).filter_map(|_| readers.advance(&topology).1).map(|host| host.host().to_owned()).collect();
        assert_eq!(seen[..2], seen[2..]);
        seen.sort();
        assert_eq!(seen, ["a", "a", "b", "b"]);
        readers.note_failed(&HostKey::new("a", 5432));
        for _ in 0..3 {
            assert_eq!(readers.advance(&topology).1.map(|host| host.host().to_owned()).as_deref(), Some("b"));
        }
        tokio::time::advance(PASSED_OVER).await;
        assert!((0..2).any(|_| readers.choose(&topology, &[]).is_some_and(|host| host.host() == "a")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_writer_takes_over_when_no_reader_answers_unless_readers_are_asked_for_strictly() {
        for strict in [false, true] {
            let (readers, topology) = (readers(strict), topology());
            assert!(!readers.may_use_writer(&topology));
            ["a", "b"].iter().for_each(|name| readers.note_failed(&HostKey::new(name, 5432)));
            let chosen = readers.choose(&topology, &[]).unwrap();
            assert_eq!(chosen.role == HostRole::Writer, !strict, "{chosen}");
            let alone = Topology::new(vec![host("w", HostRole::Writer)]);
            assert_eq!(readers.choose(&alone, &[]).is_some(), !strict);
        }
    }
}
