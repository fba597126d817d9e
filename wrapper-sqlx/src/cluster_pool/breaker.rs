//! The breaker of one host: whether connections are asked of it at the moment.
//!
//! What lives here: [`Breaker`], the states and the rules between them. What may not: what an attempt does, which host
//! takes the place of one that is not asked.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wrapper_core::env::{Environment, Instant};
use wrapper_core::observe::BreakerState;

/// So many failures in a row open a breaker.
const THRESHOLD: u32 = 3;
/// How long an open breaker refuses before the first trial; twice as long after each failed one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest that an open breaker refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

type Tell = dyn Fn(BreakerState) + Send + Sync;

/// Closed, it lets every attempt pass and counts the failures in a row. Open, it lets none pass until its time is over,
/// or until somebody else has seen the host answer. Then it is half open: one attempt at a time passes, the first
/// success closes it, a failure opens it again.
pub(super) struct Breaker {
    env: Environment,
    state: Mutex<State>,
    tell: Box<Tell>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    /// Failures in a row while it is closed.
    failures: u32,
    /// How often it was opened since it was last closed.
    opened: u32,
    /// Which attempts may still speak: those of an earlier mode may not.
    era: u64,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Closed,
    Open { since: Instant, until: Instant },
    HalfOpen { trial: bool },
}

/// An attempt that was let through; dropped without a word, it says nothing of the host.
#[must_use]
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    era: u64,
    trial: bool,
}

impl Breaker {
    /// A closed breaker; `tell` is called with each new state.
    pub(super) fn new(env: Environment, tell: impl Fn(BreakerState) + Send + Sync + 'static) -> Self {
        let state = State { mode: Mode::Closed, failures: 0, opened: 0, era: 0 };
        Self { env, state: Mutex::new(state), tell: Box::new(tell) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an attempt through, or refuses it. `seen` is when somebody else has last seen the host answer.
    pub(super) fn admit(&self, seen: Option<Instant>) -> Option<Admission<'_>> {
        let now = self.env.now();
        let mut told = None;
        let admitted = {
            let mut state = self.state();
            if let Mode::Open { since, until } = state.mode
                && (now >= until || seen.is_some_and(|seen| seen > since))
            {
                state.mode = Mode::HalfOpen { trial: false };
                state.era += 1;
                told = Some(BreakerState::HalfOpen);
            }
            let era = state.era;
            match &mut state.mode {
                Mode::Closed => Some(Admission { breaker: self, era, trial: false }),
                Mode::HalfOpen { trial: trial @ false } => {
                    *trial = true;
                    Some(Admission { breaker: self, era, trial: true })
                }
                Mode::Open { .. } | Mode::HalfOpen { trial: true } => None,
            }
        };
        self.tell(told);
        admitted
    }

    /// Whether an attempt would be let through now.
    pub(super) fn would_admit(&self) -> bool {
        match self.state().mode {
            Mode::Closed => true,
            Mode::Open { until, .. } => self.env.now() >= until,
            Mode::HalfOpen { trial } => !trial,
        }
    }

    /// What it is now.
    pub(super) fn current(&self) -> BreakerState {
        match self.state().mode {
            Mode::Closed => BreakerState::Closed,
            Mode::Open { .. } => BreakerState::Open,
            Mode::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// A connection that had been let through earlier was lost.
    pub(super) fn note_lost(&self) {
        let told = {
            let mut state = self.state();
            match state.mode {
                Mode::Closed => self.count(&mut state),
                // It was opened to a host that is known to be lost, or that is being tried anew.
                Mode::Open { .. } | Mode::HalfOpen { .. } => None,
            }
        };
        self.tell(told);
    }

    /// An attempt that was let through was given up, because the host does not answer.
    pub(super) fn note_stuck(&self) {
        let told = {
            let mut state = self.state();
            match state.mode {
                Mode::Closed => self.count(&mut state),
                Mode::HalfOpen { .. } => self.open(&mut state),
                Mode::Open { .. } => None,
            }
        };
        self.tell(told);
    }

    fn count(&self, state: &mut State) -> Option<BreakerState> {
        state.failures += 1;
        if state.failures < THRESHOLD { None } else { self.open(state) }
    }

    fn open(&self, state: &mut State) -> Option<BreakerState> {
        let doubled = FIRST_PAUSE.saturating_mul(1_u32 << state.opened.min(16));
        let pause = self.env.jitter(doubled.min(LONGEST_PAUSE), 20);
        let since = self.env.now();
        *state = State {
            mode: Mode::Open { since, until: since + pause },
            failures: 0,
            opened: state.opened.saturating_add(1),
            era: state.era + 1,
        };
        Some(BreakerState::Open)
    }

    /// Outside the lock: observers may ask.
    fn tell(&self, state: Option<BreakerState>) {
        if let Some(state) = state {
            (self.tell)(state);
        }
    }
}

impl Admission<'_> {
    /// The host has let the connection in, or has answered on it.
    pub(super) fn succeeded(mut self) {
        let told = {
            let mut state = self.breaker.state();
            if state.era != self.era {
                None
            } else if self.trial {
                *state = State { mode: Mode::Closed, failures: 0, opened: 0, era: state.era + 1 };
                Some(BreakerState::Closed)
            } else {
                state.failures = 0;
                None
            }
        };
        self.trial = false;
        self.breaker.tell(told);
    }

    /// The host did not let the connection in, or did not answer on it.
    pub(super) fn failed(mut self) {
        let told = {
            let mut state = self.breaker.state();
            if state.era != self.era {
                None
            } else if self.trial {
                self.breaker.open(&mut state)
            } else {
                self.breaker.count(&mut state)
            }
        };
        self.trial = false;
        self.breaker.tell(told);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if !self.trial {
            return;
        }
        let mut state = self.breaker.state();
        if state.era == self.era {
            // Given up by its caller: the next one may try.
            state.mode = Mode::HalfOpen { trial: false };
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Told = Arc<Mutex<Vec<BreakerState>>>;

    fn breaker(seed: u64) -> (Breaker, Environment, Told) {
        let env = Environment::builder().seed(seed).build();
        let told = Told::default();
        let tell = Arc::clone(&told);
        (Breaker::new(env.clone(), move |state| tell.lock().unwrap().push(state)), env, told)
    }

    fn fail(breaker: &Breaker) {
        breaker.admit(None).expect("let through").failed();
    }

    /// How long it refuses.
    async fn refuses_for(breaker: &Breaker, env: &Environment) -> Duration {
        let begin = env.now();
        while !breaker.would_admit() {
            assert!(breaker.admit(None).is_none());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        env.now() - begin
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let (breaker, _, told) = breaker(1);
        for _ in 0..5 {
            fail(&breaker);
            fail(&breaker);
            breaker.admit(None).unwrap().succeeded();
        }
        assert_eq!(breaker.current(), BreakerState::Closed);
        fail(&breaker);
        breaker.note_lost();
        assert!(told.lock().unwrap().is_empty());
        fail(&breaker);
        assert_eq!(breaker.current(), BreakerState::Open);
        assert!(breaker.admit(None).is_none());
        assert_eq!(*told.lock().unwrap(), [BreakerState::Open]);
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lets_one_trial_through_at_a_time() {
        let (breaker, env, told) = breaker(2);
        (0..3).for_each(|_| fail(&breaker));
        refuses_for(&breaker, &env).await;
        let trial = breaker.admit(None).unwrap();
        assert_eq!(breaker.current(), BreakerState::HalfOpen);
        assert!(breaker.admit(None).is_none() && !breaker.would_admit());
        // Given up by its caller, it says nothing: the next one is let through.
        drop(trial);
        let trial = breaker.admit(None).unwrap();
        assert!(breaker.admit(None).is_none());
        trial.succeeded();
        let (first, second) = (breaker.admit(None).unwrap(), breaker.admit(None).unwrap());
        assert_eq!(breaker.current(), BreakerState::Closed);
        drop((first, second));
        assert_eq!(*told.lock().unwrap(), [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_trial_makes_the_pause_longer_up_to_a_limit_and_the_seed_repeats_it() {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let (breaker, env, _) = breaker(3);
            (0..3).for_each(|_| fail(&breaker));
            let mut pauses = Vec::new();
            for _ in 0..8 {
                pauses.push(refuses_for(&breaker, &env).await);
                fail(&breaker);
            }
            runs.push(pauses);
        }
        assert_eq!(runs[0], runs[1], "the same seed");
        for (round, pause) in runs[0].iter().enumerate() {
            let base = (FIRST_PAUSE * (1 << round)).min(LONGEST_PAUSE);
            let slack = Duration::from_millis(1);
            assert!(
                *pause >= base * 8 / 10 && *pause <= base * 12 / 10 + slack,
                "round {round}: {pause:?} of {base:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_others_have_seen_answer_is_tried_at_once() {
        let (breaker, env, _) = breaker(4);
        let before = env.now();
        tokio::time::advance(Duration::from_millis(1)).await;
        (0..3).for_each(|_| fail(&breaker));
        assert!(breaker.admit(Some(before)).is_none(), "seen before it was opened");
        tokio::time::advance(Duration::from_millis(1)).await;
        let trial = breaker.admit(Some(env.now())).expect("seen since");
        trial.failed();
        assert_eq!(breaker.current(), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn what_began_before_it_was_opened_no_longer_counts() {
        let (breaker, env, told) = breaker(5);
        let (late, later) = (breaker.admit(None).unwrap(), breaker.admit(None).unwrap());
        (0..3).for_each(|_| fail(&breaker));
        refuses_for(&breaker, &env).await;
        let trial = breaker.admit(None).unwrap();
        late.succeeded();
        later.failed();
        breaker.note_lost();
        assert_eq!(breaker.current(), BreakerState::HalfOpen);
        trial.succeeded();
        assert_eq!(breaker.current(), BreakerState::Closed);
        assert_eq!(told.lock().unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_was_given_up_as_stuck_opens_it_again() {
        let (breaker, env, _) = breaker(6);
        (0..3).for_each(|_| fail(&breaker));
        refuses_for(&breaker, &env).await;
        drop(breaker.admit(None).unwrap());
        breaker.note_stuck();
        assert_eq!(breaker.current(), BreakerState::Open);
        breaker.note_stuck();
        assert!(breaker.admit(None).is_none());
    }
}
