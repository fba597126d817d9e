//! What the tests of the small plugins share: a driver that answers after a while, observers that keep what they saw.
#![allow(dead_code, reason = "which parts are used depends on the features")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "the scripted world outside the library has a clock of its own"
)]

#[cfg(all(feature = "failover", feature = "efm"))]
mod order;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as Told, Level, Metadata, Subscriber};
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::observe::{Event, Observer};
use wrapper_core::plugin::{Call, PluginFactory};
use wrapper_core::session::{Operation, Session, SessionOptions};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

/// How long a connect takes.
pub(crate) const CONNECT: Duration = Duration::from_millis(30);
/// How long a call takes.
pub(crate) const CALL: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(crate) struct Driver {
    pub(crate) connects: AtomicU32,
    pub(crate) calls: Arc<AtomicU32>,
    /// Connects fail.
    pub(crate) locked: bool,
}

#[derive(Debug)]
pub(crate) struct Connection(Arc<AtomicU32>);

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

#[async_trait]
impl DriverDialect for Driver {
    fn name(&self) -> &'static str {
        "fake"
    }
    async fn connect(&self, _: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        self.connects.fetch_add(1, Ordering::SeqCst);
        let open = async {
            tokio::time::sleep(CONNECT).await;
            if self.locked { Err(Error::new(ErrorKind::Login, "refused")) } else { Ok(()) }
        };
        deadline.run("connecting", open).await?;
        Ok(Arc::new(Connection(Arc::clone(&self.calls))))
    }
    fn classify(&self, _: &(dyn StdError + 'static)) -> ErrorClass {
        ErrorClass::Other
    }
}

/// A call; with an error it fails.
pub(crate) struct Run(pub(crate) Option<Error>);

impl Operation<Connection> for Run {
    type Out = ();
    async fn run(&self, connection: &Arc<Connection>) -> Result<()> {
        connection.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(CALL).await;
        self.0.clone().map_or(Ok(()), Err)
    }
}

/// Keeps every event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Events {
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

/// What the tests play with.
pub(crate) struct World {
    pub(crate) core: ConnectorCore,
    pub(crate) events: Events,
    pub(crate) driver: Arc<Driver>,
}

impl World {
    pub(crate) fn new(settings: &str, plugins: Vec<Arc<dyn PluginFactory>>, driver: Driver) -> Self {
        Self::try_new(settings, plugins, driver).unwrap()
    }

    pub(crate) fn try_new(
        settings: &str,
        plugins: Vec<Arc<dyn PluginFactory>>,
        driver: Driver,
    ) -> Result<Self> {
        let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
        let url = format!("postgres://instance-1.xyz.us-east-2.rds.amazonaws.com/shop?{settings}");
        let events = Events::default();
        let driver = Arc::new(driver);
        let core = ConnectorCore::new(ConnectorParts {
            settings: Settings::parse(&url, &keys).unwrap(),
            driver: Arc::clone(&driver) as Arc<dyn DriverDialect>,
            env: Environment::builder().seed(1).build(),
            registry: crate::registry(),
            default_plugins: Vec::new(),
            plugins,
            observers: vec![Arc::new(events.clone())],
            default_port: 5432,
        });
        Ok(Self { core: core?, events, driver })
    }

    pub(crate) async fn open(&self) -> Result<Arc<Session<Connection>>> {
        self.core.open(SessionOptions::default()).await
    }
}

/// Runs a call of `method`.
pub(crate) async fn call(
    session: &Session<Connection>,
    method: &'static str,
    error: Option<Error>,
) -> Result<()> {
    session.call(&Call::new(method).sql("SELECT 'x'"), &Run(error)).await
}

/// Whether `future` was still not ready after a while, and was dropped then.
pub(crate) async fn given_up<T>(after: Duration, future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(after, future).await.is_err()
}

/// One event of `tracing`, with the name of the span that it says to be in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) target: String,
    pub(crate) level: Option<Level>,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) span: Option<String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => {
                self.fields.insert(name.to_owned(), format!("{value:?}"));
            }
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name().to_owned(), value.to_owned());
    }
}

/// Keeps every event of `tracing` up to a level, and the spans.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    level: Level,
    pub(crate) lines: Arc<Mutex<Vec<Line>>>,
    pub(crate) spans: Arc<Mutex<Vec<(String, Line)>>>,
    /// Handles on spans.
    open: Arc<AtomicU32>,
}

impl Log {
    pub(crate) fn new(level: Level) -> Self {
        Self { level, lines: Arc::default(), spans: Arc::default(), open: Arc::default() }
    }

    pub(crate) fn of(&self, target: &str) -> Vec<Line> {
        self.lines.lock().unwrap().iter().filter(|line| line.target == target).cloned().collect()
    }

    /// How many handles on spans there are: none when all have ended.
    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= &self.level && metadata.target().starts_with("aws_wrapper")
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut line = Line::default();
        attributes.record(&mut line);
        self.open.fetch_add(1, Ordering::SeqCst);
        let mut spans = self.spans.lock().unwrap();
        spans.push((attributes.metadata().name().to_owned(), line));
        Id::from_u64(u64::try_from(spans.len()).unwrap())
    }
    fn record(&self, id: &Id, record: &Record<'_>) {
        record.record(&mut self.spans.lock().unwrap()[index(id)].1);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Told<'_>) {
        let mut line = Line {
            target: event.metadata().target().to_owned(),
            level: Some(*event.metadata().level()),
            span: event.parent().map(|id| self.spans.lock().unwrap()[index(id)].0.clone()),
            ..Line::default()
        };
        event.record(&mut line);
        self.lines.lock().unwrap().push(line);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn clone_span(&self, id: &Id) -> Id {
        self.open.fetch_add(1, Ordering::SeqCst);
        id.clone()
    }
    fn try_close(&self, _: Id) -> bool {
        self.open.fetch_sub(1, Ordering::SeqCst) == 1
    }
}
