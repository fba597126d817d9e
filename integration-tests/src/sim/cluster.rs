//! The handle of a simulated cluster: names, addresses, counts, and its end.
//!
//! What may not live here: faults (`verbs.rs`) and changes of the writer (`failover.rs`).

use std::net::SocketAddr;
use std::sync::Arc;

use super::builder::SimClusterBuilder;
use super::error::SimError;
use super::inner::{Inner, Server};
use super::node::Ending;
use super::session::{Session, Variables};
use super::sql::Identity;
use crate::names::NameTable;

/// A simulated Aurora, RDS Multi-AZ or plain cluster of PostgreSQL or MySQL servers inside this process.
///
/// Each node listens on a loopback address of its own, all with one port; the host names that clients use are in
/// [`names`](Self::names). Dropping the handle ends every task of the cluster soon after;
/// [`shutdown`](Self::shutdown) also waits for that.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use integration_tests::sim::SimCluster;
///
/// let cluster = SimCluster::builder().nodes(3).start().await?;
/// cluster.sql("CREATE TABLE w (id bigint)").await?;
/// let record = cluster.fail_over().await?;
/// assert_eq!(cluster.writer(), Some(record.new_writer));
/// cluster.shutdown().await;
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug)]
pub struct SimCluster {
    inner: Arc<Inner>,
}

/// One connection of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Address of the client.
    pub client: SocketAddr,
    /// Process id of the session; `None` before the login has ended.
    pub pid: Option<i32>,
    /// User, empty before the login has ended.
    pub user: String,
    /// `application_name` of the startup message.
    pub application_name: String,
}

impl SimCluster {
    /// Starts to describe a cluster; the defaults are three Aurora nodes without TLS and passwords.
    #[must_use]
    pub fn builder() -> SimClusterBuilder {
        SimClusterBuilder::default()
    }

    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        SimCluster { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The host names of the cluster, for the resolver of the client under test.
    #[must_use]
    pub fn names(&self) -> &NameTable {
        &self.inner.names
    }

    /// Number of nodes; they are numbered from 0.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.inner.nodes.len()
    }

    /// The port of all nodes.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.inner.nodes[0].address.port()
    }

    /// Where a node listens.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn address(&self, node: usize) -> Result<SocketAddr, SimError> {
        Ok(self.inner.node(node)?.address)
    }

    /// Host name that points to the writer, after the DNS lag.
    #[must_use]
    pub fn cluster_endpoint(&self) -> String {
        self.inner.config.cluster_endpoint()
    }

    /// Host name that points to a reader, after the DNS lag.
    #[must_use]
    pub fn reader_endpoint(&self) -> String {
        self.inner.config.reader_endpoint()
    }

    /// Host name of one node.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn instance_endpoint(&self, node: usize) -> Result<String, SimError> {
        Ok(self.inner.node(node)?.endpoint.clone())
    }

    /// Name of one node, such as `shop-1`.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn instance_name(&self, node: usize) -> Result<String, SimError> {
        Ok(self.inner.node(node)?.instance.clone())
    }

    /// The certificate of the cluster's authority in PEM form; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.inner.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// The node that accepts writes; `None` while it is down, and until another one is promoted.
    #[must_use]
    pub fn writer(&self) -> Option<usize> {
        self.inner.store.writer().filter(|writer| self.inner.nodes[*writer].is_up())
    }

    /// Connections that a node has open now, those that have not logged in yet included. Those that a frozen node
    /// has not accepted yet are not: only the kernel knows of them.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn count_connections(&self, node: usize) -> Result<usize, SimError> {
        Ok(self.inner.node(node)?.state().sessions.len())
    }

    /// The most connections that a node had open at once since the last call of this method.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn take_peak_connections(&self, node: usize) -> Result<usize, SimError> {
        let mut state = self.inner.node(node)?.state();
        let present = state.sessions.len();
        Ok(std::mem::replace(&mut state.peak, present))
    }

    /// The connections that a node has open now, oldest first.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn sessions(&self, node: usize) -> Result<Vec<SessionInfo>, SimError> {
        let state = self.inner.node(node)?.state();
        let info = |entry: &super::node::SessionEntry| SessionInfo {
            client: entry.client,
            pid: entry.login.as_ref().map(|login| login.pid),
            user: entry.login.as_ref().map_or_else(String::new, |login| login.user.clone()),
            application_name: entry
                .login
                .as_ref()
                .map_or_else(String::new, |login| login.application_name.clone()),
        };
        Ok(state.sessions.values().map(info).collect())
    }

    /// Runs SQL on the writer's data, without a connection; the rows of the last statement, as text.
    ///
    /// For set-up and for checks of what is stored: it works whatever the nodes do, except during a failover.
    ///
    /// # Errors
    /// [`SimError::NoWriter`] during a failover, [`SimError::Sql`] when a statement fails.
    ///
    /// # Cancellation
    /// Statements that have not been committed leave nothing.
    pub async fn sql(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, SimError> {
        let node = self.inner.store.writer().ok_or(SimError::NoWriter)?;
        let client = self.address(node)?;
        let identity = Identity { pid: 0, user: "rdsadmin".into(), database: "postgres".into(), client };
        let server = Arc::new(Server { inner: Arc::clone(&self.inner), node });
        let store = Arc::clone(&self.inner.store);
        let mut session = Session::new(server, store, node, identity, Variables::default());
        let mut text = Vec::new();
        session.begin_implicit();
        for statement in super::sql::parse(self.inner.config.engine, sql)? {
            let answer = session.execute(&statement, &[], &[]).await?;
            let (columns, rows) = answer.rows.unwrap_or_default();
            let row = |row: Vec<super::sql::value::Value>| {
                row.iter().zip(&columns).map(|(value, column)| value.to_text(&column.ty)).collect()
            };
            text = rows.into_iter().map(row).collect();
        }
        session.end_implicit().await?;
        Ok(text)
    }

    /// Ends the cluster and waits until its listeners, connections and tasks are gone.
    ///
    /// # Cancellation
    /// Dropped midway, the cluster ends all the same, unwatched.
    pub async fn shutdown(self) {
        self.inner.end.cancel();
        for node in &self.inner.nodes {
            node.end(Ending::Reset).await;
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Drop for SimCluster {
    fn drop(&mut self) {
        self.inner.end.cancel();
    }
}
