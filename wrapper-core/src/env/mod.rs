//! Clock, DNS, randomness: everything that core and plugins must not reach on their own (R8).
//!
//! What lives here: [`Environment`], [`Deadline`], the [`Resolver`] trait, [`watch`]. What may not: anything that knows of
//! databases. The few calls that `clippy.toml` forbids elsewhere are made in this folder.
#![allow(
    clippy::disallowed_methods,
    reason = "the one place where clock, DNS and randomness are reached (R8)"
)]

mod deadline;
mod resolver;
pub mod watch;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub use tokio::time::Instant;

pub use deadline::Deadline;
pub use resolver::{Resolver, SystemResolver};

type WallClock = dyn Fn() -> SystemTime + Send + Sync;

/// The outside world of a cluster: monotonic and wall clock, name resolution, randomness.
///
/// Cheap to clone. The monotonic clock is tokio's, which pauses under `tokio::time::pause`; so the same seed and
/// the same script give the same trace.
///
/// ```
/// use wrapper_core::env::Environment;
///
/// let environment = Environment::builder().seed(7).build();
/// let twin = Environment::builder().seed(7).build();
/// assert_eq!(environment.random(100), twin.random(100));
/// ```
#[derive(Clone)]
pub struct Environment(Arc<Inner>);

struct Inner {
    resolver: Arc<dyn Resolver>,
    wall: Arc<WallClock>,
    random: Mutex<fastrand::Rng>,
}

impl Environment {
    /// Starts from the system's clock, resolver and entropy.
    pub fn builder() -> EnvironmentBuilder {
        EnvironmentBuilder { resolver: None, wall: None, seed: None }
    }

    /// The monotonic time.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The wall-clock time; for reports, and for what is dated: the age of credentials. No other decision depends on it.
    pub fn wall_clock(&self) -> SystemTime {
        (self.0.wall)()
    }

    /// Waits for `duration`.
    ///
    /// # Cancellation
    /// Safe: nothing is held.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until `instant`.
    ///
    /// # Cancellation
    /// Safe: nothing is held.
    pub async fn sleep_until(&self, instant: Instant) {
        tokio::time::sleep_until(instant).await;
    }

    /// The resolver.
    pub fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.0.resolver
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn random(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        self.0.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..bound)
    }

    /// `base` plus or minus up to `percent` of it (at most 100).
    pub fn jitter(&self, base: Duration, percent: u32) -> Duration {
        let nanos = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX);
        let span = nanos / 100 * u64::from(percent.min(100));
        let shifted = nanos.saturating_sub(span).saturating_add(self.random(span.saturating_mul(2).max(1)));
        Duration::from_nanos(shifted)
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        self.0.random.lock().unwrap_or_else(PoisonError::into_inner).shuffle(items);
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// Builds an [`Environment`].
#[must_use]
pub struct EnvironmentBuilder {
    resolver: Option<Arc<dyn Resolver>>,
    wall: Option<Arc<WallClock>>,
    seed: Option<u64>,
}

impl EnvironmentBuilder {
    /// Replaces the system's resolver.
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Replaces the wall clock.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall = Some(Arc::new(clock));
        self
    }

    /// Makes every random choice repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The environment.
    pub fn build(self) -> Environment {
        let random = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Environment(Arc::new(Inner {
            resolver: self.resolver.unwrap_or_else(|| Arc::new(SystemResolver)),
            wall: self.wall.unwrap_or_else(|| Arc::new(SystemTime::now)),
            random: Mutex::new(random),
        }))
    }
}

impl fmt::Debug for EnvironmentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentBuilder").field("seed", &self.seed).finish_non_exhaustive()
    }
}
