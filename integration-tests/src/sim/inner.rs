//! What all parts of a simulated cluster share, and what each server knows through it.
//!
//! What may not live here: verbs (`verbs.rs`, `failover.rs`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pgwire::api::RandomPidSecretKeyGenerator;
use pgwire::messages::startup::SecretKey;
use tokio::net::TcpSocket;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::builder::{Config, Tuning};
use super::connection;
use super::error::SimError;
use super::flavour::{Engine, Flavour, RdsTools};
use super::node::{CommitFate, Ending, Life, Listener, Node};
use super::passwords::PasswordCheck;
use super::sql::{Activity, Facts, Member};
use super::store::Store;
use super::tls::Tls;
use super::topology::History;
use crate::names::NameTable;

/// The shared heart of a cluster.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) tuning: Mutex<Tuning>,
    pub(crate) names: NameTable,
    pub(crate) nodes: Vec<Node>,
    pub(crate) store: Arc<Store>,
    pub(crate) history: Mutex<History>,
    /// Passwords by user.
    pub(crate) users: Mutex<BTreeMap<String, String>>,
    /// In place of `users`.
    pub(crate) passwords: Option<PasswordCheck>,
    pub(crate) rds_tools: Mutex<RdsTools>,
    pub(crate) tls: Option<Tls>,
    /// Committed NOTIFYs: sender's pid, channel, payload.
    pub(crate) notifications: broadcast::Sender<(i32, String, String)>,
    pub(crate) cancels: Mutex<BTreeMap<i32, CancelKey>>,
    pub(crate) pids: Arc<RandomPidSecretKeyGenerator>,
    /// Held by what changes the writer.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
    pub(crate) end: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// What a cancel request must show, and what it wakes.
#[derive(Debug)]
pub(crate) struct CancelKey {
    pub(crate) node: usize,
    pub(crate) secret: SecretKey,
    pub(crate) cancel: Arc<Notify>,
}

/// Locks a mutex whose data stay sound when a holder panics.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) fn node(&self, node: usize) -> Result<&Node, SimError> {
        self.nodes.get(node).ok_or(SimError::NoSuchNode { node, last: self.nodes.len() - 1 })
    }

    pub(crate) fn spawn(&self, tasks: &TaskTracker, future: impl Future<Output = ()> + Send + 'static) {
        tasks.spawn_on(future, &self.runtime);
    }

    /// Waits, unless the cluster ends.
    ///
    /// # Errors
    /// [`SimError::Ended`] when it does.
    pub(crate) async fn sleep(&self, time: Duration) -> Result<(), SimError> {
        tokio::select! {
            biased;
            () = self.end.cancelled() => Err(SimError::Ended),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Starts a node that is down, or opens its listener again.
    pub(crate) fn start(self: &Arc<Self>, node: usize) -> Result<(), SimError> {
        let server = self.node(node)?;
        if self.end.is_cancelled() {
            return Err(SimError::Ended);
        }
        let mut state = server.state();
        if state.life.as_ref().is_some_and(|life| !life.listener.end.is_cancelled()) {
            return Ok(());
        }
        let socket = listen(server.address)?;
        if state.life.is_none() {
            state.started = SystemTime::now();
        }
        let life = state.life.get_or_insert_with(|| Life {
            ending: watch::Sender::new(Ending::Running),
            listener: Listener::default(),
            tasks: TaskTracker::new(),
        });
        life.listener = Listener::default();
        let (listener, ending, tasks) = (life.listener.clone(), life.ending.subscribe(), life.tasks.clone());
        let server = Server { inner: Arc::clone(self), node };
        let accept = connection::accept(server, socket, listener.end, ending, tasks);
        self.spawn(&listener.task, accept);
        drop(state);
        self.record(|snapshot| snapshot.nodes[node].up = true);
        Ok(())
    }

    /// Ends a node's process, as its clients see it, and records that it is down.
    pub(crate) async fn stop(&self, node: usize, how: Ending) -> Result<(), SimError> {
        let server = self.node(node)?;
        self.record(|snapshot| {
            if std::mem::take(&mut snapshot.nodes[node].up) {
                snapshot.nodes[node].last_seen = SystemTime::now();
            }
        });
        server.state().restart_when_thawed = false;
        server.end(how).await;
        server.frozen.send_replace(false);
        server.deaf.send_replace(false);
        Ok(())
    }

    /// Records a change of the topology and points the reader endpoint at a reader that is up.
    pub(crate) fn record(&self, edit: impl FnOnce(&mut super::topology::Snapshot)) {
        let snapshot = {
            let mut history = locked(&self.history);
            history.change(edit);
            history.at(Duration::ZERO)
        };
        let reader = (0..self.nodes.len()).find(|node| *node != snapshot.writer && snapshot.nodes[*node].up);
        let target = self.nodes[reader.unwrap_or(snapshot.writer)].address.ip();
        if locked(&self.tuning).reader_endpoint.replace(target) != Some(target) {
            self.names.point(&self.config.reader_endpoint(), target);
        }
    }
}

pub(crate) fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, SimError> {
    let open = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?; // a crashed node comes back on its port at once
        socket.bind(address)?;
        socket.listen(1024)
    };
    open().map_err(|source| SimError::Listen { address, source })
}

/// MySQL's number of a server: unlike its place in the cluster, as RDS' numbers are.
fn server_id(node: usize) -> u64 {
    1_000_000_001 + node as u64
}

/// One server, as its sessions see it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) inner: Arc<Inner>,
    pub(crate) node: usize,
}

impl Server {
    pub(crate) fn own(&self) -> &Node {
        &self.inner.nodes[self.node]
    }
}

impl Facts for Server {
    fn engine(&self) -> Engine {
        self.inner.config.engine
    }

    fn server_id(&self) -> u64 {
        server_id(self.node)
    }

    fn flavour(&self) -> Flavour {
        self.inner.config.flavour
    }

    fn rds_tools(&self) -> RdsTools {
        *locked(&self.inner.rds_tools)
    }

    fn in_recovery(&self) -> bool {
        self.inner.store.writer() != Some(self.node)
    }

    fn address(&self) -> SocketAddr {
        self.own().address
    }

    fn version(&self) -> String {
        let version = &self.inner.config.engine_version;
        match self.engine() {
            Engine::Postgres => format!("PostgreSQL {version} on x86_64-pc-linux-gnu, simulated, 64-bit"),
            Engine::Mysql => version.clone(),
        }
    }

    fn started(&self) -> SystemTime {
        self.own().state().started
    }

    fn instance(&self) -> String {
        self.own().instance.clone()
    }

    fn resource_id(&self) -> String {
        self.own().resource_id.clone()
    }

    fn topology(&self) -> Vec<Member> {
        let delay = self.own().state().topology_delay;
        let snapshot = locked(&self.inner.history).at(delay);
        let tuning = locked(&self.inner.tuning);
        let member = |(index, node): (usize, &Node)| Member {
            instance: node.instance.clone(),
            endpoint: node.endpoint.clone(),
            resource_id: node.resource_id.clone(),
            server_id: server_id(index),
            session_id: format!("5e551017-0000-4000-8000-{index:012}"),
            port: node.address.port(),
            writer: snapshot.writer == index,
            lag: tuning.lags[index],
            cpu: tuning.cpus[index],
            updated: snapshot.nodes[index].last_seen,
        };
        self.inner.nodes.iter().enumerate().map(member).collect()
    }

    fn sessions(&self) -> Vec<Activity> {
        let state = self.own().state();
        let logged_in =
            state.sessions.values().filter_map(|entry| Some((entry.client, entry.login.as_ref()?)));
        let activity = |(client, login): (SocketAddr, &super::node::LoginEntry)| Activity {
            pid: login.pid,
            user: login.user.clone(),
            database: login.database.clone(),
            application_name: login.application_name.clone(),
            client,
        };
        logged_in.map(activity).collect()
    }

    fn fate_of_commit(&self, pid: i32) -> CommitFate {
        let mut state = self.own().state();
        let own = state.sessions.values().find(|entry| entry.login.as_ref().is_some_and(|l| l.pid == pid));
        let (Some(entry), fate) = (own, state.next_commit) else { return CommitFate::Acknowledged };
        if fate != CommitFate::Acknowledged {
            entry.kill.send_replace(Ending::Reset);
            state.next_commit = CommitFate::Acknowledged;
        }
        fate
    }

    fn signal(&self, pid: i32, terminate: bool) -> bool {
        if terminate {
            let state = self.own().state();
            let found =
                state.sessions.values().find(|entry| entry.login.as_ref().is_some_and(|l| l.pid == pid));
            found.map(|entry| entry.kill.send_replace(Ending::Shutdown)).is_some()
        } else {
            let cancels = locked(&self.inner.cancels);
            let found = cancels.get(&pid).filter(|key| key.node == self.node);
            found.inspect(|key| key.cancel.notify_waiters()).is_some()
        }
    }
}
