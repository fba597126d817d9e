//! A server that checks passwords, and a provider that follows a script.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use secrecy::ExposeSecret;
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::credentials::{Credential, CredentialProvider, FetchRequest, Fetched, Provided};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::observe::{Event, Observer};
use wrapper_core::plugin::Registry;
use wrapper_core::session::{Session, SessionOptions};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

/// How long a credential lives.
pub(crate) const LIFE: Duration = Duration::from_secs(900);
/// How long a fetch takes.
pub(crate) const FETCH: Duration = Duration::from_millis(50);

/// A wall clock that can be set.
#[derive(Clone, Debug)]
pub(crate) struct Wall(Arc<AtomicU64>, tokio::time::Instant);

impl Wall {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000)), tokio::time::Instant::now())
    }
    pub(crate) fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst)) + self.1.elapsed()
    }
    pub(crate) fn jump(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
    pub(crate) fn set_back(&self, seconds: u64) {
        self.0.fetch_sub(seconds, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(crate) struct Connection;

#[async_trait]
impl DriverConnection for Connection {
    async fn fetch_text(&self, _: &str, _: Deadline) -> Result<Rows> {
        Ok(Rows::default())
    }
    async fn ping(&self, _: Deadline) -> Result<()> {
        Ok(())
    }
    fn kill(&self, _: Error) {}
    fn drain(&self) {}
    fn is_closed(&self) -> bool {
        false
    }
    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }
    fn bytes_received(&self) -> u64 {
        0
    }
}

/// What one fetch does.
#[derive(Debug)]
pub(crate) enum Next {
    Fail(Error),
    Panic,
    Hang,
}

/// Server and provider in one: what the one gives the other knows.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) wall: Wall,
    /// What the next fetches do; when empty they succeed.
    pub(crate) script: Mutex<VecDeque<Next>>,
    pub(crate) fetches: AtomicU64,
    /// What was refused when each fetch was asked for.
    pub(crate) told: Mutex<Vec<Option<String>>>,
    /// Passwords with lower numbers are refused.
    pub(crate) oldest: AtomicU64,
    /// The passwords that were shown, with the host.
    pub(crate) shown: Mutex<Vec<(String, String)>>,
    /// What a refusal looks like.
    pub(crate) refusal: Mutex<Option<Error>>,
    /// Born, by number.
    pub(crate) born: Mutex<Vec<SystemTime>>,
    pub(crate) life: Mutex<Duration>,
}

#[async_trait]
impl CredentialProvider for PlaceProvider {
    fn name(&self) -> &'static str {
        "scripted"
    }
    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        let place = &self.0;
        place.fetches.fetch_add(1, Ordering::SeqCst);
        let refused = request.refused.as_ref().and_then(|refused| refused.password.as_ref());
        place.told.lock().unwrap().push(refused.map(|password| password.expose_secret().to_owned()));
        let born = request.env.wall_clock();
        request.env.sleep(FETCH).await;
        let next = place.script.lock().unwrap().pop_front();
        match next {
            Some(Next::Fail(error)) => return Err(error),
            Some(Next::Panic) => panic!("the provider panics, as scripted"),
            Some(Next::Hang) => std::future::pending().await,
            None => {}
        }
        let number = {
            let mut all = place.born.lock().unwrap();
            all.push(born);
            all.len()
        };
        let life = *place.life.lock().unwrap();
        Ok(Fetched::new(Credential::new(format!("token-{number}")), life))
    }
    fn advice(&self, _: &wrapper_core::credentials::CredentialKey) -> Option<String> {
        Some("look at the script".to_owned())
    }
}

pub(crate) struct PlaceProvider(pub(crate) Arc<Place>);

impl std::fmt::Debug for PlaceProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the book of what was shown, which this test world keeps.
        f.write_str("PlaceProvider")
    }
}

impl Place {
    fn lets_in(&self, password: &str) -> bool {
        let Some(number) = password.strip_prefix("token-").and_then(|number| number.parse::<u64>().ok())
        else {
            return false;
        };
        let born = self.born.lock().unwrap()[number as usize - 1];
        // As RDS: a token from the future is refused too.
        let age = self.wall.now().duration_since(born);
        number >= self.oldest.load(Ordering::SeqCst) && age.is_ok_and(|age| age < LIFE)
    }
}

#[async_trait]
impl DriverDialect for Place {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn user(&self) -> Option<&str> {
        Some("app")
    }
    async fn connect(&self, target: &ConnectTarget, _: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let password = target.credential.as_ref().and_then(|credential| credential.password.as_ref());
        let password = password.map_or("", |password| password.expose_secret()).to_owned();
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.shown.lock().unwrap().push((target.host.host().to_owned(), password.clone()));
        if self.lets_in(&password) {
            return Ok(Arc::new(Connection));
        }
        let usual = || Error::new(ErrorKind::Login, "password authentication failed").with_sqlstate("28P01");
        Err(self.refusal.lock().unwrap().clone().unwrap_or_else(usual))
    }
    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        Error::from_driver(error).map_or(ErrorClass::Other, Error::class)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Events(pub(crate) Arc<Mutex<Vec<Event>>>);

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

pub(crate) struct World {
    pub(crate) core: ConnectorCore,
    pub(crate) place: Arc<Place>,
    pub(crate) events: Events,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|place| Provided::new(PlaceProvider(Arc::clone(place))))
    }

    /// With a provider of the test's own.
    pub(crate) fn with(provider: impl FnOnce(&Arc<Place>) -> Provided) -> Self {
        let wall = Wall::new();
        let place = Arc::new(Place {
            wall: wall.clone(),
            script: Mutex::default(),
            fetches: AtomicU64::new(0),
            told: Mutex::default(),
            oldest: AtomicU64::new(0),
            shown: Mutex::default(),
            refusal: Mutex::default(),
            born: Mutex::default(),
            life: Mutex::new(LIFE),
        });
        let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
        let url = "postgres://instance-1.xyz.us-east-2.rds.amazonaws.com/shop?wrapper_dialect=pg";
        let events = Events::default();
        let core = ConnectorCore::new(ConnectorParts {
            settings: Settings::parse(url, &keys).unwrap(),
            driver: Arc::clone(&place) as Arc<dyn DriverDialect>,
            env: Environment::builder().seed(7).wall_clock(move || wall.now()).build(),
            registry: Registry::new(),
            default_plugins: Vec::new(),
            plugins: vec![Arc::new(provider(&place))],
            observers: vec![Arc::new(events.clone())],
            default_port: 5432,
        });
        Self { core: core.unwrap(), place, events }
    }

    pub(crate) async fn open(&self) -> Result<Arc<Session<Connection>>> {
        self.core.open::<Connection>(SessionOptions::default()).await
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.place.fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn script(&self, next: impl IntoIterator<Item = Next>) {
        self.place.script.lock().unwrap().extend(next);
    }

    /// From now on only passwords that are fetched after the first `known` are let in.
    pub(crate) fn rotate(&self, known: u64) {
        self.place.oldest.store(known + 1, Ordering::SeqCst);
    }

    pub(crate) fn shown(&self) -> Vec<String> {
        self.place.shown.lock().unwrap().iter().map(|(_, password)| password.clone()).collect()
    }

    pub(crate) fn decisions(&self) -> Vec<&'static str> {
        let events = self.events.0.lock().unwrap();
        let decided = |event: &Event| match event {
            Event::Decision { action, .. } => Some(*action),
            _ => None,
        };
        events.iter().filter_map(decided).collect()
    }
}

/// What a network says that is away for a while.
pub(crate) fn unreachable() -> Next {
    Next::Fail(Error::new(ErrorKind::Network, "the service could not be reached"))
}
