//! One simulated server: its address, whether it runs, and the sessions that it has.
//!
//! What may not live here: the cluster's affairs (`inner.rs`, `failover.rs`) and the protocol (`connection.rs`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A server of the cluster; it outlives its crashes.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) instance: String,
    pub(crate) endpoint: String,
    pub(crate) address: SocketAddr,
    pub(crate) resource_id: String,
    /// `true` while the node is frozen.
    pub(crate) frozen: watch::Sender<bool>,
    /// `true` while new connections alone are left without an answer.
    pub(crate) deaf: watch::Sender<bool>,
    state: Mutex<State>,
}

/// What changes over a node's life.
#[derive(Debug)]
pub(crate) struct State {
    /// The present incarnation; `None` while the node is down.
    pub(crate) life: Option<Life>,
    /// Counts the times that the node went down, so that a late restart knows whether it is still wanted.
    pub(crate) downs: u64,
    pub(crate) started: SystemTime,
    /// New logins get this error (SQLSTATE, message) instead of a session.
    pub(crate) rejection: Option<(Cow<'static, str>, String)>,
    pub(crate) max_connections: usize,
    pub(crate) topology_delay: Duration,
    pub(crate) next_commit: CommitFate,
    /// Went through a demotion while frozen, and has to restart when it is thawed.
    pub(crate) restart_when_thawed: bool,
    /// User and password of logins that `caching_sha2_password` knows.
    pub(crate) seen_logins: BTreeSet<(String, String)>,
    pub(crate) sessions: BTreeMap<u64, SessionEntry>,
    next_session: u64,
    pub(crate) peak: usize,
}

/// One incarnation of a server process.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) ending: watch::Sender<Ending>,
    pub(crate) listener: Listener,
    /// The connections.
    pub(crate) tasks: TaskTracker,
}

/// The task that accepts connections; it can end and come back while the connections stay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listener {
    pub(crate) end: CancellationToken,
    pub(crate) task: TaskTracker,
}

impl Listener {
    /// Closes the listener and waits until it is closed.
    pub(crate) async fn close(&self) {
        self.end.cancel();
        self.task.close();
        self.task.wait().await;
    }
}

/// How a server process ends, as its clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It has not ended.
    Running,
    /// Connections are reset.
    Reset,
    /// Sessions are told 57P01, then closed.
    Shutdown,
}

/// What becomes of a transaction whose client asks for its commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitFate {
    /// It is applied, and the client is told so.
    #[default]
    Acknowledged,
    /// It is applied, but the connection is reset before the client is told.
    AppliedUnheard,
    /// The connection is reset before it is applied.
    Lost,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct SessionEntry {
    pub(crate) client: SocketAddr,
    /// Who logged in; `None` before that.
    pub(crate) login: Option<LoginEntry>,
    /// Ends this connection alone.
    pub(crate) kill: watch::Sender<Ending>,
}

/// Who logged in on a connection.
#[derive(Clone, Debug)]
pub(crate) struct LoginEntry {
    pub(crate) pid: i32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) application_name: String,
}

impl State {
    /// Ends every connection.
    pub(crate) fn kill_all(&self, how: Ending) {
        for entry in self.sessions.values() {
            entry.kill.send_replace(how);
        }
    }
}

impl Node {
    pub(crate) fn new(
        instance: String,
        endpoint: String,
        address: SocketAddr,
        max_connections: usize,
    ) -> Self {
        let mut resource_id = format!("db-{}", instance.replace('-', "").to_ascii_uppercase());
        while resource_id.len() < 29 {
            resource_id.push('7');
        }
        let state = State {
            life: None,
            downs: 0,
            started: SystemTime::now(),
            rejection: None,
            max_connections,
            topology_delay: Duration::ZERO,
            next_commit: CommitFate::Acknowledged,
            restart_when_thawed: false,
            seen_logins: BTreeSet::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            peak: 0,
        };
        let (frozen, deaf) = (watch::Sender::new(false), watch::Sender::new(false));
        Node { instance, endpoint, address, resource_id, frozen, deaf, state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state().life.is_some()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        *self.frozen.borrow()
    }

    /// Ends the present incarnation and waits until its listener and connections are gone.
    pub(crate) async fn end(&self, how: Ending) {
        let life = {
            let mut state = self.state();
            state.downs += 1;
            state.seen_logins.clear(); // kept in memory alone
            state.life.take()
        };
        if let Some(life) = life {
            life.ending.send_replace(how);
            life.listener.close().await;
            life.tasks.close();
            life.tasks.wait().await;
        }
    }

    /// Enters a connection; it is counted until the guard is dropped.
    pub(crate) fn enter(&self, client: SocketAddr) -> (SessionGuard<'_>, watch::Receiver<Ending>) {
        let (kill, killed) = watch::channel(Ending::Running);
        let mut state = self.state();
        state.next_session += 1;
        let id = state.next_session;
        state.sessions.insert(id, SessionEntry { client, login: None, kill });
        state.peak = state.peak.max(state.sessions.len());
        (SessionGuard { node: self, id }, killed)
    }
}

/// Keeps a connection in the node's books.
#[derive(Debug)]
pub(crate) struct SessionGuard<'a> {
    node: &'a Node,
    pub(crate) id: u64,
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        self.node.state().sessions.remove(&self.id);
    }
}
