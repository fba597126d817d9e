//! Two hosts of the test kit under paused time, a cluster of the library that watches them, and clients on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use wrapper_core::cluster::{Cluster, ClusterOptions};
use wrapper_core::config::Settings;
use wrapper_core::driver::ConnectPurpose;
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::observe::{Event, Observer};
use wrapper_core::plugin::{BuildContext, Chain, Connected, Plugin, PluginFactory};
use wrapper_core::session::{Session, SessionOptions};
use wrapper_core::testkit::{Counts, Door, FakeClient, FakeConnection, ScriptedCluster, Statement};
use wrapper_core::{Error, ErrorKind, Result};

use crate::efm::HostMonitoring;

/// The host that most tests are about, and another one.
pub(super) const HOST: usize = 0;
pub(super) const OTHER: usize = 1;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
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

/// One of the hosts: a round trip takes 2 ms, a connect 20 ms.
#[derive(Clone, Debug)]
pub(super) struct Server {
    servers: ScriptedCluster,
    host: usize,
}

impl Server {
    pub(super) fn freeze(&self) {
        self.servers.freeze(self.host);
    }

    pub(super) fn thaw(&self) {
        self.servers.thaw(self.host);
    }

    pub(super) fn set_round_trip(&self, span: Duration) {
        self.servers.set_latency(self.host, span);
    }

    pub(super) fn set_connect_time(&self, span: Duration) {
        self.servers.set_connect_time(self.host, span);
    }

    /// What becomes of new connections of monitors.
    pub(super) fn set_door(&self, door: Door) {
        self.servers.set_door(self.host, ConnectPurpose::Monitor, door);
    }

    pub(super) fn refuse(&self, kind: ErrorKind) {
        self.set_door(Door::Refuses(Error::new(kind, "refused, as scripted")));
    }

    /// Closes the monitors' connections.
    pub(super) fn reset_monitors(&self) {
        self.servers.cut_purpose(self.host, ConnectPurpose::Monitor);
    }

    fn counts(&self) -> Counts {
        self.servers.counts_of(self.host)
    }

    /// Connects of monitors.
    pub(super) fn connects(&self) -> u64 {
        self.counts().monitors.total
    }

    /// Monitors' connections that are open.
    pub(super) fn open(&self) -> usize {
        self.counts().monitors.open
    }

    pub(super) fn most_open(&self) -> usize {
        self.counts().monitors.most
    }

    pub(super) fn pings(&self) -> u64 {
        self.servers.pings(self.host)
    }
}

/// A cluster of two hosts.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) servers: ScriptedCluster,
    pub(super) log: Log,
    next: Arc<AtomicU64>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_cap(16)
    }

    pub(super) fn with_cap(cap: usize) -> Self {
        let servers = ScriptedCluster::new(2, 1);
        for host in [HOST, OTHER] {
            servers.set_latency(host, ms(2));
            servers.set_connect_time(host, ms(20));
        }
        let log = Log::default();
        let mut options = ClusterOptions::default();
        options.max_monitor_connections = cap;
        let observers = vec![Arc::new(log.clone()) as Arc<_>];
        let cluster = Cluster::new(Arc::new(servers.driver()), servers.env().clone(), options, observers);
        Self { cluster, servers, log, next: Arc::default() }
    }

    pub(super) fn server(&self) -> Server {
        self.server_of(HOST)
    }

    pub(super) fn server_of(&self, host: usize) -> Server {
        Server { servers: self.servers.clone(), host }
    }

    /// The plugin, as a connector builds it.
    pub(super) fn build(&self, monitoring: &HostMonitoring) -> Result<Arc<dyn Plugin>> {
        let endpoint = HostInfo::new(&self.servers.endpoint(), 5432, HostRole::Unknown);
        monitoring.build(&BuildContext::new(&self.cluster, &Settings::default(), &endpoint))
    }

    pub(super) fn client(&self, monitoring: &HostMonitoring) -> Client {
        self.client_on(HOST, monitoring)
    }

    /// A client on a connection that is there at once.
    pub(super) fn client_on(&self, host: usize, monitoring: &HostMonitoring) -> Client {
        let chain = Chain::new(vec![self.build(monitoring).unwrap()], true).unwrap();
        self.client_through(host, chain)
    }

    pub(super) fn client_through(&self, host: usize, chain: Chain) -> Client {
        let connection = self.servers.connected(host);
        let host = self.servers.host(host).with_role(HostRole::Writer);
        let connected = Connected::new(Arc::clone(&connection) as _, host, 1);
        let session =
            Session::new(connected, Arc::new(chain), self.cluster.clone(), SessionOptions::default())
                .unwrap();
        Client { client: FakeClient::new(session), connection, next: Arc::clone(&self.next) }
    }

    pub(super) fn monitors(&self) -> Arc<crate::efm::EfmMonitors> {
        crate::efm::EfmMonitors::of(&self.cluster)
    }
}

/// A session and its connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    client: FakeClient,
    pub(super) connection: Arc<FakeConnection>,
    next: Arc<AtomicU64>,
}

impl Client {
    pub(super) fn session(&self) -> &Session<FakeConnection> {
        self.client.session()
    }

    /// A query that the server works on for `time`, beside the round trip; `None` is for ever.
    pub(super) async fn query(&self, time: impl Into<Option<Duration>>) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let statement = Statement::read(number).taking(time.into().unwrap_or(FOR_EVER));
        self.client.run(&statement).await.map(|_| ())
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
