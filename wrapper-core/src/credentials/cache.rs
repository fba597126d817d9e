//! The credentials of a cluster: one caller fetches for all, and a new one is fetched before the old one ends.
//!
//! A fetch is a task of the cluster, so that the caller who started it may give up without harm to the others. Nothing
//! runs while nobody connects: what is due is found out by the next connect.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;

use super::{Credential, CredentialKey, CredentialProvider, FetchRequest, Fetched};
use crate::cluster::ClusterCore;
use crate::env::{Deadline, Environment, Instant, watch};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::observe::Event;

/// The pause after a failed fetch; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(200);
/// The same after an answer that asks for less.
const THROTTLED: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many refused credentials in a row are replaced at once; after that, a pause lies between two fetches.
const FREE_REFUSALS: u32 = 3;

/// A credential for one connect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lease {
    /// The credential.
    pub credential: Credential,
    /// Whether it had been fetched before the connect asked: should the server refuse it, another one may help.
    pub cached: bool,
    /// Counts the credentials of a key.
    pub number: u64,
}

/// The credentials that the connections of a cluster share, by [`CredentialKey`].
#[derive(Debug, Default)]
pub struct CredentialCache {
    entries: Mutex<BTreeMap<CredentialKey, Entry>>,
}

/// A point in time by both clocks: the monotonic one stands still while a machine sleeps, the wall clock can be set back.
#[derive(Clone, Copy, Debug)]
struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now(env: &Environment) -> Self {
        Self { monotonic: env.now(), wall: env.wall_clock() }
    }

    /// The time since `earlier`, by the clock that says more.
    fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        monotonic.max(self.wall.duration_since(earlier.wall).unwrap_or_default())
    }
}

#[derive(Clone, Debug)]
struct Held {
    credential: Credential,
    number: u64,
    born: Moment,
    /// With jitter: the processes of a fleet that started together do not fetch together.
    fresh_for: Duration,
    usable_for: Duration,
    /// A server has refused it.
    refused: bool,
}

impl Held {
    fn lease(&self, cached: bool) -> Lease {
        Lease { credential: self.credential.clone(), cached, number: self.number }
    }
}

/// Nothing until the fetch has ended.
type Landing = Option<Result<Held>>;

#[derive(Debug, Default)]
struct Entry {
    held: Option<Held>,
    flight: Option<watch::Receiver<Landing>>,
    count: u64,
    failures: u32,
    failed: Option<(Error, Instant)>,
    refusals: u32,
    /// A refused credential is not replaced before.
    patience: Option<Instant>,
}

enum Step {
    Use(Lease),
    Wait(watch::Receiver<Landing>),
    Pause(Instant, Error),
    Fail(Error),
}

impl CredentialCache {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<CredentialKey, Entry>> {
        // Nothing that runs under the lock leaves an entry half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many credentials are held, used up ones included.
    pub fn len(&self) -> usize {
        self.entries().values().filter(|entry| entry.held.is_some()).count()
    }

    /// Whether no credential is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The credential for `key`: the one that is there, or the one that is being fetched, or a new one.
    ///
    /// # Errors
    /// The provider's; at `deadline` a time-out, or the provider's last error where asking again did not help.
    ///
    /// # Cancellation
    /// Safe: the fetch goes on for the others.
    pub async fn get(
        self: &Arc<Self>,
        cluster: &Arc<ClusterCore>,
        provider: &Arc<dyn CredentialProvider>,
        key: &CredentialKey,
        deadline: Deadline,
    ) -> Result<Lease> {
        loop {
            let mut landing = match self.step(cluster, provider, key) {
                Step::Use(lease) => return Ok(lease),
                Step::Wait(landing) => landing,
                Step::Pause(until, error) if until < deadline.at() => {
                    drop(error);
                    cluster.env().sleep_until(until).await;
                    continue;
                }
                Step::Pause(_, error) | Step::Fail(error) => return Err(error),
            };
            let landed = async {
                match landing.wait_for(Option::is_some).await {
                    Ok(landed) => landed.clone().unwrap_or_else(|| Err(ended())),
                    Err(_) => Err(ended()),
                }
            };
            let what = format!("getting the credential ({key})");
            match deadline.run(&what, landed).await {
                // It was under way when the server refused what it has brought; the next one looks for another.
                Ok(held) if held.refused && !deadline.is_over() => {}
                Ok(held) => return Ok(held.lease(false)),
                Err(error) if may_pass(&error) && !deadline.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The server has let a connection in with credential `number` of `key`.
    pub fn accepted(&self, key: &CredentialKey, number: u64) {
        if let Some(entry) = self.entries().get_mut(key) {
            if entry.held.as_ref().is_some_and(|held| held.number == number) {
                entry.refusals = 0;
            }
        }
    }

    /// The server has refused this credential of `key`: the next one who asks has a new one fetched. Of refusals
    /// without end, not each one leads to a fetch. Whether the credential has run out since it was given.
    pub fn refused(&self, env: &Environment, key: &CredentialKey, lease: &Lease) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return false };
        // Fetched again meanwhile it may be the same one.
        let is_it = |held: &&mut Held| {
            held.number == lease.number || held.credential.is_same_login(&lease.credential)
        };
        let Some(held) = entry.held.as_mut().filter(is_it) else { return false };
        let ran_out = !held.usable_for.is_zero() && Moment::now(env).since(held.born) >= held.usable_for;
        if std::mem::replace(&mut held.refused, true) {
            return ran_out;
        }
        entry.refusals = entry.refusals.saturating_add(1);
        if entry.refusals > FREE_REFUSALS {
            let pause = doubled(THROTTLED, entry.refusals - FREE_REFUSALS);
            entry.patience = Some(env.now() + env.jitter(pause, 25));
        }
        ran_out
    }

    /// What there is to do for one who needs the credential now; starts a fetch where one is due.
    fn step(
        self: &Arc<Self>,
        cluster: &Arc<ClusterCore>,
        provider: &Arc<dyn CredentialProvider>,
        key: &CredentialKey,
    ) -> Step {
        let now = Moment::now(cluster.env());
        let mut entries = self.entries();
        if !entries.contains_key(key) {
            // Hosts that are gone take their credentials with them.
            entries.retain(|_, entry| {
                entry.flight.is_some()
                    || entry.held.as_ref().is_some_and(|held| now.since(held.born) < held.usable_for)
            });
        }
        let entry = entries.entry(key.clone()).or_default();
        let resting = entry.failed.as_ref().filter(|(_, until)| now.monotonic < *until).cloned();
        let mut refused = None;
        let mut usable = None;
        if let Some(held) = &entry.held {
            let age = now.since(held.born);
            let patient = entry.patience.is_some_and(|until| now.monotonic < until);
            if age < held.usable_for && (!held.refused || patient) {
                if age < held.fresh_for || held.refused || entry.flight.is_some() || resting.is_some() {
                    return Step::Use(held.lease(true));
                }
                usable = Some(held.lease(true));
            } else if held.refused {
                refused = Some(held.credential.clone());
            }
        }
        if let Some(landing) = &entry.flight {
            return Step::Wait(landing.clone());
        }
        if let Some((error, until)) = resting {
            return if may_pass(&error) { Step::Pause(until, error) } else { Step::Fail(error) };
        }
        let (sender, landing) = watch::channel(None);
        entry.flight = Some(landing.clone());
        drop(entries);
        self.start(cluster, provider, key, now, refused, sender);
        match usable {
            Some(lease) => Step::Use(lease),
            None => Step::Wait(landing),
        }
    }

    /// Starts the fetch. Not under the lock: without a runtime the task is dropped at once, which lands it.
    fn start(
        self: &Arc<Self>,
        cluster: &Arc<ClusterCore>,
        provider: &Arc<dyn CredentialProvider>,
        key: &CredentialKey,
        born: Moment,
        refused: Option<Credential>,
        landing: watch::Sender<Landing>,
    ) {
        let deadline = Deadline::after(cluster.options().connect_timeout, "connect_timeout");
        let env = cluster.env().clone();
        let mut request = FetchRequest::new(key.clone(), env.clone(), deadline);
        request.refused = refused;
        let provider = Arc::clone(provider);
        let home = Arc::downgrade(cluster);
        let unaware = request.refused.is_none();
        let flight =
            Flight { cache: Arc::clone(self), key: key.clone(), env, born, unaware, landing: Some(landing) };
        cluster.spawn("credential", async move {
            let what = format!("fetching the credential ({})", request.key);
            let fetch = AssertUnwindSafe(async { provider.fetch(&request).await }).catch_unwind();
            let fetched = deadline.run(&what, async { Ok(fetch.await) }).await;
            let fetched = fetched.and_then(|result| {
                result.unwrap_or_else(|_| {
                    let text = format!("the credential provider `{}` panicked", provider.name());
                    Err(Error::new(ErrorKind::Plugin, text))
                })
            });
            if let (Some(error), Some(home)) = (flight.land(fetched), home.upgrade()) {
                let action = "the credential that is there is used on";
                home.emit(&Event::Decision { error, action });
            }
        });
    }

    /// Notes how a fetch ended; gives the error of one that no connect has waited for.
    fn land(&self, flight: &Flight, fetched: Result<Fetched>) -> (Result<Held>, Option<Error>) {
        let now = Moment::now(&flight.env);
        let mut entries = self.entries();
        let entry = entries.entry(flight.key.clone()).or_default();
        entry.flight = None;
        match fetched {
            Ok(fetched) => {
                // The refusal came when the fetch was under way: the provider did not know of it.
                let refused = flight.unaware
                    && entry.held.as_ref().is_some_and(|held| {
                        held.refused && held.credential.is_same_login(&fetched.credential)
                    });
                entry.failures = 0;
                entry.failed = None;
                entry.patience = None;
                entry.count += 1;
                let held = Held {
                    credential: fetched.credential,
                    number: entry.count,
                    born: flight.born,
                    fresh_for: flight.env.jitter(fetched.fresh_for / 10 * 9, 10).min(fetched.usable_for),
                    usable_for: fetched.usable_for,
                    refused,
                };
                entry.held = Some(held.clone());
                (Ok(held), None)
            }
            Err(error) => {
                entry.failures = entry.failures.saturating_add(1);
                let first = if error.class() == ErrorClass::Busy { THROTTLED } else { PAUSE };
                let pause = flight.env.jitter(doubled(first, entry.failures), 25);
                entry.failed = Some((error.clone(), now.monotonic + pause));
                let usable = entry.held.as_ref();
                let usable =
                    usable.is_some_and(|held| !held.refused && now.since(held.born) < held.usable_for);
                (Err(error.clone()), usable.then_some(error))
            }
        }
    }
}

/// A fetch on its way. Dropped without having landed, it makes room for the next one.
struct Flight {
    cache: Arc<CredentialCache>,
    key: CredentialKey,
    env: Environment,
    born: Moment,
    /// It was started before any refusal.
    unaware: bool,
    landing: Option<watch::Sender<Landing>>,
}

impl Flight {
    fn land(mut self, fetched: Result<Fetched>) -> Option<Error> {
        let landing = self.landing.take();
        let (held, unseen) = self.cache.land(&self, fetched);
        if let Some(landing) = landing {
            landing.send_replace(Some(held));
        }
        unseen
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landing.is_some() {
            if let Some(entry) = self.cache.entries().get_mut(&self.key) {
                entry.flight = None;
            }
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the connector was shut down while the credential was fetched")
}

/// Whether a fetch that failed so may succeed a little later.
fn may_pass(error: &Error) -> bool {
    matches!(error.class(), ErrorClass::Network | ErrorClass::Busy) || error.kind() == ErrorKind::Timeout
}

/// `first`, doubled with each time after the first.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}
