//! The cluster as a user holds it: who is where, by which name, with which login.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use tokio_util::sync::CancellationToken;

use super::conf::{Role, SUPERUSER, Settings, first_statements};
use super::control::{self, Control};
use super::front::Front;
use super::kind::MySqlKind;
use super::options::{Builder, Options};
use super::place::Programs;
use super::server::Server;
use super::start::START_LIMIT;
use super::topology::Topology;
use super::{Credentials, Error};
use crate::local::cluster::Tuning;
use crate::local::watchdog::Watchdog;
use crate::names::NameTable;
use crate::proxy::FaultProxy;
use crate::verbs::NodeId;

/// How long a statement of the harness, or a connect, may take.
pub(crate) const CONTROL_LIMIT: Duration = Duration::from_secs(5);

/// Three running MariaDB or MySQL servers; dropping it ends them and removes their files.
///
/// Verbs that change roles (`fail_over`, `planned_switchover`, `promote`, `rejoin`) run one at a time, in a task
/// of the cluster's own: dropping their future leaves nothing half done.
#[derive(Debug)]
pub struct MySqlCluster {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) root: PathBuf,
    pub(crate) port: u16,
    pub(crate) hash: String,
    pub(crate) programs: Programs,
    pub(crate) servers: Vec<Server>,
    pub(crate) instances: Vec<String>,
    /// One before each server of a flavour with metadata of its own, or none at all.
    pub(crate) fronts: Vec<Front>,
    /// One before each node, or none at all.
    pub(crate) proxies: Vec<FaultProxy>,
    pub(crate) clients_reach: [SocketAddr; 3],
    pub(crate) names: NameTable,
    pub(crate) topology: Topology,
    pub(crate) secret: String,
    /// Index of the present writer, and of the node the reader endpoint names.
    pub(crate) writer: AtomicUsize,
    pub(crate) reader: AtomicUsize,
    /// For each promotion, the number of the last transaction that the new writer has from before it.
    pub(crate) promotions: Mutex<Vec<u64>>,
    pub(crate) draw: Mutex<fastrand::Rng>,
    pub(crate) tuning: Mutex<Tuning>,
    /// Old writers that come back by themselves.
    pub(crate) returning: Mutex<BTreeSet<NodeId>>,
    /// Held by the verb that changes roles.
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) stopped: CancellationToken,
    pub(crate) watchdog: Mutex<Option<Watchdog>>,
}

impl MySqlCluster {
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

    /// Name of a node: the first label of its host name, and its `@@aurora_server_id`.
    pub fn instance(&self, node: NodeId) -> &str {
        self.inner.instances.get(node.index()).map_or("", String::as_str)
    }

    /// The node with this name.
    pub fn node_named(&self, instance: &str) -> Option<NodeId> {
        NodeId::ALL.into_iter().find(|node| self.instance(*node) == instance)
    }

    /// A node's `@@server_id`, which is its id in `mysql.rds_topology`.
    pub fn server_id(&self, node: NodeId) -> u32 {
        self.inner.server(node).server_id
    }

    /// Family of the servers.
    pub fn kind(&self) -> MySqlKind {
        self.inner.kind()
    }

    /// Name and version of the servers, such as `MariaDB 10.11.14` or `MySQL 8.4.3`.
    pub fn server_version(&self) -> String {
        format!("{} {}", self.kind().name(), self.inner.programs.version)
    }

    /// Port of all nodes.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// Where clients reach a node: its proxy, its front or its server, whichever comes first.
    pub fn address(&self, node: NodeId) -> SocketAddr {
        self.inner.clients_reach[node.index()]
    }

    /// Where the server of a node listens, past any proxy and front.
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
        let password = self.inner.secret.clone();
        Credentials { user: SUPERUSER.to_owned(), password, database: self.inner.options.database.clone() }
    }

    /// A bare driver's settings for the application at a node, through proxy and front if there are any.
    pub fn app_config(&self, node: NodeId) -> OptsBuilder {
        config(self.address(node), self.app())
    }

    /// A bare driver's settings for the superuser at a node, past any proxy and front.
    pub fn superuser_config(&self, node: NodeId) -> OptsBuilder {
        config(self.server_address(node), self.superuser())
    }

    /// A bare driver's connection as the application.
    ///
    /// # Errors
    /// The driver's; also when there is no answer within 5 s.
    pub async fn connect_app(&self, node: NodeId) -> Result<Conn, Error> {
        control::within(CONTROL_LIMIT, "connect", node, Conn::new(self.app_config(node))).await
    }

    /// A bare driver's connection as the superuser, past any proxy and front.
    ///
    /// # Errors
    /// The driver's; also when there is no answer within 5 s.
    pub async fn connect_superuser(&self, node: NodeId) -> Result<Conn, Error> {
        control::within(CONTROL_LIMIT, "connect", node, Conn::new(self.superuser_config(node))).await
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

impl Drop for MySqlCluster {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl Inner {
    pub(crate) fn server(&self, node: NodeId) -> &Server {
        &self.servers[node.index()]
    }

    pub(crate) fn kind(&self) -> MySqlKind {
        self.programs.kind
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

    /// Writes the settings for a server's next start.
    pub(crate) fn configure(&self, node: NodeId, role: Role) -> Result<(), Error> {
        self.configure_at(node, role, self.server(node).address)
    }

    fn configure_at(&self, node: NodeId, role: Role, address: SocketAddr) -> Result<(), Error> {
        let server = self.server(node);
        let settings = Settings {
            kind: self.kind(),
            options: &self.options,
            address,
            reported: self.clients_reach[node.index()],
            server_id: server.server_id,
            role,
        };
        server.configure(&settings, &first_statements(self.kind(), &self.secret))
    }

    /// Starts a server and waits until it accepts connections; from then on its front does, too.
    pub(crate) async fn bring_up(&self, node: NodeId, limit: Duration) -> Result<Control, Error> {
        let server = self.server(node);
        server.spawn()?;
        let mut control = server.accepting(server.address, &self.secret, limit).await?;
        control.allow(CONTROL_LIMIT);
        if let Some(front) = self.fronts.get(node.index()) {
            front.open().await.map_err(Error::io(format!("listen again for {node}")))?;
        }
        Ok(control)
    }

    /// Starts a server as a reader where no client reaches it.
    pub(crate) async fn bring_up_aside(&self, node: NodeId) -> Result<Control, Error> {
        let server = self.server(node);
        self.configure_at(node, Role::Reader, server.aside)?;
        server.spawn()?;
        let mut control = server.accepting(server.aside, &self.secret, START_LIMIT).await?;
        control.allow(CONTROL_LIMIT);
        Ok(control)
    }

    /// Lets the front refuse connections while there is no server behind it.
    pub(crate) async fn shut_front(&self, node: NodeId) {
        if let Some(front) = self.fronts.get(node.index()) {
            front.shut().await;
        }
    }

    /// A connection of the harness to a node.
    pub(crate) async fn control(&self, node: NodeId) -> Result<Control, Error> {
        Control::connect((node, self.kind()), self.server(node).address, &self.secret, CONTROL_LIMIT).await
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

fn config(address: SocketAddr, login: Credentials) -> OptsBuilder {
    control::options(address).user(Some(login.user)).pass(Some(login.password)).db_name(Some(login.database))
}
