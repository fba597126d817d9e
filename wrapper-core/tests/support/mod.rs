//! A scripted cluster for tests under paused time: hosts with a role, hosts that are down, silent or slow.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use wrapper_core::cluster::{Cluster, ClusterOptions};
use wrapper_core::driver::{
    ConnectPurpose, ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus,
};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::observe::{Event, Observer};
use wrapper_core::session::Operation;
use wrapper_core::topology::{HostListProvider, HostStatus, Topology};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

pub const PORT: u16 = 5432;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    Down,
    /// Accepts nothing and answers nothing.
    Silent,
    /// Refuses credentials.
    Locked,
}

#[derive(Debug)]
struct Host {
    role: HostRole,
    health: Health,
    /// What the topology that it holds names as the writer.
    names_writer: Option<String>,
    connects: u32,
}

/// The servers' side of the script.
#[derive(Clone, Debug)]
pub struct Script(Arc<Mutex<BTreeMap<String, Host>>>, Arc<Counters>);

#[derive(Debug, Default)]
pub struct Counters {
    pub monitors_open: AtomicUsize,
    pub monitors_most: AtomicUsize,
    pub sessions_open: AtomicUsize,
    /// How often a host was asked for its role alone.
    pub roles_asked: AtomicUsize,
}

impl Script {
    /// Hosts by name; the first one is the writer.
    pub fn new(names: &[&str]) -> Self {
        let hosts = names.iter().enumerate().map(|(index, name)| {
            let role = if index == 0 { HostRole::Writer } else { HostRole::Reader };
            let host =
                Host { role, health: Health::Up, names_writer: Some(names[0].to_owned()), connects: 0 };
            ((*name).to_owned(), host)
        });
        Self(Arc::new(Mutex::new(hosts.collect())), Arc::default())
    }

    fn edit<T>(&self, name: &str, change: impl FnOnce(&mut Host) -> T) -> T {
        change(self.0.lock().unwrap().get_mut(name).expect("the host is in the script"))
    }

    pub fn health(&self, name: &str, health: Health) {
        self.edit(name, |host| host.health = health);
    }

    /// Gives `name` the role of the writer, and takes it from whoever has it; every topology follows.
    pub fn promote(&self, name: &str) {
        for (key, host) in self.0.lock().unwrap().iter_mut() {
            host.role = if key == name { HostRole::Writer } else { HostRole::Reader };
            host.names_writer = Some(name.to_owned());
        }
    }

    /// Sets the role alone: what the host's own state says.
    pub fn role(&self, name: &str, role: HostRole) {
        self.edit(name, |host| host.role = role);
    }

    /// Sets what the topology held by `name` says.
    pub fn names_writer(&self, name: &str, writer: Option<&str>) {
        self.edit(name, |host| host.names_writer = writer.map(str::to_owned));
    }

    pub fn connects(&self, name: &str) -> u32 {
        self.edit(name, |host| host.connects)
    }

    pub fn counters(&self) -> &Counters {
        &self.1
    }

    pub fn hosts(&self) -> Vec<HostInfo> {
        let hosts = self.0.lock().unwrap();
        hosts.keys().map(|name| HostInfo::new(name, PORT, HostRole::Unknown).with_id(name)).collect()
    }
}

#[derive(Debug)]
pub struct FakeConnection {
    pub name: String,
    script: Script,
    killed: watch::Sender<Option<Error>>,
    purpose: ConnectPurpose,
    pub open_transaction: AtomicBool,
    pub state: Mutex<Vec<String>>,
    pub applied: Mutex<Vec<String>>,
}

impl FakeConnection {
    /// Waits until the host answers; ends with the reason when the connection is killed.
    async fn answer(&self) -> Result<()> {
        let mut killed = self.killed.subscribe();
        let script = self.script.clone();
        let name = self.name.clone();
        tokio::select! {
            biased;
            reason = killed.wait_for(Option::is_some) => {
                Err(reason.expect("the sender lives").clone().expect("a reason"))
            }
            answer = async move {
                tokio::time::sleep(Duration::from_micros(500)).await;
                match script.edit(&name, |host| host.health) {
                    Health::Up | Health::Locked => Ok(()),
                    Health::Down => Err(Error::new(ErrorKind::Network, "connection reset")),
                    Health::Silent => pending().await,
                }
            } => answer,
        }
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        let counters = self.script.counters();
        match self.purpose {
            ConnectPurpose::Monitor => counters.monitors_open.fetch_sub(1, Ordering::SeqCst),
            _ => counters.sessions_open.fetch_sub(1, Ordering::SeqCst),
        };
    }
}

#[async_trait]
impl DriverConnection for FakeConnection {
    async fn fetch_text(&self, _: &str, deadline: Deadline) -> Result<Rows> {
        deadline.run("the query", self.answer()).await.map(|()| Rows::default())
    }

    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        deadline.run("the query", self.answer()).await?;
        self.applied.lock().unwrap().push(sql.to_owned());
        Ok(())
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        deadline.run("the ping", self.answer()).await
    }

    fn kill(&self, reason: Error) {
        self.killed.send_if_modified(|slot| slot.is_none().then(|| *slot = Some(reason)).is_some());
    }

    fn drain(&self) {}

    fn is_closed(&self) -> bool {
        self.killed.borrow().is_some()
    }

    fn transaction_status(&self) -> TransactionStatus {
        if self.open_transaction.load(Ordering::SeqCst) {
            TransactionStatus::Open
        } else {
            TransactionStatus::Idle
        }
    }

    fn bytes_received(&self) -> u64 {
        0
    }

    fn session_state_sql(&self) -> Vec<String> {
        self.state.lock().unwrap().clone()
    }
}

#[derive(Debug)]
pub struct FakeDriver(pub Script);

#[async_trait]
impl DriverDialect for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let name = target.host.host().to_owned();
        let health = self.0.edit(&name, |host| {
            host.connects += 1;
            host.health
        });
        let open = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            match health {
                Health::Up => Ok(()),
                Health::Down => Err(Error::new(ErrorKind::Network, "connection refused")),
                Health::Silent => pending().await,
                Health::Locked => Err(Error::new(ErrorKind::Login, "password authentication failed")),
            }
        };
        deadline.run("connecting", open).await?;
        let counters = self.0.counters();
        match target.purpose {
            ConnectPurpose::Monitor => {
                let open = counters.monitors_open.fetch_add(1, Ordering::SeqCst) + 1;
                counters.monitors_most.fetch_max(open, Ordering::SeqCst);
            }
            _ => {
                counters.sessions_open.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(Arc::new(FakeConnection {
            name,
            script: self.0.clone(),
            killed: watch::Sender::new(None),
            purpose: target.purpose,
            open_transaction: AtomicBool::new(false),
            state: Mutex::default(),
            applied: Mutex::default(),
        }))
    }

    fn classify(&self, _: &(dyn StdError + 'static)) -> ErrorClass {
        ErrorClass::Other
    }
}

#[derive(Debug)]
pub struct FakeProvider(pub Script, pub Vec<HostInfo>);

impl FakeProvider {
    fn connection(connection: &dyn DriverConnection) -> &FakeConnection {
        connection.as_any().downcast_ref().expect("the fake driver's connection")
    }
}

#[async_trait]
impl HostListProvider for FakeProvider {
    fn initial_hosts(&self) -> &[HostInfo] {
        &self.1
    }

    fn is_dynamic(&self) -> bool {
        true
    }

    async fn refresh(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<Topology> {
        let connection = Self::connection(connection);
        connection.fetch_text("topology", deadline).await?;
        let named = self.0.edit(&connection.name, |host| host.names_writer.clone());
        let hosts = self.0.hosts().into_iter().map(|host| {
            let role =
                if Some(host.host()) == named.as_deref() { HostRole::Writer } else { HostRole::Reader };
            host.with_role(role)
        });
        Ok(Topology::new(hosts.collect()))
    }

    async fn status(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostStatus> {
        let connection = Self::connection(connection);
        connection.fetch_text("status", deadline).await?;
        let mut status = HostStatus::default();
        self.0.edit(&connection.name, |host| {
            status.id = Some(Arc::from(connection.name.as_str()));
            status.accepts_writes = host.role == HostRole::Writer;
            status.claims_writer = host.names_writer.as_ref().map(|writer| *writer == connection.name);
        });
        Ok(status)
    }

    async fn role(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostRole> {
        let connection = Self::connection(connection);
        connection.fetch_text("role", deadline).await?;
        self.0.counters().roles_asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.0.edit(&connection.name, |host| host.role))
    }
}

/// Keeps the names of events, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace(pub Arc<Mutex<Vec<String>>>);

impl Observer for Trace {
    fn on_event(&self, event: &Event) {
        let line = match event {
            Event::WriterChanged { from, to } => {
                format!("writer {} -> {}", from.as_ref().map_or("?", |host| host.host()), to.host())
            }
            Event::SearchStarted => "search".to_owned(),
            Event::Switched(report) => format!("switched {}", report.succeeded()),
            Event::TaskRestarted { task } => format!("restarted {task}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Trace {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub fn cluster(script: &Script, trace: &Trace) -> Cluster {
    let mut options = ClusterOptions::default();
    options.id = "test".to_owned();
    options.hosts = script.hosts();
    options.provider = Some(Arc::new(FakeProvider(script.clone(), script.hosts())));
    let env = Environment::builder().seed(1).build();
    Cluster::new(Arc::new(FakeDriver(script.clone())), env, options, vec![Arc::new(trace.clone())])
}

/// A call: answers with the name of the host that ran it.
pub struct WhoAmI;

impl Operation<FakeConnection> for WhoAmI {
    type Out = String;
    async fn run(&self, connection: &Arc<FakeConnection>) -> Result<String> {
        connection.answer().await?;
        Ok(connection.name.clone())
    }
}
