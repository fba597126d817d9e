//! Timing, logging and faults on demand, through the PostgreSQL adapter onto a simulated cluster.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use integration_tests::names::NameTable;
use integration_tests::sim::SimCluster;
use tracing_subscriber::fmt::MakeWriter;
use wrapper_core::env::{Environment, Resolver};
use wrapper_core::observe::{Event, Observer};
use wrapper_pg::plugins::dev::{Dev, Fault};
use wrapper_pg::{Connector, ConnectorBuilder, Error, ErrorKind, TransactionOutcome};

#[derive(Debug)]
struct Names(NameTable);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let address = host.parse().ok().or_else(|| self.0.lookup(host)).ok_or(io::ErrorKind::NotFound)?;
        Ok(vec![SocketAddr::new(address, port)])
    }
}

fn builder(cluster: &SimCluster) -> ConnectorBuilder {
    Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .user("app")
        .dbname("shop")
        .set("sslmode", "disable")
        .environment(Environment::builder().resolver(Names(cluster.names().clone())).build())
}

#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// What is logged, at every level.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

const ALL: &str =
    "dev,log_query,execute_time,connect_time,initial_connection,connection_tracker,failover,efm";

/// Scenario 80: an error given to `dev` is to failover what the driver's own would be, and the application finds it again.
#[tokio::test]
async fn an_injected_error_leads_to_a_failover_and_stays_what_it_was() {
    let cluster = SimCluster::builder().start().await.unwrap();
    let events = Events::default();
    let connector = builder(&cluster).set("plugins", ALL).observer(events.clone()).build().unwrap();
    let client = connector.connect().await.unwrap();
    client.batch_execute("CREATE TABLE t (id bigint)").await.unwrap();
    let pulled = io::Error::new(io::ErrorKind::ConnectionReset, "the cable was pulled");
    let error = Error::new(ErrorKind::Network, "lost").with_outcome(TransactionOutcome::NotSent);
    Dev::of(connector.cluster()).next_call_of("execute", Fault::Fail(error.with_source(pulled)));

    let generation = client.generation();
    let met = client.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(met.kind(), ErrorKind::FailoverSucceeded, "{met}");
    assert!(met.outcome().is_not_applied(), "{met:?}");
    assert_eq!(met.find_source::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::ConnectionReset));
    assert_eq!(client.generation(), generation + 1);
    client.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();

    let events = events.0.lock().unwrap().clone();
    let calls: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::CallTimed(timing) = event { Some(timing) } else { None })
        .map(|timing| (timing.method, timing.ending.error_type()))
        .collect();
    let expected = [("batch_execute", None), ("execute", Some("failover_succeeded")), ("execute", None)];
    assert_eq!(calls, expected);
    let purposes: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::ConnectTimed(timing) = event { Some(timing) } else { None })
        .map(|timing| (timing.purpose_name(), timing.ending.as_str()))
        .collect();
    for purpose in ["session", "switch", "monitor"] {
        assert!(purposes.contains(&(purpose, "ok")), "{purpose} in {purposes:?}");
    }
    drop(events);
    connector.shutdown().await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn connects_fail_and_wait_as_they_are_told() {
    let cluster = SimCluster::builder().start().await.unwrap();
    let dev = Dev::new();
    let connector = builder(&cluster).plugin(dev.clone()).build().unwrap();
    dev.next_connect(Fault::Fail(Error::new(ErrorKind::Login, "the password has changed")));
    let error = connector.connect().await.err().unwrap();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Login, "the password has changed"));
    dev.next_connect(Fault::Delay(Duration::from_millis(300)));
    let began = Instant::now();
    let client = connector.connect().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    client.simple_query("SELECT 1").await.unwrap();
    connector.shutdown().await;
    cluster.shutdown().await;
}

/// R15: whatever the level, neither parameters nor literals nor the server's words about them are logged.
#[tokio::test]
async fn no_value_of_the_application_gets_into_the_log() {
    let (log, _guard) = Log::start();
    let cluster = SimCluster::builder().start().await.unwrap();
    let connector = builder(&cluster)
        .set("plugins", ALL)
        .observer(wrapper_core::observe::TracingObserver::new())
        .build()
        .unwrap();
    let client = connector.connect().await.unwrap();
    client.batch_execute("CREATE TABLE t (name text PRIMARY KEY) -- secret-comment").await.unwrap();
    client.execute("INSERT INTO t VALUES ($1)", &[&"secret-parameter"]).await.unwrap();
    client.execute("INSERT INTO t VALUES ('secret-literal')", &[]).await.unwrap();
    let twice = client.execute("INSERT INTO t VALUES ('secret-literal')", &[]).await;
    assert_eq!(twice.unwrap_err().sqlstate(), Some("23505"));
    connector.shutdown().await;
    cluster.shutdown().await;

    let text: String = log.text().lines().filter(|line| line.contains("aws_wrapper")).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    );
    for expected in
        ["INSERT INTO t VALUES ($1)", "INSERT INTO t VALUES (?)", "sqlstate=\"23505\"", "aws_wrapper.execute"]
    {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    assert!(!text.contains("secret-"), "{text}");
}
