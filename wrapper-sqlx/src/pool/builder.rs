//! The one call that makes a pool and its handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wrapper_core::cluster::Cluster;
use wrapper_core::config::{FailoverMode, Profiles, Settings, SettingsBuilder};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::credentials::{CredentialProvider, Provided};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::observe::Observer;
use wrapper_core::plugin::{PluginFactory, Registry};
use wrapper_core::{Error, ErrorKind, Result};

use super::super::driver::{Reach, SqlxDriver, log_in};
use super::super::error::map_connect_error;
use super::super::family::{Family, OptionsOf};
use super::super::sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use super::super::sqlx::{self, Pool};
use super::credentials::{Credentials, keep};
use super::follow::follow;
use super::handle::PoolHandle;
use super::hooks::install;
use super::readers::Readers;
use super::searches::Searches;
use super::shared::{Limits, Shared};
use super::user_hooks::UserHooks;

/// How often a pool reads the topology when all is well and `topology_refresh` is not given: an idle pool notices a
/// failover by nothing else.
const REFRESH: Duration = Duration::from_secs(1);

/// Makes a plain `sqlx::PgPool` or `sqlx::MySqlPool` that follows the writer of a cluster, or with
/// [`readers`](Self::readers) its readers.
///
/// ```no_run
/// # #[cfg(all(feature = "postgres", feature = "sqlx-0-9"))]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
/// use wrapper_sqlx::postgres::PoolBuilder;
///
/// let options: PgConnectOptions =
///     "postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?sslmode=verify-full".parse()?;
/// let (pool, handle) = PoolBuilder::new(PgPoolOptions::new().max_connections(20), options).connect().await?;
///
/// sqlx::query("INSERT INTO orders (item) VALUES ($1)").bind("tea").execute(&pool).await?;
/// # drop(handle); Ok(()) }
/// ```
///
/// # What it takes over
///
/// Of the pool options all but the three hooks and `test_before_acquire`: hooks that are set there are replaced, because
/// sqlx does not show them. Give yours here; they run after the library's. `test_before_acquire` still decides whether an
/// idle connection is pinged, with a limit of 500 ms. Of the connect options all but host and port. `acquire_timeout` also
/// bounds the wait for a new writer.
#[must_use = "a pool is made by `connect`"]
pub struct PoolBuilder<DB: Family> {
    pool: PoolOptions<DB>,
    options: OptionsOf<DB>,
    origin: Origin<DB>,
    readers: bool,
    hooks: UserHooks<DB>,
}

/// What the pool's cluster comes from.
enum Origin<DB: Family> {
    Own(Box<Own<DB>>),
    Derived(Box<Derived<DB>>),
}

struct Derived<DB: Family> {
    core: ConnectorCore,
    driver: SqlxDriver<DB>,
    /// What was given although it is the first pool's.
    refused: Option<&'static str>,
}

struct Own<DB: Family> {
    settings: SettingsBuilder,
    env: Environment,
    plugins: Vec<Arc<dyn PluginFactory>>,
    observers: Vec<Arc<dyn Observer>>,
    reach: Reach<DB>,
}

impl<DB: Family> PoolBuilder<DB> {
    /// Starts from sqlx's own options; the host of `options` is the cluster endpoint, or any instance of the cluster.
    pub fn new(pool: PoolOptions<DB>, options: OptionsOf<DB>) -> Self {
        let settings = Settings::builder();
        let (env, reach) = (Environment::default(), Reach::default());
        let own = Own { settings, env, plugins: Vec::new(), observers: Vec::new(), reach };
        Self {
            pool,
            options,
            origin: Origin::Own(Box::new(own)),
            readers: false,
            hooks: UserHooks::default(),
        }
    }

    pub(super) fn derived(
        core: ConnectorCore,
        driver: SqlxDriver<DB>,
        options: OptionsOf<DB>,
        pool: PoolOptions<DB>,
    ) -> Self {
        let origin = Origin::Derived(Box::new(Derived { core, driver, refused: None }));
        Self { pool, options, origin, readers: false, hooks: UserHooks::default() }
    }

    fn own(mut self, what: &'static str, change: impl FnOnce(&mut Own<DB>)) -> Self {
        match &mut self.origin {
            Origin::Own(own) => change(own),
            Origin::Derived(derived) => derived.refused = Some(what),
        }
        self
    }

    /// Any setting of the library by its name; `docs/settings.md` lists them. `topology_refresh` is 1 s unless given.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.own("a setting", |own| own.settings = std::mem::take(&mut own.settings).set(name, value))
    }

    /// The profiles that `profile_name` can name beside the presets.
    pub fn profiles(self, profiles: Profiles) -> Self {
        self.own("profiles", |own| own.settings = std::mem::take(&mut own.settings).profiles(profiles))
    }

    /// Wall clock and randomness. sqlx looks names up by itself.
    pub fn environment(self, env: Environment) -> Self {
        self.own("an environment", |own| own.env = env)
    }

    /// Logs connections in by a plugin such as `iam` or `secrets_manager`; its credentials take the place of user and password
    /// in the connect options, and are kept fresh there. See [`PoolHandle::acquire`] for what that leaves open.
    pub fn plugin(self, plugin: impl PluginFactory + 'static) -> Self {
        self.own("a plugin", |own| own.plugins.push(Arc::new(plugin)))
    }

    /// Logs connections in with the credentials of a provider of your own, as [`plugin`](Self::plugin) does.
    pub fn credentials(self, provider: impl CredentialProvider + 'static) -> Self {
        self.plugin(Provided::new(provider))
    }

    /// Tells `observer` of every event of the cluster.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.own("an observer", |own| own.observers.push(Arc::new(observer)))
    }

    /// Says how a host is reached where that is not by its name and port, as [`SqlxDriver::reach`].
    pub fn reach(
        self,
        reach: impl Fn(&HostInfo, OptionsOf<DB>) -> OptionsOf<DB> + Send + Sync + 'static,
    ) -> Self {
        self.own("a way to reach hosts", |own| own.reach = Reach::new(reach))
    }

    /// The pool's connections lead to readers, new ones spread over them by `reader_host_selector_strategy`.
    ///
    /// While no reader answers they lead to the writer; with `failover_mode=strict_reader` they do not, and an acquire
    /// waits.
    pub fn readers(mut self) -> Self {
        self.readers = true;
        self
    }

    /// Runs on each new connection after its role was proved, also on one that takes the place of another. An error
    /// refuses the connection.
    pub fn after_connect<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Fn(&'c mut DB::Connection) -> BoxFuture<'c, sqlx::Result<()>> + Send + Sync + 'static,
    {
        self.hooks.after_connect = Some(Arc::new(hook));
        self
    }

    /// Runs before an idle connection is handed out, as sqlx's hook of this name. A connection that took the place of
    /// another is shown with the age of the first.
    pub fn before_acquire<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Fn(&'c mut DB::Connection, PoolConnectionMetadata) -> BoxFuture<'c, sqlx::Result<bool>>
            + Send
            + Sync
            + 'static,
    {
        self.hooks.before_acquire = Some(Arc::new(hook));
        self
    }

    /// Runs when a connection comes back, as sqlx's hook of this name; the connection answers when it runs.
    pub fn after_release<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Fn(&'c mut DB::Connection, PoolConnectionMetadata) -> BoxFuture<'c, sqlx::Result<bool>>
            + Send
            + Sync
            + 'static,
    {
        self.hooks.after_release = Some(Arc::new(hook));
        self
    }

    /// Learns the cluster's topology, makes the pool, and opens its first connection.
    ///
    /// # Errors
    /// A configuration error that names the setting; refused credentials, an unreachable host, a missing grant with
    /// the statement that mends it; no writer within `connect_timeout`.
    ///
    /// # Cancellation
    /// Closes whatever it opened and ends whatever it started.
    pub async fn connect(self) -> Result<(Pool<DB>, PoolHandle<DB>)> {
        let Self { pool: pool_options, options, origin, readers, hooks } = self;
        check::<DB>(&options)?;
        let (core, driver) = match origin {
            Origin::Own(own) => make_core::<DB>(*own, &options)?,
            Origin::Derived(derived) => {
                if let Some(what) = derived.refused {
                    return Err(Error::config(format!(
                        "{what} was given to a second pool of a cluster; give it to the first `PoolBuilder`"
                    )));
                }
                (derived.core, derived.driver)
            }
        };
        let writer = learn(&core, readers).await?;
        let cluster = core.cluster().core();
        let settings = core.settings();
        let readers = readers.then(|| {
            let selector =
                settings.reader_host_selector_strategy.selector(&settings.selector_options(), cluster.env());
            let strict = settings.failover_mode == Some(FailoverMode::StrictReader);
            Readers::new(selector.into(), strict, cluster.env().clone())
        });
        let limits = Limits {
            connect: settings.connect_timeout,
            query: settings.auxiliary_query_timeout,
            acquire: pool_options.get_acquire_timeout(),
            release: settings.failover_timeout,
        };
        let ping = pool_options.get_test_before_acquire();
        let reach = driver.reached().clone();
        let first = match &readers {
            Some(readers) => {
                let topology = cluster.topology().map(|published| published.topology).unwrap_or_default();
                readers.advance(&topology).1
            }
            None => writer.clone(),
        };
        let first = first.unwrap_or_else(|| core.endpoint().clone());
        let mut options = reach.options(&first, options);
        let provider = core.chain()?.plugins().iter().find_map(|plugin| plugin.credentials());
        let credentials = provider.map(|provider| Credentials::new(provider, cluster));
        let logs_in = credentials.is_some();
        let shared = Arc::new(Shared::new(readers, cluster, reach, credentials, hooks, limits, ping));
        let deadline = Deadline::after(limits.connect, "connect_timeout");
        if let Some(credential) = shared.first_credential(cluster, &first, deadline).await? {
            options = log_in::<DB>(options, &first, &credential)?;
        }
        // Before the pool: should this future be dropped, the handle ends everything.
        let handle = PoolHandle::new(core.clone(), Arc::clone(&shared), driver);
        let pool = install(pool_options, &shared).connect_lazy_with(options);
        shared.attach(pool.clone(), first);
        if logs_in {
            cluster.spawn("pool credentials", keep(Arc::clone(&shared), Arc::clone(cluster)));
        }
        cluster.spawn("pool follower", follow(Arc::clone(&shared), Arc::clone(cluster), writer));
        let connection = pool.acquire().await.map_err(|error| first_error(error, &shared))?;
        drop(connection);
        Ok((pool, handle))
    }
}

fn first_error<DB: Family>(error: sqlx::Error, shared: &Shared<DB>) -> Error {
    if let Some(ours) = Error::from_driver(&error) {
        return ours.clone();
    }
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return Error::new(
            ErrorKind::Timeout,
            format!(
                "no connection to a {} was made within {:?}, the `acquire_timeout` of the pool options",
                shared.role(),
                shared.limits.acquire
            ),
        )
        .with_source(error);
    }
    map_connect_error::<DB>(error, false)
}

fn check<DB: Family>(options: &OptionsOf<DB>) -> Result<()> {
    let host = DB::host(options);
    if DB::has_socket(options) {
        return Err(Error::config(format!(
            "`host={host}` or `socket` of the connect options names a Unix socket; expected a host name of the cluster, \
             because its instances are on several hosts"
        )));
    }
    Ok(())
}

fn make_core<DB: Family>(own: Own<DB>, options: &OptionsOf<DB>) -> Result<(ConnectorCore, SqlxDriver<DB>)> {
    let Own { settings, env, plugins, mut observers, reach } = own;
    let searches = Searches::new();
    observers.push(Arc::new(searches.clone()));
    let mut settings = settings.host_and_port(DB::host(options), DB::port(options)).build(&DB::KEYS)?;
    let names = settings.plugins.iter().flat_map(|list| list.names()).map(|name| name.as_str());
    let others: Vec<&str> = names.filter(|name| !LOGINS.contains(name)).collect();
    if !others.is_empty() {
        return Err(passes_none(&format!("`plugins={}`", others.join(","))));
    }
    if !settings.is_given("topology_refresh") {
        settings.topology_refresh = REFRESH.max(settings.topology_high_refresh);
    }
    let driver = SqlxDriver::new(options.clone()).with_reach(reach);
    let core = ConnectorCore::new(ConnectorParts {
        settings,
        driver: Arc::new(driver.clone()),
        env,
        registry: registry(),
        default_plugins: Vec::new(),
        plugins,
        observers,
        default_port: DB::KEYS.default_port,
    })?;
    if let Some(other) = core.chain()?.plugins().iter().find(|plugin| plugin.credentials().is_none()) {
        return Err(passes_none(&format!("the plugin `{}`", other.name())));
    }
    searches.belong_to(core.cluster().core());
    Ok((core, driver))
}

/// The plugins that a plain pool can have: those that log in.
const LOGINS: [&str; 4] = ["iam", "secrets_manager", "federated_auth", "okta"];

fn registry() -> Registry {
    #[cfg(feature = "_plugins")]
    return wrapper_plugins::registry();
    #[cfg(not(feature = "_plugins"))]
    Registry::new()
}

fn passes_none(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{what}: the statements on a plain pool go through no plugin; the pool itself follows failovers, and takes \
             plugins that log in (`iam`, `secrets_manager`). Leave it out, or use a `ClusterPool`"
        ),
    )
}

/// Asks the cluster who is there; the writer, unless only readers are wanted.
async fn learn(core: &ConnectorCore, readers: bool) -> Result<Option<HostInfo>> {
    let cluster: &Cluster = core.cluster();
    if cluster.is_shut_down() {
        return Err(Error::new(
            ErrorKind::Closed,
            "the pools of this cluster were shut down; make a new one",
        ));
    }
    let deadline = Deadline::after(core.settings().connect_timeout, "connect_timeout");
    if cluster.topology().is_none() {
        // A connect of its own, because its error says more than that of a search.
        let endpoint = HostInfo::new(core.endpoint().host(), core.endpoint().port(), HostRole::Unknown);
        let open = cluster.core().open_monitor(&endpoint, deadline).await?;
        cluster.core().learn_topology(open.connection(), deadline).await?;
    }
    if readers {
        return Ok(None);
    }
    let published = cluster.core().search_writer(deadline).await?;
    Ok(published.topology.writer().cloned())
}

impl<DB: Family> fmt::Debug for PoolBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the connect options: they print their password.
        f.debug_struct("PoolBuilder")
            .field("pool", &self.pool)
            .field("readers", &self.readers)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}
