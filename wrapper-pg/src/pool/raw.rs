//! The driver's own clients: each opened through the plugins, on the verified writer, and ended by the library when its
//! host loses that role.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wrapper_core::cluster::{Cluster, ClusterCore, Lease};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::session::{Attempt, Current, SessionOptions};
use wrapper_core::{Error, ErrorKind, Result};

#[cfg(feature = "deadpool")]
use super::switches::Switches;
use crate::Connector;
use crate::connection::PgConnection;
use crate::link::Link;

/// Opens clients of the driver, for pools and libraries that want those: `deadpool_postgres::Pool` (feature
/// `deadpool-postgres`), diesel-async, generated code over `tokio_postgres::GenericClient`.
///
/// Each client is opened as [`Connector::connect`] does, so its host has shown itself to be the writer. When the host
/// loses that role, the connection is ended: the client says that it is closed, calls in flight end with the driver's
/// error, also when the host is silent. A client that is lost otherwise makes the monitor look at once.
///
/// No plugin sees the calls of such a client. A call on a silent host is not given up before the monitor has found another
/// writer; it looks every `topology_refresh`. Statements of a client end with it. A connector whose plugins need no
/// topology follows nobody.
#[derive(Clone)]
pub struct RawConnect {
    connector: Connector,
    #[cfg(feature = "deadpool")]
    switches: Arc<Switches>,
}

impl RawConnect {
    /// For clients of `connector`.
    pub fn new(connector: Connector) -> Self {
        Self {
            #[cfg(feature = "deadpool")]
            switches: Arc::new(Switches::new(connector.cluster().writer_epoch())),
            connector,
        }
    }

    /// The connector: topology, shutdown.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Opens a client. Its connection ends with it, or with the cluster.
    ///
    /// # Errors
    /// As for [`Connector::connect`]; [`ErrorKind::Plugin`] when a plugin keeps the connection.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    pub async fn client(&self) -> Result<tokio_postgres::Client> {
        // Nobody needs the task: it ends with the connection.
        self.open().await.map(|(client, _)| client)
    }

    /// Opens a client, and a task that ends its connection within a bounded time when it is ended itself.
    pub(super) async fn open(&self) -> Result<(tokio_postgres::Client, JoinHandle<()>)> {
        let cluster = self.connector.cluster();
        let session = self.connector.core().open::<PgConnection>(SessionOptions::default()).await?;
        let current = session.pin();
        let Attempt { host, epoch, .. } = current.attempt();
        drop(session);
        let connection = alone(current).ok_or_else(|| {
            Error::new(
                ErrorKind::Plugin,
                "a plugin keeps the connection that was opened for a client of the driver; it may hold it weakly only",
            )
        })?;
        #[cfg(feature = "deadpool")]
        self.switches.opened(cluster, host.role == HostRole::Writer);
        let (client, hold) = connection.into_raw();
        let (over, ended) = oneshot::channel();
        let watched = Watched {
            link: Arc::clone(hold.link()),
            _lease: cluster.registry().lease(&host.key),
            host,
            epoch,
            _over: over,
        };
        cluster.spawn("raw client", watched.watch(Arc::clone(cluster.core())));
        // As any client keeps its cluster, so does this one.
        let held = (hold, Cluster::clone(cluster));
        let task = Handle::current().spawn(async move {
            let _held = held;
            // Nothing is ever sent: the other side goes with the watch, which ends with the connection or the cluster.
            let _ = ended.await;
        });
        Ok((client, task))
    }

    #[cfg(feature = "deadpool")]
    pub(super) fn cluster_core(&self) -> Arc<ClusterCore> {
        Arc::clone(self.connector.cluster().core())
    }

    #[cfg(feature = "deadpool")]
    pub(super) fn switches(&self) -> Arc<Switches> {
        Arc::clone(&self.switches)
    }
}

impl fmt::Debug for RawConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawConnect").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// The connection, out of a session that is gone; `None` when somebody else holds it.
fn alone(current: Arc<Current<PgConnection>>) -> Option<PgConnection> {
    let connection = {
        let current = Arc::into_inner(current)?;
        Arc::clone(&current.connection)
    };
    Arc::into_inner(connection)
}

/// A connection whose client is in somebody else's hands.
struct Watched {
    link: Arc<Link>,
    host: HostInfo,
    epoch: u64,
    _lease: Lease,
    _over: oneshot::Sender<()>,
}

impl Watched {
    /// Ends the connection when its host has lost the writer role; tells the monitor when it was lost otherwise.
    async fn watch(self, cluster: Arc<ClusterCore>) {
        let mut topology = cluster.subscribe();
        loop {
            let demoted = || cluster.registry().demoted_in(&self.host.key) > self.epoch;
            if self.host.role == HostRole::Writer && demoted() {
                let text =
                    format!("{} has lost the writer role since this connection was opened", self.host.key);
                self.link.kill(Error::new(ErrorKind::Demoted, text).with_host(self.host.host()));
                return;
            }
            tokio::select! {
                biased;
                () = self.link.ended() => break,
                changed = topology.changed() => if changed.is_err() {
                    return;
                }
            }
        }
        // Without a cause it was its owner who ended it.
        if self.link.cause().is_some() && !self.link.is_killed() {
            cluster.request_search();
        }
    }
}
