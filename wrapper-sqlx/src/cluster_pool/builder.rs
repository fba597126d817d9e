//! The one call that makes a pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Database;
use sqlx::pool::PoolOptions;
use wrapper_core::cluster::Cluster;
use wrapper_core::config::{FailoverMode, Profiles, Settings, SettingsBuilder};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::observe::Observer;
use wrapper_core::plugin::{Call, PluginFactory, Registry};
use wrapper_core::{Error, ErrorKind, Result};

use super::super::driver::{Reach, SqlxDriver};
use super::super::family::OptionsOf;
use super::backend::Backend;
use super::driver::PooledDriver;
use super::follow::follow;
use super::hosts::{AfterConnect, Hosts, Recipe};
use super::inner::Inner;
use super::pool::ClusterPool;
use super::route::{Route, ToWriter};

/// How often the topology is read when all is well and `topology_refresh` is not given: an idle pool notices a failover by
/// nothing else.
const REFRESH: Duration = Duration::from_secs(1);

/// The plugin that chooses a host for a connect: here the route does.
const CHOOSES_HOSTS: &str = "initial_connection";

/// Configures a [`ClusterPool`].
///
/// Of the pool options it takes over `after_connect`, because sqlx does not show it: give yours here. `max_connections` is
/// for each host. `test_before_acquire` decides whether an idle connection is pinged before it is used, with a limit of
/// 500 ms. Of the connect options it takes over host and port. Plugins are the compiled-in ones of `failover`, `efm` and
/// `connection_tracker` unless the setting `plugins` names others; `initial_connection` is not one of a pool.
#[must_use = "a pool is made by `connect`"]
pub struct ClusterPoolBuilder<DB: Backend> {
    pool: PoolOptions<DB>,
    options: OptionsOf<DB>,
    settings: SettingsBuilder,
    env: Environment,
    registry: Registry,
    plugins: Vec<Arc<dyn PluginFactory>>,
    observers: Vec<Arc<dyn Observer>>,
    route: Arc<dyn Route>,
    reach: Reach<DB>,
    after_connect: Option<Arc<AfterConnect<DB>>>,
}

impl<DB: Backend> ClusterPoolBuilder<DB> {
    pub(super) fn new(pool: PoolOptions<DB>, options: OptionsOf<DB>) -> Self {
        Self {
            pool,
            options,
            settings: Settings::builder(),
            env: Environment::default(),
            registry: wrapper_plugins::registry(),
            plugins: Vec::new(),
            observers: Vec::new(),
            route: Arc::new(ToWriter),
            reach: Reach::default(),
            after_connect: None,
        }
    }

    /// Any setting of the library by its name; `docs/settings.md` lists them. `topology_refresh` is 1 s unless given.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings = self.settings.set(name, value);
        self
    }

    /// The profiles that `profile_name` can name beside the presets.
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.settings = self.settings.profiles(profiles);
        self
    }

    /// Wall clock and randomness. sqlx looks names up by itself.
    pub fn environment(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }

    /// Uses a plugin, with settings of its own; it takes the place of its default.
    pub fn plugin(mut self, plugin: impl PluginFactory + 'static) -> Self {
        self.plugins.push(Arc::new(plugin));
        self
    }

    /// Makes a plugin of yours known by its name, so that `plugins` can name it.
    pub fn register(mut self, plugin: impl PluginFactory + 'static) -> Self {
        self.registry = self.registry.with(plugin);
        self
    }

    /// Tells `observer` of every event of the cluster.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Decides where calls go; everything goes to the writer by default.
    pub fn route(mut self, route: impl Route + 'static) -> Self {
        self.route = Arc::new(route);
        self
    }

    /// Says how a host is reached where that is not by its name and port: through a tunnel, a forwarded port. Gets the host
    /// and the options that lead to its name, gives the options that are used.
    pub fn reach(
        mut self,
        reach: impl Fn(&HostInfo, OptionsOf<DB>) -> OptionsOf<DB> + Send + Sync + 'static,
    ) -> Self {
        self.reach = Reach::new(reach);
        self
    }

    /// Runs on each new connection, as sqlx's hook of this name.
    pub fn after_connect<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Fn(&'c mut <DB as Database>::Connection) -> BoxFuture<'c, sqlx::Result<()>>
            + Send
            + Sync
            + 'static,
    {
        self.after_connect = Some(Arc::new(hook));
        self
    }

    /// Learns the cluster's topology, makes the pool, and opens its first connection.
    ///
    /// # Errors
    /// A configuration error that names the setting; refused credentials, an unreachable host, a missing grant with the
    /// statement that mends it; no writer within `connect_timeout`.
    ///
    /// # Cancellation
    /// Closes whatever it opened and ends whatever it started.
    pub async fn connect(self) -> Result<ClusterPool<DB>> {
        let Self { pool, options, settings, env, registry, plugins, observers, route, reach, after_connect } =
            self;
        check::<DB>(&options)?;
        let (host, port) = (DB::host(&options).to_owned(), DB::port(&options));
        let mut settings = settings.host_and_port(&host, port).build(&DB::KEYS)?;
        refuse_choosers(&settings, &plugins)?;
        if !settings.is_given("topology_refresh") {
            settings.topology_refresh = REFRESH.max(settings.topology_high_refresh);
        }
        let strict_reader = settings.failover_mode == Some(FailoverMode::StrictReader);
        let selector = settings.reader_host_selector_strategy.selector(&settings.selector_options(), &env);
        let acquire_timeout = pool.get_acquire_timeout();
        let driver = SqlxDriver::new(options.clone()).with_reach(reach);
        let recipe = Recipe {
            pool,
            driver: driver.clone(),
            after_connect,
            env: env.clone(),
            settle: settings.auxiliary_query_timeout,
        };
        let hosts = Arc::new(Hosts::new(recipe, options));
        let mut default_plugins = wrapper_plugins::default_plugins();
        default_plugins.retain(|name| *name != CHOOSES_HOSTS);
        let core = ConnectorCore::new(ConnectorParts {
            settings,
            driver: Arc::new(PooledDriver::new(driver, Arc::clone(&hosts))),
            env,
            registry,
            default_plugins,
            plugins,
            observers,
            default_port: DB::KEYS.default_port,
        })?;
        hosts.belong_to(core.cluster().core());
        let chain = Arc::new(core.chain()?);
        let selector = Arc::from(selector);
        let inner = Inner { core, chain, hosts, route, selector, strict_reader, acquire_timeout };
        let inner = Arc::new(inner);
        learn(&inner.core).await?;
        let cluster = inner.core.cluster();
        cluster.spawn("pool follower", follow(Arc::downgrade(&inner.hosts), cluster.subscribe()));
        // Goes back at once.
        drop(inner.open(&Call::new("acquire")).await?);
        Ok(ClusterPool { inner })
    }
}

fn check<DB: Backend>(options: &OptionsOf<DB>) -> Result<()> {
    if DB::has_socket(options) {
        return Err(Error::config(format!(
            "`host={}` or `socket` of the connect options names a Unix socket; expected a host name of the cluster, because \
             its instances are on several hosts",
            DB::host(options)
        )));
    }
    Ok(())
}

fn refuse_choosers(settings: &Settings, given: &[Arc<dyn PluginFactory>]) -> Result<()> {
    let named = settings.plugins.as_ref().is_some_and(|list| list.contains(CHOOSES_HOSTS));
    if !named && given.iter().all(|plugin| plugin.name() != CHOOSES_HOSTS) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "the plugin `{CHOOSES_HOSTS}` chooses the host of a connect, which the route of a pool does; leave it out, and \
             give the pool a `route` where everything but the writer is wanted"
        ),
    ))
}

/// Asks the cluster who is there, and who the writer is.
async fn learn(core: &ConnectorCore) -> Result<()> {
    let cluster: &Cluster = core.cluster();
    let deadline = Deadline::after(core.settings().connect_timeout, "connect_timeout");
    // A connect of its own, because its error says more than that of a search.
    let endpoint = HostInfo::new(core.endpoint().host(), core.endpoint().port(), HostRole::Unknown);
    let open = cluster.core().open_monitor(&endpoint, deadline).await?;
    cluster.core().learn_topology(open.connection(), deadline).await?;
    drop(open);
    cluster.core().search_writer(deadline).await.map(drop)
}

impl<DB: Backend> fmt::Debug for ClusterPoolBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the connect options: they print their password.
        f.debug_struct("ClusterPoolBuilder")
            .field("pool", &self.pool)
            .field("plugins", &self.plugins)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
