//! A scripted server and driver under paused time.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use wrapper_core::cluster::{Cluster, ClusterOptions};
use wrapper_core::driver::{
    ConnectPurpose, ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus,
};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::observe::{Event, Observer};
use wrapper_core::plugin::{BuildContext, Call, Chain, Connected, PluginFactory};
use wrapper_core::session::{Operation, Session, SessionOptions};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use crate::efm::HostMonitoring;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How a server treats new connections of monitors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Door {
    Open,
    Hang,
    Refuse(ErrorKind),
    Panic,
}

/// One server: answers after its round trip unless it is frozen.
#[derive(Debug)]
pub(super) struct Server {
    frozen: watch::Sender<bool>,
    pub(super) door: Mutex<Door>,
    pub(super) round_trip: Mutex<Duration>,
    pub(super) connect_time: Mutex<Duration>,
    /// The next ping finds its connection closed by the server.
    pub(super) reset_next_ping: AtomicBool,
    pub(super) panics_on_kill: AtomicBool,
    pub(super) monitor_connects: AtomicU32,
    pub(super) monitors_open: AtomicUsize,
    pub(super) most_open: AtomicUsize,
    pub(super) pings: Mutex<Vec<Instant>>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            frozen: watch::Sender::new(false),
            door: Mutex::new(Door::Open),
            round_trip: Mutex::new(ms(2)),
            connect_time: Mutex::new(ms(20)),
            reset_next_ping: AtomicBool::new(false),
            panics_on_kill: AtomicBool::new(false),
            monitor_connects: AtomicU32::new(0),
            monitors_open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            pings: Mutex::default(),
        }
    }
}

impl Server {
    pub(super) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub(super) fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    pub(super) fn set_door(&self, door: Door) {
        *self.door.lock().unwrap() = door;
    }

    pub(super) fn connects(&self) -> u32 {
        self.monitor_connects.load(Ordering::Relaxed)
    }

    pub(super) fn open(&self) -> usize {
        self.monitors_open.load(Ordering::Relaxed)
    }

    /// Takes `time` of the server's work and returns when it is not frozen.
    async fn answer(&self, time: Duration) {
        tokio::time::sleep(time).await;
        let mut frozen = self.frozen.subscribe();
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }
}

#[derive(Debug)]
pub(super) struct FakeConnection {
    server: Arc<Server>,
    killed: watch::Sender<Option<Error>>,
    pub(super) bytes: AtomicU64,
    /// Nothing comes through on this one connection, whatever the server does.
    pub(super) stalled: AtomicBool,
    of_monitor: bool,
}

impl FakeConnection {
    fn new(server: &Arc<Server>, of_monitor: bool) -> Arc<Self> {
        if of_monitor {
            let open = server.monitors_open.fetch_add(1, Ordering::Relaxed) + 1;
            server.most_open.fetch_max(open, Ordering::Relaxed);
        }
        Arc::new(Self {
            server: Arc::clone(server),
            killed: watch::Sender::new(None),
            bytes: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            of_monitor,
        })
    }

    async fn ended(&self) -> Error {
        let mut killed = self.killed.subscribe();
        let reason = killed.wait_for(Option::is_some).await.unwrap();
        reason.clone().unwrap()
    }

    /// A request that the server works on for `time`; `None` is for ever.
    async fn request(&self, time: Option<Duration>) -> Result<()> {
        let answer = async {
            match time {
                Some(time) if !self.stalled.load(Ordering::Relaxed) => self.server.answer(time).await,
                _ => pending().await,
            }
            self.bytes.fetch_add(10, Ordering::Relaxed);
        };
        tokio::select! {
            biased;
            reason = self.ended() => Err(reason),
            () = answer => Ok(()),
        }
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        if self.of_monitor {
            self.server.monitors_open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl DriverConnection for FakeConnection {
    async fn fetch_text(&self, _sql: &str, deadline: Deadline) -> Result<Rows> {
        self.ping(deadline).await.map(|()| Rows::default())
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        self.server.pings.lock().unwrap().push(Instant::now());
        if self.server.reset_next_ping.swap(false, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Network, "reset by peer"));
        }
        let time = *self.server.round_trip.lock().unwrap();
        deadline.run("ping", self.request(Some(time))).await
    }

    fn kill(&self, reason: Error) {
        self.killed.send_if_modified(|killed| {
            let first = killed.is_none();
            if first {
                *killed = Some(reason);
            }
            first
        });
        assert!(
            !self.server.panics_on_kill.load(Ordering::Relaxed) || self.of_monitor,
            "the driver panics in kill, as scripted"
        );
    }

    fn drain(&self) {}

    fn is_closed(&self) -> bool {
        self.killed.borrow().is_some()
    }

    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    fn bytes_received(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct FakeDriver(Mutex<BTreeMap<String, Arc<Server>>>);

impl FakeDriver {
    pub(super) fn server(&self, host: &str) -> Arc<Server> {
        Arc::clone(self.0.lock().unwrap().entry(host.to_owned()).or_default())
    }
}

#[async_trait]
impl DriverDialect for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        assert_eq!(target.purpose, ConnectPurpose::Monitor);
        let server = self.server(target.host.host());
        server.monitor_connects.fetch_add(1, Ordering::Relaxed);
        let connect = async {
            let door = *server.door.lock().unwrap();
            match door {
                Door::Open => {
                    // The socket is there, and counted, before the server has answered.
                    let connection = FakeConnection::new(&server, true);
                    let time = *server.connect_time.lock().unwrap();
                    server.answer(time).await;
                    Ok(connection as Arc<dyn DriverConnection>)
                }
                Door::Hang => pending().await,
                Door::Refuse(kind) => {
                    tokio::time::sleep(ms(1)).await;
                    Err(Error::new(kind, "refused, as scripted"))
                }
                Door::Panic => panic!("the driver panics in connect, as scripted"),
            }
        };
        deadline.run("connect", connect).await
    }

    fn classify(&self, _error: &(dyn StdError + 'static)) -> ErrorClass {
        ErrorClass::Other
    }
}

/// Keeps every event.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Event>>>);

impl Observer for Log {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Log {
    pub(super) fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| which(event)).count()
    }

    pub(super) fn silent(&self) -> usize {
        self.count(|event| matches!(event, Event::HostSilent { .. }))
    }

    pub(super) fn skipped(&self) -> usize {
        self.count(|event| matches!(event, Event::VerdictSkipped { .. }))
    }

    pub(super) fn restarts(&self) -> usize {
        self.count(|event| matches!(event, Event::TaskRestarted { .. }))
    }

    pub(super) fn warnings(&self, part: &str) -> usize {
        self.count(|event| matches!(event, Event::Warning(text) if text.contains(part)))
    }
}

/// A cluster of fake servers.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) driver: Arc<FakeDriver>,
    pub(super) log: Log,
}

pub(super) const HOST: &str = "instance-1.xyz.us-east-2.rds.amazonaws.com";
pub(super) const OTHER: &str = "instance-2.xyz.us-east-2.rds.amazonaws.com";

impl World {
    pub(super) fn new() -> Self {
        Self::with_cap(16)
    }

    pub(super) fn with_cap(cap: usize) -> Self {
        let driver = Arc::new(FakeDriver::default());
        let log = Log::default();
        let mut options = ClusterOptions::default();
        options.max_monitor_connections = cap;
        let env = Environment::builder().seed(1).build();
        let cluster =
            Cluster::new(Arc::clone(&driver) as _, env, options, vec![Arc::new(log.clone()) as Arc<_>]);
        Self { cluster, driver, log }
    }

    pub(super) fn server(&self) -> Arc<Server> {
        self.driver.server(HOST)
    }

    pub(super) fn client(&self, monitoring: &HostMonitoring) -> Client {
        self.client_on(HOST, monitoring)
    }

    pub(super) fn client_on(&self, host: &str, monitoring: &HostMonitoring) -> Client {
        let plugin = monitoring
            .build(&BuildContext::new(
                &self.cluster,
                &wrapper_core::config::Settings::default(),
                &wrapper_core::host::HostInfo::new("host", 5432, wrapper_core::host::HostRole::Unknown),
            ))
            .unwrap();
        let chain = Arc::new(Chain::new(vec![plugin], true).unwrap());
        let connection = FakeConnection::new(&self.driver.server(host), false);
        let host = HostInfo::new(host, 5432, HostRole::Writer);
        let connected = Connected::new(Arc::clone(&connection) as _, host, 1);
        let session =
            Session::new(connected, chain, self.cluster.clone(), SessionOptions::default()).unwrap();
        Client { session, connection }
    }

    pub(super) fn monitors(&self) -> Arc<crate::efm::EfmMonitors> {
        crate::efm::EfmMonitors::of(&self.cluster)
    }
}

/// A session and its connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) session: Arc<Session<FakeConnection>>,
    pub(super) connection: Arc<FakeConnection>,
}

struct Query(Option<Duration>);

impl Operation<FakeConnection> for Query {
    type Out = ();

    async fn run(&self, connection: &Arc<FakeConnection>) -> Result<()> {
        connection.request(self.0).await
    }
}

impl Client {
    /// A query that the server works on for `time`; `None` is for ever.
    pub(super) async fn query(&self, time: impl Into<Option<Duration>>) -> Result<()> {
        self.session.call(&Call::new("query"), &Query(time.into())).await
    }

    /// The same as a task: its result, and when it came.
    pub(super) fn start(&self, time: impl Into<Option<Duration>>) -> Running {
        let (client, time) = (self.clone(), time.into());
        Running(tokio::spawn(async move {
            let result = client.query(time).await;
            (result, Instant::now())
        }))
    }
}

pub(super) struct Running(tokio::task::JoinHandle<(Result<()>, Instant)>);

impl Running {
    /// Waits for the end, at most an hour.
    pub(super) async fn end(self) -> (Result<()>, Instant) {
        tokio::time::timeout(Duration::from_secs(3600), self.0).await.expect("the call never ended").unwrap()
    }

    /// When the call was ended by host monitoring.
    pub(super) async fn silent_at(self) -> Instant {
        let (result, at) = self.end().await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::HostSilent);
        at
    }

    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    pub(super) fn abort(self) {
        self.0.abort();
    }
}
