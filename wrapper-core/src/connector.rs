//! What every adapter's connector is made of: settings in, sessions out.
//!
//! What lives here: [`ConnectorCore`], which turns settings and plugin factories into a cluster and opens sessions
//! through the chain. What may not: a driver's types; adapters wrap this in their own `Connector`.

use std::sync::Arc;

use crate::cluster::{Cluster, ClusterOptions};
use crate::config::{Settings, VerifyRole};
use crate::dialect::{EndpointHint, dialect_for};
use crate::driver::{ConnectTarget, DriverConnection, DriverDialect};
use crate::env::{Deadline, Environment};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::host::{EndpointKind, HostInfo, HostRole, RdsHost, classify};
use crate::observe::Observer;
use crate::plugin::{BuildContext, Chain, ConnectContext, Connected, PluginFactory, Registry};
use crate::session::{Session, SessionOptions};

/// What a [`ConnectorCore`] is made from.
#[derive(Debug)]
pub struct ConnectorParts {
    /// The settings, checked.
    pub settings: Settings,
    /// The driver.
    pub driver: Arc<dyn DriverDialect>,
    /// Clock, DNS, randomness.
    pub env: Environment,
    /// What the setting `plugins` can name.
    pub registry: Registry,
    /// Plugins that are used when the setting `plugins` is not given.
    pub default_plugins: Vec<&'static str>,
    /// Plugins given as values; one that is also named in `plugins` is an error.
    pub plugins: Vec<Arc<dyn PluginFactory>>,
    /// Who is told of events.
    pub observers: Vec<Arc<dyn Observer>>,
    /// The port of hosts that come without one.
    pub default_port: u16,
}

/// One cluster and the way to open sessions to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectorCore {
    cluster: Cluster,
    settings: Arc<Settings>,
    endpoint: HostInfo,
    factories: Arc<[Arc<dyn PluginFactory>]>,
    needs_topology: bool,
}

impl ConnectorCore {
    /// Checks the whole configuration; nothing is opened and nothing is started.
    ///
    /// # Errors
    /// A configuration error that names the setting, the value and what is allowed.
    pub fn new(parts: ConnectorParts) -> Result<Self> {
        let ConnectorParts {
            settings,
            driver,
            env,
            registry,
            default_plugins,
            plugins,
            observers,
            default_port,
        } = parts;
        let (host, port) = settings
            .hosts()
            .first()
            .cloned()
            .ok_or_else(|| Error::config("no host is given; put one into the URL, or set `host`"))?;
        let endpoint = HostInfo::new(&host, port, HostRole::Unknown);
        let rds = classify(&host);
        if rds.kind() == EndpointKind::GlobalWriter {
            return Err(Error::new(
                crate::ErrorKind::Unsupported,
                format!(
                    "the endpoint `{host}` of an Aurora Global Database is not yet supported; \
                     connect to the writer endpoint of one of its clusters"
                ),
            ));
        }
        let mut factories = chosen(&settings, &registry, &default_plugins, plugins)?;
        let mut warnings = settings.warnings().to_vec();
        if rds.is_proxy() {
            let off: Vec<&str> = factories.iter().filter(|f| f.off_on_proxy()).map(|f| f.name()).collect();
            if !off.is_empty() {
                warnings.push(format!(
                    "`{host}` is an RDS Proxy endpoint: the plugins {} and the topology monitor are off, because the \
                     proxy chooses the instance for each request and fails over by itself",
                    off.join(", ")
                ));
            }
            factories.retain(|factory| !factory.off_on_proxy());
        }
        let needs_topology = factories.iter().any(|factory| factory.needs_topology());
        let options = options(&settings, &rds, default_port)?;
        if let Some(dialect) = options.dialect.as_ref().filter(|dialect| dialect.engine() != driver.engine())
        {
            return Err(Error::config(format!(
                "`wrapper_dialect={}` is a kind of {}, but the driver {} speaks to {}; name one of its dialects, or leave \
                 `wrapper_dialect` out",
                dialect.id(),
                dialect.engine(),
                driver.name(),
                driver.engine()
            )));
        }
        let cluster = Cluster::new(driver, env, options, observers);
        let core = Self {
            cluster,
            settings: Arc::new(settings),
            endpoint,
            factories: factories.into(),
            needs_topology,
        };
        // Building a chain checks orders and plugin settings now rather than at the first connect.
        let chain = Arc::new(core.chain()?);
        core.cluster.set_monitor_chain(chain);
        for warning in warnings {
            core.cluster.warn_once(warning);
        }
        Ok(core)
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The host that sessions ask for.
    pub fn endpoint(&self) -> &HostInfo {
        &self.endpoint
    }

    /// The effective settings and where each came from, and the plugins in their order; secrets are masked.
    pub fn explain(&self) -> String {
        let plugins: Vec<&str> = self.factories.iter().map(|factory| factory.name()).collect();
        format!("{}\nplugins in use: {}", self.settings.explain(), plugins.join(", "))
    }

    /// The same cluster, its monitors and its budget, for sessions that ask for another of its endpoints: a reader
    /// pool beside a writer pool.
    ///
    /// # Errors
    /// A configuration error when the plugins cannot be built.
    pub fn derive(&self, host: &str, port: u16) -> Result<Self> {
        let derived = Self { endpoint: HostInfo::new(host, port, HostRole::Unknown), ..self.clone() };
        derived.chain()?;
        Ok(derived)
    }

    /// A chain of the plugins in use, for an adapter that makes its own sessions.
    ///
    /// # Errors
    /// A configuration error when the plugins cannot be built.
    pub fn chain(&self) -> Result<Chain> {
        let cx = BuildContext::new(&self.cluster, &self.settings, &self.endpoint);
        let plugins = self.factories.iter().map(|factory| factory.build(&cx)).collect::<Result<Vec<_>>>()?;
        Chain::new(plugins, self.settings.auto_sort_wrapper_plugin_order)
    }

    /// Opens a session.
    ///
    /// Of several hosts in the settings the first one that can be used is taken, in their order, until a topology is
    /// known; each has an equal part of the time that is left.
    ///
    /// # Errors
    /// Login, network, wrong role, missing grant, time-out: typed, with the host in it. With several hosts, that of the
    /// last one.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub async fn open<C: DriverConnection>(&self, options: SessionOptions) -> Result<Arc<Session<C>>> {
        if self.cluster.is_shut_down() {
            return Err(Error::new(ErrorKind::Closed, "the connector was shut down; make a new one"));
        }
        let chain = Arc::new(self.chain()?);
        let deadline = Deadline::after(self.settings.connect_timeout, "connect_timeout");
        let mut endpoint = self.endpoint.clone();
        let mut others = self.other_hosts().into_iter();
        loop {
            let attempt = match others.len() {
                0 => deadline,
                left => {
                    let part = u32::try_from(left + 1).unwrap_or(u32::MAX);
                    deadline.cap(deadline.remaining() / part, "connect_timeout, a host's part of it")
                }
            };
            match Box::pin(self.open_at(&endpoint, &chain, attempt)).await {
                Ok(connected) => return Session::new(connected, chain, self.cluster.clone(), options),
                Err(error) => match others.next() {
                    Some(next) if another_host_may_do(&error) => endpoint = next,
                    _ => return Err(error),
                },
            }
        }
    }

    /// The hosts to try after the first one: none once a topology is known, which says more than the settings.
    fn other_hosts(&self) -> Vec<HostInfo> {
        let hosts = self.settings.hosts();
        let is_first = |host: &HostInfo| host.key == self.endpoint.key;
        let all: Vec<HostInfo> =
            hosts.iter().map(|(host, port)| HostInfo::new(host, *port, HostRole::Unknown)).collect();
        // A derived endpoint is not one of the list: its user asked for it alone.
        if self.cluster.topology().is_some() || !all.first().is_some_and(is_first) {
            return Vec::new();
        }
        all.into_iter().skip(1).collect()
    }

    async fn open_at(
        &self,
        endpoint: &HostInfo,
        chain: &Arc<Chain>,
        deadline: Deadline,
    ) -> Result<Connected> {
        let mut cx = ConnectContext::new(&self.cluster, ConnectTarget::session(endpoint.clone()), deadline);
        cx.initial = true;
        let connected = chain.connect(&mut cx).await?;
        if self.needs_topology && connected.host.role == HostRole::Unknown {
            // No plugin has asked the host who it is. Monitoring and failover need to know.
            let deadline = cx.deadline;
            self.cluster.core().learn_topology(&connected.connection, deadline).await?;
            return self.cluster.verify(connected, self.wanted_role(), deadline).await;
        }
        Ok(connected)
    }

    fn wanted_role(&self) -> HostRole {
        match self.settings.verify_opened_connection_type {
            Some(VerifyRole::Writer) => HostRole::Writer,
            Some(VerifyRole::Reader) => HostRole::Reader,
            _ => HostRole::Unknown,
        }
    }

    /// Ends every task of the cluster and returns when they are gone; open sessions can no longer be switched.
    ///
    /// # Cancellation
    /// Safe: the tasks end all the same.
    pub async fn shutdown(&self) {
        self.cluster.shutdown().await;
    }
}

/// Whether a connect that ended with this error may succeed on another host of the list.
fn another_host_may_do(error: &Error) -> bool {
    matches!(error.class(), ErrorClass::Network | ErrorClass::Busy)
        || matches!(error.kind(), ErrorKind::Timeout | ErrorKind::WrongRole)
}

fn chosen(
    settings: &Settings,
    registry: &Registry,
    default_plugins: &[&'static str],
    plugins: Vec<Arc<dyn PluginFactory>>,
) -> Result<Vec<Arc<dyn PluginFactory>>> {
    let mut factories = Vec::new();
    match &settings.plugins {
        Some(list) => {
            for name in list.names() {
                factories.push(Arc::clone(registry.resolve(name)?));
            }
            for given in &plugins {
                if list.contains(given.name()) {
                    return Err(Error::config(format!(
                        "`plugins` names `{0}`, and a `{0}` was given as a value too; give it once",
                        given.name()
                    )));
                }
            }
        }
        None => {
            for name in default_plugins {
                // A plugin given as a value takes the place of its default.
                if !plugins.iter().any(|given| given.name() == *name) {
                    factories.push(Arc::clone(registry.get(name)?));
                }
            }
        }
    }
    factories.extend(plugins);
    Ok(factories)
}

fn options(settings: &Settings, rds: &RdsHost, default_port: u16) -> Result<ClusterOptions> {
    let hosts: Vec<HostInfo> =
        settings.hosts().iter().map(|(host, port)| HostInfo::new(host, *port, HostRole::Unknown)).collect();
    let dialect = settings.wrapper_dialect.map(dialect_for).transpose()?;
    let hint = match rds.kind() {
        EndpointKind::WriterCluster | EndpointKind::ReaderCluster | EndpointKind::CustomCluster => {
            EndpointHint::Cluster
        }
        EndpointKind::Instance => EndpointHint::Instance,
        _ => EndpointHint::Other,
    };
    Ok(ClusterOptions {
        id: settings.cluster_id.clone().unwrap_or_else(|| match (rds.cluster_name(), rds.cluster_hash()) {
            (Some(name), Some(hash)) => format!("{name}-{hash}"),
            (None, Some(hash)) => hash.to_owned(),
            _ => hosts.first().map(|host| host.key.to_string()).unwrap_or_default(),
        }),
        template: settings.cluster_instance_host_pattern.clone().or_else(|| rds.instance_template()),
        default_port: hosts.first().map_or(default_port, HostInfo::port),
        hosts,
        hint,
        dialect,
        topology_refresh: settings.topology_refresh,
        topology_high_refresh: settings.topology_high_refresh,
        topology_panic_interval: settings.topology_panic_interval,
        auxiliary_query_timeout: settings.auxiliary_query_timeout,
        connect_timeout: settings.connect_timeout,
        monitor_query_timeout: settings.topology_monitoring_socket_timeout,
        monitor_connect_timeout: settings.topology_monitoring_connect_timeout,
        max_monitor_connections: usize::try_from(settings.max_monitor_connections).unwrap_or(usize::MAX),
        ..ClusterOptions::default()
    })
}
