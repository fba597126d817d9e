//! The cluster as a user holds it: who is where, by which name, with which login.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;

use super::conf::{DATABASE, SUPERUSER, Settings};
use super::control::Control;
use super::error::Error;
use super::options::{Builder, Options};
use super::server::Server;
use super::topology::Topology;
use super::watchdog::Watchdog;
use crate::names::NameTable;
use crate::proxy::FaultProxy;
use crate::verbs::NodeId;

/// How long a statement of the harness, or a connect, may take.
pub(crate) const CONTROL_LIMIT: Duration = Duration::from_secs(5);

/// A login: user, password, database.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// Name of the user.
    pub user: String,
    /// Password of the user.
    pub password: String,
    /// Database to connect to.
    pub database: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} at {}, password masked)", self.user, self.database)
    }
}

/// Three running PostgreSQL servers; dropping it ends them and removes their files.
///
/// Verbs that change roles (`fail_over`, `planned_switchover`, `promote`, `rejoin`) run one at a time, in a task
/// of the cluster's own: dropping their future leaves nothing half done.
#[derive(Debug)]
pub struct LocalCluster {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) root: PathBuf,
    pub(crate) port: u16,
    pub(crate) hash: String,
    pub(crate) servers: Vec<Server>,
    pub(crate) instances: Vec<String>,
    /// One before each node, or none at all.
    pub(crate) proxies: Vec<FaultProxy>,
    pub(crate) clients_reach: [SocketAddr; 3],
    pub(crate) names: NameTable,
    pub(crate) topology: Topology,
    pub(crate) superuser_password: String,
    /// Index of the present writer, and of the node the reader endpoint names.
    pub(crate) writer: AtomicUsize,
    pub(crate) reader: AtomicUsize,
    /// Counts promotions; a node lost under an older number must be rewound.
    pub(crate) promotions: AtomicU64,
    pub(crate) draw: Mutex<fastrand::Rng>,
    pub(crate) tuning: Mutex<Tuning>,
    /// Old writers that come back by themselves.
    pub(crate) returning: Mutex<BTreeSet<NodeId>>,
    /// Held by the verb that changes roles.
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) stopped: CancellationToken,
    pub(crate) watchdog: Mutex<Option<Watchdog>>,
}

/// What may be changed while the cluster runs.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    pub(crate) promotion_time: std::ops::RangeInclusive<Duration>,
    pub(crate) restart_on_promote: bool,
    pub(crate) restart_readers: bool,
    pub(crate) rejoin_after: Option<Duration>,
}

impl LocalCluster {
    /// Begins the description of a cluster.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The nodes.
    pub fn nodes(&self) -> [NodeId; 3] {
        NodeId::ALL
    }

    /// The node that is the writer as far as the harness knows; [`truth`](Self::truth) asks the servers.
    pub fn writer(&self) -> NodeId {
        self.inner.writer()
    }

    /// The other nodes, whether they run or not.
    pub fn readers(&self) -> [NodeId; 2] {
        let [a, b, c] = NodeId::ALL;
        match self.writer().index() {
            0 => [b, c],
            1 => [a, c],
            _ => [a, b],
        }
    }

    /// The names of the cluster, for the resolver of a client under test.
    pub fn names(&self) -> NameTable {
        self.inner.names.clone()
    }

    /// Host name that leads to the writer, as late as the name table's lag.
    pub fn cluster_endpoint(&self) -> String {
        self.inner.cluster_endpoint()
    }

    /// Host name that leads to one of the readers.
    pub fn reader_endpoint(&self) -> String {
        self.inner.reader_endpoint()
    }

    /// Host name of a node.
    pub fn instance_endpoint(&self, node: NodeId) -> String {
        self.inner.instance_endpoint(node)
    }

    /// The pattern of the instances' host names, as the setting `cluster_instance_host_pattern` takes it.
    pub fn instance_pattern(&self) -> String {
        format!("?.{}", self.inner.domain())
    }

    /// Name of a node: the first label of its host name, and its `cluster_name` setting.
    pub fn instance(&self, node: NodeId) -> &str {
        self.inner.instances.get(node.index()).map_or("", String::as_str)
    }

    /// The node with this name.
    pub fn node_named(&self, instance: &str) -> Option<NodeId> {
        NodeId::ALL.into_iter().find(|node| self.instance(*node) == instance)
    }

    /// Port of all nodes.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// Where clients reach a node: its proxy, if there is one.
    pub fn address(&self, node: NodeId) -> SocketAddr {
        self.inner.clients_reach[node.index()]
    }

    /// Where the server of a node listens, past any proxy.
    pub fn server_address(&self, node: NodeId) -> SocketAddr {
        self.inner.server(node).address
    }

    /// The proxy before a node, for its counts; none without `.with_proxy(true)`.
    pub fn proxy(&self, node: NodeId) -> Option<&FaultProxy> {
        self.inner.proxies.get(node.index())
    }

    /// The application's login.
    pub fn app(&self) -> Credentials {
        let options = &self.inner.options;
        let (user, password) = (options.user.clone(), options.password.clone());
        Credentials { user, password, database: options.database.clone() }
    }

    /// The superuser's login.
    pub fn superuser(&self) -> Credentials {
        let password = self.inner.superuser_password.clone();
        Credentials { user: SUPERUSER.to_owned(), password, database: self.inner.options.database.clone() }
    }

    /// A bare driver's settings for the application at a node, through its proxy if there is one.
    pub fn app_config(&self, node: NodeId) -> tokio_postgres::Config {
        config(self.address(node), &self.app())
    }

    /// A bare driver's settings for the superuser at a node, past any proxy.
    pub fn superuser_config(&self, node: NodeId) -> tokio_postgres::Config {
        config(self.server_address(node), &self.superuser())
    }

    /// A bare driver's connection as the application; its background task ends with the client.
    ///
    /// # Errors
    /// The driver's; also when there is no answer within 5 s.
    pub async fn connect_app(&self, node: NodeId) -> Result<tokio_postgres::Client, Error> {
        connect(node, &self.app_config(node)).await
    }

    /// A bare driver's connection as the superuser, past any proxy; its background task ends with the client.
    ///
    /// # Errors
    /// The driver's; also when there is no answer within 5 s.
    pub async fn connect_superuser(&self, node: NodeId) -> Result<tokio_postgres::Client, Error> {
        connect(node, &self.superuser_config(node)).await
    }

    /// Where a server writes its log.
    pub fn log_file(&self, node: NodeId) -> PathBuf {
        self.inner.server(node).log_file()
    }

    /// The folder of the cluster; it goes away with it.
    pub fn folder(&self) -> &Path {
        &self.inner.root
    }

    /// Ends the servers and removes their files, off the async threads. Dropping does the same, blocking for a
    /// moment.
    pub async fn stop(self) {
        // An abandoned closing goes on by itself.
        let _ = tokio::task::spawn_blocking(move || self.inner.close()).await;
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl Inner {
    pub(crate) fn server(&self, node: NodeId) -> &Server {
        &self.servers[node.index()]
    }

    pub(crate) fn writer(&self) -> NodeId {
        NodeId::ALL[self.writer.load(Ordering::Acquire)]
    }

    pub(crate) fn domain(&self) -> String {
        format!("{}.us-east-2.rds.amazonaws.com", self.hash)
    }

    pub(crate) fn cluster_endpoint(&self) -> String {
        format!("{}.cluster-{}", self.options.name, self.domain())
    }

    pub(crate) fn reader_endpoint(&self) -> String {
        format!("{}.cluster-ro-{}", self.options.name, self.domain())
    }

    pub(crate) fn instance_endpoint(&self, node: NodeId) -> String {
        format!("{}.{}", self.instances[node.index()], self.domain())
    }

    pub(crate) fn tuning(&self) -> Tuning {
        self.tuning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the settings of a server, which from then on streams from `upstream` or from nobody.
    pub(crate) fn configure(&self, node: NodeId, upstream: Option<NodeId>) -> Result<(), Error> {
        let server = self.server(node);
        server.configure(&Settings {
            options: &self.options,
            instances: &self.instances,
            instance: &server.instance,
            address: server.address,
            superuser_password: &self.superuser_password,
            upstream: upstream.map(|upstream| self.server(upstream).address),
        })
    }

    /// A connection of the harness to the database `postgres` of a node.
    pub(crate) async fn control(&self, node: NodeId) -> Result<Control, Error> {
        let server = self.server(node);
        Control::connect(node, server.address, &self.superuser_password, DATABASE, CONTROL_LIMIT).await
    }

    /// Runs a verb in a task of its own, ended only by the end of the cluster.
    pub(crate) async fn detached<T: Send + 'static>(
        self: &Arc<Self>,
        verb: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let stopped = self.stopped.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => Err(Error::Stopped),
                result = verb => result,
            }
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Stopped),
            },
        }
    }

    /// Ends everything; a second call finds nothing to do.
    pub(crate) fn close(&self) {
        self.stopped.cancel();
        self.servers.iter().for_each(Server::close);
        let watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(watchdog);
        self.servers.iter().for_each(Server::reap);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn config(address: SocketAddr, login: &Credentials) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port());
    config.user(&login.user).password(&login.password).dbname(&login.database);
    config.connect_timeout(CONTROL_LIMIT);
    config
}

async fn connect(node: NodeId, config: &tokio_postgres::Config) -> Result<tokio_postgres::Client, Error> {
    let what = "connect";
    let (client, connection) = match tokio::time::timeout(CONTROL_LIMIT, config.connect(NoTls)).await {
        Ok(connected) => connected.map_err(|source| Error::Sql { node, what, source })?,
        Err(_) => return Err(Error::Deadline { what: format!("{node}, connect"), limit: CONTROL_LIMIT }),
    };
    tokio::spawn(async move {
        // Its error reaches the client's calls.
        let _ = connection.await;
    });
    Ok(client)
}
