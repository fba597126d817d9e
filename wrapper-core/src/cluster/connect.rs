//! Connects whose end is known: which host it is, and whether it has the role that was asked for (R10).

use std::sync::Arc;
use std::time::Duration;

use super::{Cluster, ClusterCore, MonitorConnection, MonitorPermit};
use crate::dialect;
use crate::driver::{ConnectTarget, DriverConnection};
use crate::env::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostInfo, HostRole};
use crate::plugin::{Chain, ConnectContext, Connected};
use crate::topology::{HostListProvider, HostStatus, RdsProvider, StaticListProvider};

/// How long ago the writer may have answered for itself in full for a session's connection to it to be asked for its
/// role alone: some of the monitor's questions at the high rate.
const FRESH: Duration = Duration::from_millis(500);

impl Cluster {
    /// Opens a session's connection to exactly `host` and asks the host for its role before it is handed out.
    ///
    /// # Errors
    /// [`ErrorKind::WrongRole`] when the host does not have `role` ([`HostRole::Unknown`] takes any); whatever the
    /// connect itself returns. The connection is closed then.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub async fn connect_verified(
        &self,
        chain: &Chain,
        host: &HostInfo,
        role: HostRole,
        deadline: Deadline,
    ) -> Result<Connected> {
        let deadline = deadline.cap(self.options().connect_timeout, "connect_timeout");
        let mut cx = ConnectContext::new(self, ConnectTarget::session(host.clone()), deadline);
        cx.role = role;
        let connected = chain.force_connect(&mut cx).await?;
        self.verify(connected, role, deadline).await
    }

    /// Asks the host behind a connection who it is and what role it has.
    ///
    /// # Errors
    /// [`ErrorKind::WrongRole`] when it does not have `role` ([`HostRole::Unknown`] takes any); the connection is
    /// closed then.
    ///
    /// # Cancellation
    /// Closes the connection.
    pub async fn verify(
        &self,
        mut connected: Connected,
        role: HostRole,
        deadline: Deadline,
    ) -> Result<Connected> {
        let provider = self.learn(&connected.connection, deadline).await?;
        let mut demoted = false;
        if let Some(writer) = self.fresh_writer(&connected.host) {
            let limit = deadline.cap(self.options().auxiliary_query_timeout, "auxiliary_query_timeout");
            connected.host = writer.with_role(provider.role(&*connected.connection, limit).await?);
        } else {
            let status = self.status(&*connected.connection, &provider, deadline).await?;
            demoted = status.accepts_writes && !self.believes(&connected.host, &status);
            connected.host = self.identified(&connected.host, &status);
            if demoted {
                connected.host = connected.host.with_role(HostRole::Reader);
            }
        }
        let found = connected.host.role;
        if role != HostRole::Unknown && found != role {
            let why = if demoted {
                " (it still accepts writes, but names another host as the writer, though it named itself before)"
            } else {
                ""
            };
            let error = Error::new(
                ErrorKind::WrongRole,
                format!("{} is a {found}, but a {role} was asked for{why}", connected.host.key),
            )
            .with_host(connected.host.host());
            connected.connection.kill(error.clone());
            return Err(error);
        }
        Ok(connected)
    }
}

impl ClusterCore {
    /// The host list provider; the first connection is asked which one it is.
    ///
    /// # Errors
    /// The question failed, or its answer says that the library cannot work here; the text says what to do.
    ///
    /// # Cancellation
    /// Safe: the next caller asks again.
    pub async fn learn(
        &self,
        connection: &Arc<dyn DriverConnection>,
        deadline: Deadline,
    ) -> Result<Arc<dyn HostListProvider>> {
        let provider = self
            .provider
            .get_or_try_init(|| async {
                let limit = deadline.cap(self.options.auxiliary_query_timeout, "auxiliary_query_timeout");
                let dialect = match &self.options.dialect {
                    Some(dialect) => Arc::clone(dialect),
                    None => {
                        let engine = self.driver.engine();
                        // Boxed: it is large, it runs once, and every connect would carry it.
                        let asked = dialect::detect(engine, &**connection, self.options.hint, limit);
                        let detected = Box::pin(asked).await?;
                        if let Some(note) = detected.note {
                            self.warn_once(note);
                        }
                        detected.dialect
                    }
                };
                self.driver.dialect_known(dialect.id());
                self.provider_for(dialect)
            })
            .await?;
        Ok(Arc::clone(provider))
    }

    fn provider_for(&self, dialect: Arc<dyn dialect::Dialect>) -> Result<Arc<dyn HostListProvider>> {
        let hosts = self.options.hosts.clone();
        if dialect.topology_query().is_none() {
            return Ok(Arc::new(StaticListProvider::new(dialect, hosts)?));
        }
        let template = self.options.template.clone().ok_or_else(|| {
            Error::config(format!(
                "`cluster_instance_host_pattern` is not set and cannot be derived from the host `{}`; set it to the \
                 names of the cluster's instances with `?` in place of the instance, such as \
                 `?.xyz.us-east-2.rds.amazonaws.com`, or set `wrapper_dialect=pg` to go without topology",
                hosts.first().map_or("", HostInfo::host)
            ))
        })?;
        Ok(Arc::new(RdsProvider::new(dialect, template, self.options.default_port, hosts)?))
    }

    pub(super) async fn status(
        &self,
        connection: &dyn DriverConnection,
        provider: &Arc<dyn HostListProvider>,
        deadline: Deadline,
    ) -> Result<HostStatus> {
        let limit = deadline.cap(self.options.auxiliary_query_timeout, "auxiliary_query_timeout");
        provider.status(connection, limit).await
    }

    /// The writer as it is listed, when `dialled` is it and has just answered for itself in full.
    fn fresh_writer(&self, dialled: &HostInfo) -> Option<HostInfo> {
        let published = self.topology().filter(|published| published.verified)?;
        let writer = published.topology.writer().filter(|writer| writer.key == dialled.key)?;
        (self.env.now().saturating_duration_since(published.at) <= FRESH).then(|| writer.clone())
    }

    /// The host that a server says it is: found by its id in the topology, else the host that was dialled.
    pub(super) fn identified(&self, dialled: &HostInfo, status: &HostStatus) -> HostInfo {
        let listed = self.topology().and_then(|published| {
            let topology = &published.topology;
            match &status.id {
                Some(id) => topology.find_id(id).cloned(),
                None => topology.find(&dialled.key).cloned(),
            }
        });
        let mut host = listed.unwrap_or_else(|| dialled.clone()).with_role(status.role());
        if host.id.is_none() {
            host.id.clone_from(&status.id);
        }
        host
    }

    /// Learns the first topology over a connection that has just been opened, and starts the monitor.
    ///
    /// # Errors
    /// The question failed; or the topology shares no host with the one that this cluster knows:
    /// two clusters were given one `cluster_id`.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn learn_topology(
        self: &Arc<Self>,
        connection: &Arc<dyn DriverConnection>,
        deadline: Deadline,
    ) -> Result<()> {
        let provider = self.learn(connection, deadline).await?;
        if provider.is_dynamic() {
            let limit = deadline.cap(self.options.auxiliary_query_timeout, "auxiliary_query_timeout");
            match (provider.refresh(&**connection, limit).await, self.topology()) {
                (Ok(topology), Some(known)) => self.check_same_cluster(&known.topology, &topology)?,
                (Ok(topology), None) => self.publish_hint(topology),
                // In the middle of a failover a server may list nobody; the hosts are known from before.
                (Err(error), Some(_)) if error.kind() == ErrorKind::Topology => {}
                (Err(error), _) => return Err(error),
            }
        } else if self.topology().is_none() {
            self.publish_hint(crate::topology::Topology::new(provider.initial_hosts().to_vec()));
        }
        self.ensure_monitor();
        Ok(())
    }

    fn check_same_cluster(
        &self,
        known: &crate::topology::Topology,
        new: &crate::topology::Topology,
    ) -> Result<()> {
        let shared = new.hosts().iter().any(|host| known.find(&host.key).is_some());
        if shared || new.is_empty() || known.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Topology,
            format!(
                "`cluster_id={}` is used for two clusters: one has {known}, the other {new}; give each its own \
                 `cluster_id`, or do not share one connector between them",
                self.options.id
            ),
        ))
    }

    /// Opens a connection of a monitor to exactly `host`, within the budget.
    ///
    /// # Errors
    /// Whatever the connect returns; it ends by the deadline, or by `topology_monitoring_connect_timeout`.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub async fn open_monitor(
        self: &Arc<Self>,
        host: &HostInfo,
        deadline: Deadline,
    ) -> Result<MonitorConnection> {
        let permit = deadline.run("waiting for a free monitoring connection", self.budget.permit()).await?;
        self.open_monitor_with(permit, host, deadline).await
    }

    /// Opens a connection of a monitor to exactly `host` for a caller that has waited for its turn already, so that
    /// the wait is no part of the connect's time.
    ///
    /// # Errors
    /// Whatever the connect returns; it ends by the deadline.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub async fn open_monitor_with(
        self: &Arc<Self>,
        permit: MonitorPermit,
        host: &HostInfo,
        deadline: Deadline,
    ) -> Result<MonitorConnection> {
        let target = ConnectTarget::monitor(host.clone());
        let connection = match self.monitor_chain.get() {
            Some(chain) => {
                // A chain goes around a `Cluster`; this one is not the owner whose drop ends the tasks.
                let cluster = Cluster::borrowed(self);
                let mut cx = ConnectContext::new(&cluster, target, deadline);
                chain.force_connect(&mut cx).await?.connection
            }
            None => self.driver.connect(&target, deadline).await?,
        };
        Ok(MonitorConnection::new(connection, host.clone(), permit))
    }
}
