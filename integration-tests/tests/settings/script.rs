//! A scripted Aurora cluster under paused time: the library's own SQL is answered from a script, and every connect and
//! question is written down with its time.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::dialect::{DETECTION_SQL, DialectId, dialect_for};
use wrapper_core::driver::{
    ConnectPurpose, ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus,
};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::observe::{Event, Observer};
use wrapper_core::plugin::Call;
use wrapper_core::session::{Operation, Session, SessionOptions};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

pub(crate) const PLACE: &str = "xyz.us-east-2.rds.amazonaws.com";
const KEYS: DriverKeys<'static> =
    DriverKeys { schemes: &["postgres"], default_port: 5432, names: &["sslmode"] };

/// In settings: the server is asked what kind of database it is.
pub(crate) const DETECTED: &str = "cluster_id=detected";

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Up,
    Down,
    /// Accepts TCP and answers nothing.
    Silent,
    /// Lets in and then answers no question.
    Mute,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) health: Health,
    /// What the server itself is.
    pub(crate) writer: bool,
    /// What the topology calls it.
    pub(crate) listed_writer: bool,
    pub(crate) cpu: f32,
    pub(crate) lag: f32,
}

/// What was asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A connect, with the time it was given.
    Connect {
        session: bool,
        limit: Duration,
    },
    Detection,
    Topology,
    Status,
    Ping,
    Run(String),
}

/// One thing that was asked: when, under which name, of which server.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) what: What,
}

struct State {
    nodes: BTreeMap<String, Node>,
    names: BTreeMap<String, String>,
    log: Vec<Entry>,
    monitors: usize,
    most_monitors: usize,
}

/// The servers, and what was asked of them. Times count from its making.
#[derive(Clone)]
pub(crate) struct Script {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    began: Instant,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

/// The host name of an instance.
pub(crate) fn instance(id: &str) -> String {
    format!("{id}.{PLACE}")
}

pub(crate) fn writer_endpoint() -> String {
    format!("db.cluster-{PLACE}")
}

pub(crate) fn reader_endpoint() -> String {
    format!("db.cluster-ro-{PLACE}")
}

impl Script {
    /// Instances `i1` … `iN`, the first one the writer; the endpoints lead to `i1` and `i2`.
    pub(crate) fn new(instances: usize) -> Self {
        let node = |index: usize| Node {
            health: Health::Up,
            writer: index == 1,
            listed_writer: index == 1,
            cpu: 10.0,
            lag: 10.0,
        };
        let nodes = (1..=instances).map(|index| (format!("i{index}"), node(index)));
        let mut names = BTreeMap::from([(writer_endpoint(), "i1".to_owned())]);
        names.insert(reader_endpoint(), if instances > 1 { "i2" } else { "i1" }.to_owned());
        let state = State { nodes: nodes.collect(), names, log: Vec::new(), monitors: 0, most_monitors: 0 };
        Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(()), began: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn edit(&self, id: &str, change: impl FnOnce(&mut Node)) {
        change(self.state().nodes.get_mut(id).expect("an instance of the script"));
        self.changed.send_replace(());
    }

    pub(crate) fn health(&self, id: &str, health: Health) {
        self.edit(id, |node| node.health = health);
    }

    pub(crate) fn all(&self, health: Health) {
        let ids: Vec<String> = self.state().nodes.keys().cloned().collect();
        for id in ids {
            self.health(&id, health);
        }
    }

    /// Makes `id` the writer, in fact and in every topology; DNS stays.
    pub(crate) fn promote(&self, id: &str) {
        for (key, node) in &mut self.state().nodes {
            node.writer = key == id;
            node.listed_writer = key == id;
        }
        self.changed.send_replace(());
    }

    /// Nobody accepts writes and nobody is listed as the writer.
    pub(crate) fn no_writer(&self) {
        self.promote("nobody");
    }

    /// Lets a name of any kind lead to an instance.
    pub(crate) fn alias(&self, name: &str, id: &str) {
        self.state().names.insert(name.to_owned(), id.to_owned());
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        self.state().log.clone()
    }

    /// The entries from `since` on that `wanted` picks.
    pub(crate) fn logged(&self, since: Duration, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.log().into_iter().filter(|entry| entry.at >= since && wanted(entry)).collect()
    }

    /// The names that sessions were opened at, in order.
    pub(crate) fn session_connects(&self) -> Vec<String> {
        let session = |entry: &Entry| matches!(entry.what, What::Connect { session: true, .. });
        self.logged(Duration::ZERO, session).into_iter().map(|entry| entry.name).collect()
    }

    /// The most monitor connections that were open, or being opened, at once.
    pub(crate) fn most_monitors(&self) -> usize {
        self.state().most_monitors
    }

    pub(crate) fn monitors(&self) -> usize {
        self.state().monitors
    }

    fn note(&self, name: &str, node: &str, what: What) {
        let at = self.now();
        self.state().log.push(Entry { at, name: name.to_owned(), node: node.to_owned(), what });
    }

    fn node_of(&self, name: &str) -> String {
        let state = self.state();
        let leads = |name: &str| state.names.get(name).cloned();
        let first_label = name.split('.').next().unwrap_or_default().to_owned();
        leads(name).unwrap_or(first_label)
    }

    fn node(&self, id: &str) -> Node {
        self.state().nodes.get(id).unwrap_or_else(|| panic!("`{id}` is not in the script")).clone()
    }

    /// Waits until the server answers, or refuses; `questions`: whether it is asked something.
    async fn answered(&self, id: &str, questions: bool) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            match self.node(id).health {
                Health::Up => return Ok(()),
                Health::Mute if !questions => return Ok(()),
                Health::Down => return Err(Error::new(ErrorKind::Network, "connection refused")),
                Health::Silent | Health::Mute => {
                    if changed.changed().await.is_err() {
                        pending::<()>().await;
                    }
                }
            }
        }
    }

    fn rows(&self, id: &str, what: &What) -> Rows {
        let state = self.state();
        let flag = |value: bool| Some(if value { "t" } else { "f" }.to_owned());
        let row = |columns: &[&str], rows| Rows::new(columns.iter().map(|&c| c.to_owned()).collect(), rows);
        match what {
            What::Detection => row(
                &["version_num", "database_name", "user_name", "rds_extensions", "allowed_functions"],
                vec![vec![
                    Some("150004".into()),
                    Some("shop".into()),
                    Some("app".into()),
                    Some("aurora_stat_utils".into()),
                    Some("pg_catalog.aurora_replica_status,pg_catalog.aurora_db_instance_identifier".into()),
                ]],
            ),
            What::Topology => row(
                &["server_id", "is_writer", "cpu", "lag_ms", "updated"],
                state
                    .nodes
                    .iter()
                    .map(|(id, node)| {
                        vec![
                            Some(id.clone()),
                            flag(node.listed_writer),
                            Some(node.cpu.to_string()),
                            Some(node.lag.to_string()),
                            Some("1795264546.5".into()),
                        ]
                    })
                    .collect(),
            ),
            _ => {
                let listed = state.nodes.iter().find(|(_, node)| node.listed_writer);
                row(
                    &["in_recovery", "own_id", "writer_id", "hosts"],
                    vec![vec![
                        flag(!state.nodes[id].writer),
                        Some(id.to_owned()),
                        listed.map(|(id, _)| id.clone()),
                        Some(state.nodes.len().to_string()),
                    ]],
                )
            }
        }
    }

    /// Settings from a connection string; the host is the writer endpoint unless one is given, the dialect Aurora's.
    pub(crate) fn settings(&self, text: &str) -> Settings {
        let host =
            if text.contains("host=") { String::new() } else { format!("host={} ", writer_endpoint()) };
        let chosen = text.contains("wrapper_dialect") || text.contains(DETECTED);
        let dialect = if chosen { "" } else { "wrapper_dialect=aurora-pg " };
        Settings::parse(&format!("{host}{dialect}{text}"), &KEYS).expect("valid settings")
    }

    pub(crate) fn connector(&self, text: &str) -> ConnectorCore {
        self.connector_with(self.settings(text), Events::default())
    }

    pub(crate) fn watched(&self, text: &str) -> (ConnectorCore, Events) {
        let events = Events { script: Some(self.clone()), ..Events::default() };
        (self.connector_with(self.settings(text), events.clone()), events)
    }

    pub(crate) fn try_connector(&self, settings: Settings, events: Events) -> Result<ConnectorCore> {
        ConnectorCore::new(ConnectorParts {
            settings,
            driver: Arc::new(Driver(self.clone())),
            env: Environment::builder().seed(1).build(),
            registry: wrapper_plugins::registry(),
            default_plugins: wrapper_plugins::default_plugins(),
            plugins: Vec::new(),
            observers: vec![Arc::new(events)],
            default_port: 5432,
        })
    }

    fn connector_with(&self, settings: Settings, events: Events) -> ConnectorCore {
        self.try_connector(settings, events).expect("a valid configuration")
    }
}

/// What the cluster told, with the time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    script: Option<Script>,
    list: Arc<Mutex<Vec<(Duration, Event)>>>,
}

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        let at = self.script.as_ref().map_or(Duration::ZERO, Script::now);
        self.list.lock().unwrap().push((at, event.clone()));
    }
}

impl Events {
    /// When the events happened that `wanted` picks.
    pub(crate) fn times(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Duration> {
        self.list.lock().unwrap().iter().filter(|(_, event)| wanted(event)).map(|(at, _)| *at).collect()
    }
}

#[derive(Debug)]
struct Driver(Script);

/// A monitor connection is counted from its attempt to its end.
#[derive(Debug)]
struct Counted(Option<Script>);

impl Counted {
    fn new(script: &Script, purpose: ConnectPurpose) -> Self {
        if purpose != ConnectPurpose::Monitor {
            return Self(None);
        }
        let mut state = script.state();
        state.monitors += 1;
        state.most_monitors = state.most_monitors.max(state.monitors);
        Self(Some(script.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(script) = &self.0 {
            script.state().monitors -= 1;
        }
    }
}

#[async_trait]
impl DriverDialect for Driver {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let name = target.host.host().to_owned();
        let node = self.0.node_of(&name);
        let what =
            What::Connect { session: target.purpose == ConnectPurpose::Session, limit: deadline.remaining() };
        self.0.note(&name, &node, what);
        let counted = Counted::new(&self.0, target.purpose);
        deadline
            .run("connecting", self.0.answered(&node, false))
            .await
            .map_err(|error| error.with_class(ErrorClass::Network))?;
        let script = self.0.clone();
        Ok(Arc::new(Connection { script, name, node, killed: watch::Sender::new(None), _counted: counted }))
    }

    fn classify(&self, _: &(dyn StdError + 'static)) -> ErrorClass {
        ErrorClass::Other
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    script: Script,
    name: String,
    node: String,
    killed: watch::Sender<Option<Error>>,
    _counted: Counted,
}

impl Connection {
    async fn ask(&self, what: What) -> Result<()> {
        self.script.note(&self.name, &self.node, what);
        self.alive(self.script.answered(&self.node, true)).await
    }

    async fn alive<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let mut killed = self.killed.subscribe();
        tokio::select! {
            biased;
            reason = killed.wait_for(Option::is_some) => {
                Err(reason.expect("the sender lives").clone().expect("a reason"))
            }
            answer = answer => answer,
        }
    }
}

#[async_trait]
impl DriverConnection for Connection {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        let aurora = dialect_for(DialectId::AuroraPg)?;
        let what = match sql {
            sql if sql == DETECTION_SQL => What::Detection,
            sql if Some(sql) == aurora.topology_query() => What::Topology,
            sql if sql == aurora.status_query() || sql == aurora.role_query() => What::Status,
            sql => panic!("the script has no answer to {sql}"),
        };
        deadline.run("the query", self.ask(what.clone())).await?;
        Ok(self.script.rows(&self.node, &what))
    }

    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        deadline.run("the query", self.ask(What::Run(sql.to_owned()))).await
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        deadline.run("the ping", self.ask(What::Ping)).await
    }

    fn kill(&self, reason: Error) {
        self.killed.send_if_modified(|slot| slot.is_none().then(|| *slot = Some(reason)).is_some());
    }

    fn drain(&self) {
        self.kill(Error::new(ErrorKind::Closed, "drained"));
    }

    fn is_closed(&self) -> bool {
        self.killed.borrow().is_some()
    }

    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    fn bytes_received(&self) -> u64 {
        0
    }
}

/// A call that takes this long on the server and is answered with the id of the server that ran it.
pub(crate) struct Work(pub(crate) Duration);

impl Operation<Connection> for Work {
    type Out = String;
    async fn run(&self, connection: &Arc<Connection>) -> Result<String> {
        let work = async {
            tokio::time::sleep(self.0).await;
            connection.script.answered(&connection.node, true).await?;
            Ok(connection.node.clone())
        };
        connection.alive(work).await
    }
}

pub(crate) type Client = Arc<Session<Connection>>;

/// Opens a session as an adapter does.
pub(crate) async fn open(connector: &ConnectorCore) -> Result<Client> {
    let mut options = SessionOptions::default();
    options.socket_timeout = connector.settings().socket_timeout;
    connector.open(options).await
}

/// Runs a call of that length; gives the id of the server that ran it.
pub(crate) async fn work(client: &Client, length: Duration) -> Result<String> {
    client.call(&Call::new("work"), &Work(length)).await
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Whether `time` is `wanted`, give or take what the library's short pauses and round trips add.
pub(crate) fn about(time: Duration, wanted: Duration) -> bool {
    time.abs_diff(wanted) <= wanted / 10 + ms(60)
}
