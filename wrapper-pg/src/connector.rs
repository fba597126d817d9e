//! The connector: one cluster, and the way to connect to it.
//!
//! What lives here: [`Connector`] and its builder. What may not: the connect pipeline, which is the core's; how settings
//! become the driver's configuration (`configuration.rs`).

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Config;
use wrapper_core::cluster::{Cluster, ClusterCore};
use wrapper_core::config::{Profiles, Settings, SettingsBuilder};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::env::Environment;
use wrapper_core::observe::{Observer, SwitchReport};
use wrapper_core::plugin::{PluginFactory, Registry};
use wrapper_core::session::{SessionOptions, SwitchHook};
use wrapper_core::{Error, Result};

use crate::client::Client;
use crate::configuration::{KEYS, driver_config};
use crate::connection::PgConnection;
use crate::driver::{CredentialSource, PgDriver, Spawner};
use crate::notifications::{Hook, Hub};
use crate::tls::TlsSettings;

/// How long the tasks of open connections may go on after a shutdown, to say goodbye to their servers.
const GOODBYE: Duration = Duration::from_millis(250);

/// One cluster and the way to connect to it. Cheap to clone; the last clone dropped, its clients included, ends every
/// task that it started.
///
/// ```no_run
/// # async fn f() -> wrapper_pg::Result<()> {
/// let connector = wrapper_pg::Connector::from_url(
///     "postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?plugins=failover,efm",
/// )?;
/// let client = connector.connect().await?;
/// let rows = client.query("SELECT id FROM orders WHERE customer = $1", &[&7_i32]).await?;
/// # let _ = rows; Ok(()) }
/// ```
///
/// # What a switch carries over
///
/// Settings that were made with `SET`, `SET SESSION CHARACTERISTICS`, `SET ROLE`, `SET SESSION AUTHORIZATION`, or with a
/// `SELECT` of `set_config()` calls whose arguments are literals (`RESET` and `DISCARD ALL` undo them); whatever the
/// server reports by itself, however it was set (time zone, date style, application name; `search_path` from
/// PostgreSQL 18 on); LISTEN. What was set in a transaction counts when that has committed.
///
/// A statement whose future is dropped before its answer counts as well: the server is asked right behind it what the
/// settings are. Only when the connection is lost before that is answered, it is as if the statement had not been sent.
///
/// Not carried over: what `set_config()` sets from a parameter or an expression and what functions set, unless the
/// server reports it; temporary tables, advisory locks, cursors. A [`switch_hook`](ConnectorBuilder::switch_hook) can do
/// that.
/// `transfer_session_state_on_switch=false` turns it off.
#[derive(Clone, Debug)]
pub struct Connector {
    core: ConnectorCore,
    hook: HookSlot,
    tls: Arc<str>,
}

#[derive(Clone, Default)]
struct HookSlot(Option<Arc<dyn SwitchHook>>);

impl fmt::Debug for HookSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}

impl Connector {
    /// From a URL (`postgres://…?plugins=failover,efm&failover_timeout=60s`) or a connection string
    /// (`host=… user=… plugins=failover,efm`).
    ///
    /// # Errors
    /// A configuration error that names the setting, the value and what is allowed.
    pub fn from_url(text: &str) -> Result<Self> {
        ConnectorBuilder::new().text(text).build()
    }

    /// From the driver's own configuration: whatever it accepts is taken as it is, every setting of the library has
    /// its default.
    ///
    /// # Errors
    /// A configuration error.
    pub fn from_config(config: Config) -> Result<Self> {
        ConnectorBuilder::new().config(config).build()
    }

    /// Starts a typed configuration with the host to connect to.
    pub fn builder(host: &str) -> ConnectorBuilder {
        ConnectorBuilder::new().host(host)
    }

    /// Starts a typed configuration with the host and the port to connect to.
    pub fn builder_at(host: &str, port: u16) -> ConnectorBuilder {
        ConnectorBuilder::new().host_and_port(host, port)
    }

    /// Opens a client.
    ///
    /// # Errors
    /// Typed, with the host: refused credentials, an unreachable host, a missing grant with the statement that mends
    /// it, a time-out that names its setting.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    pub async fn connect(&self) -> Result<Client> {
        let hub = Hub::new();
        let mut options = SessionOptions::default();
        options.socket_timeout = self.core.settings().socket_timeout;
        options.transfer_state = self.core.settings().transfer_session_state_on_switch;
        options.hook = Some(Arc::new(Hook {
            hub: hub.clone(),
            transfer: options.transfer_state,
            user: self.hook.0.clone(),
        }));
        let session = self.core.open::<PgConnection>(options).await?;
        hub.attach(&session.load().connection);
        Ok(Client::new(session, hub))
    }

    /// The same cluster, monitors and budget, for clients that ask for another of its endpoints: readers beside the
    /// writer.
    ///
    /// # Errors
    /// A configuration error.
    pub fn derive(&self, host: &str) -> Result<Self> {
        let port = self.core.endpoint().port();
        Ok(Self { core: self.core.derive(host, port)?, hook: self.hook.clone(), tls: Arc::clone(&self.tls) })
    }

    /// The cluster: topology, counts, events.
    pub fn cluster(&self) -> &Cluster {
        self.core.cluster()
    }

    #[cfg(feature = "raw-client")]
    pub(crate) fn core(&self) -> &ConnectorCore {
        &self.core
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        self.core.settings()
    }

    /// The effective settings and where each came from, the plugins in their order, who encrypts; secrets are masked.
    pub fn explain(&self) -> String {
        format!("{}\nTLS: {}", self.core.explain(), self.tls)
    }

    /// The reports of the last switches of the cluster's clients, oldest first.
    pub fn reports(&self) -> Vec<Arc<SwitchReport>> {
        self.cluster().recorder().reports()
    }

    /// Ends every task of the cluster and returns when they are gone. Clients that are still open lose their
    /// connections.
    ///
    /// # Cancellation
    /// Safe: the tasks end all the same.
    pub async fn shutdown(&self) {
        self.core.shutdown().await;
    }
}

/// Configures a [`Connector`].
#[must_use = "a connector is made by `build`"]
pub struct ConnectorBuilder {
    settings: SettingsBuilder,
    config: Config,
    tls: TlsSettings,
    env: Environment,
    credentials: Option<Arc<dyn CredentialSource>>,
    registry: Registry,
    plugins: Vec<Arc<dyn PluginFactory>>,
    observers: Vec<Arc<dyn Observer>>,
    hook: HookSlot,
}

impl ConnectorBuilder {
    fn new() -> Self {
        Self {
            settings: Settings::builder(),
            config: Config::new(),
            tls: TlsSettings::new(),
            env: Environment::default(),
            credentials: None,
            registry: wrapper_plugins::registry(),
            plugins: Vec::new(),
            observers: Vec::new(),
            hook: HookSlot::default(),
        }
    }

    /// Reads a URL or a connection string; what is set beside it must not be in it.
    pub fn text(mut self, text: &str) -> Self {
        self.settings = self.settings.text(text);
        self
    }

    /// Adds a host: a cluster endpoint, or one of several hosts.
    pub fn host(mut self, host: &str) -> Self {
        self.settings = self.settings.host(host);
        self
    }

    /// Adds a host with its port.
    pub fn host_and_port(mut self, host: &str, port: u16) -> Self {
        self.settings = self.settings.host_and_port(host, port);
        self
    }

    /// Starts from the driver's own configuration; its hosts are added.
    pub fn config(mut self, config: Config) -> Self {
        let ports = config.get_ports();
        for (index, host) in config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(KEYS.default_port);
            let name = match host {
                tokio_postgres::config::Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                tokio_postgres::config::Host::Unix(path) => path.to_string_lossy().into_owned(),
            };
            self.settings = self.settings.host_and_port(&name, port);
        }
        self.config = config;
        self
    }

    /// The user.
    pub fn user(mut self, user: &str) -> Self {
        self.settings = self.settings.set("user", user);
        self
    }

    /// The password; it is never printed.
    pub fn password(mut self, password: impl Into<SecretString>) -> Self {
        self.config.password(password.into().expose_secret());
        self
    }

    /// The database.
    pub fn dbname(mut self, dbname: &str) -> Self {
        self.settings = self.settings.set("dbname", dbname);
        self
    }

    /// Any setting by its name, as a URL would give it; `docs/settings.md` lists them.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings = self.settings.set(name, value);
        self
    }

    /// The profiles that `profile_name` can name beside the presets.
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.settings = self.settings.profiles(profiles);
        self
    }

    /// How connections are encrypted.
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = tls;
        self
    }

    /// Resolver, wall clock, randomness.
    pub fn environment(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }

    /// Where the password of each new connection comes from, monitors' included.
    pub fn credentials(mut self, credentials: impl CredentialSource + 'static) -> Self {
        self.credentials = Some(Arc::new(credentials));
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

    /// Carries session state of your own over on a switch.
    pub fn switch_hook(mut self, hook: impl SwitchHook + 'static) -> Self {
        self.hook = HookSlot(Some(Arc::new(hook)));
        self
    }

    /// Checks the whole configuration; nothing is opened yet.
    ///
    /// # Errors
    /// A configuration error that names the setting, the value and what is allowed.
    pub fn build(self) -> Result<Connector> {
        let settings = self.settings.build(&KEYS)?;
        if let Some(driver) = &settings.wrapper_driver_dialect {
            if !matches!(driver.as_str(), "tokio-postgres" | "tokio_postgres" | "pg") {
                return Err(Error::config(format!(
                    "`wrapper_driver_dialect={driver}` does not fit: this is the adapter for `tokio-postgres`; \
                     leave the setting out, or use another adapter"
                )));
            }
        }
        let (config, tls) = driver_config(self.config, self.tls, &settings)?;
        let home: Arc<OnceLock<Weak<ClusterCore>>> = Arc::new(OnceLock::new());
        let mut driver =
            PgDriver::builder(config, spawner(Arc::clone(&home))).tls(tls).environment(self.env.clone());
        if let Some(credentials) = self.credentials {
            driver = driver.credentials(credentials);
        }
        let driver = driver.build()?;
        let tls = driver.tls().into();
        let core = ConnectorCore::new(ConnectorParts {
            settings,
            driver: Arc::new(driver),
            env: self.env,
            registry: self.registry,
            default_plugins: wrapper_plugins::default_plugins(),
            plugins: self.plugins,
            observers: self.observers,
            default_port: KEYS.default_port,
        })?;
        // A fresh cell is empty.
        let _ = home.set(Arc::downgrade(core.cluster().core()));
        Ok(Connector { core, hook: self.hook, tls })
    }
}

impl fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorBuilder").field("plugins", &self.plugins).finish_non_exhaustive()
    }
}

/// Runs the tasks of connections as tasks of the cluster, which give them a moment to say goodbye when it ends.
fn spawner(home: Arc<OnceLock<Weak<ClusterCore>>>) -> Spawner {
    Spawner::new(move |task| {
        if let Some(cluster) = home.get().and_then(Weak::upgrade) {
            cluster.spawn_with_grace("connection", GOODBYE, task);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_drivers_url_is_refused() {
        let build = |name| Connector::from_url(&format!("host=db.example.com wrapper_driver_dialect={name}"));
        let error = build("psycopg").unwrap_err().to_string();
        assert!(
            error.contains("`wrapper_driver_dialect=psycopg`") && error.contains("`tokio-postgres`"),
            "{error}"
        );
        for name in ["tokio-postgres", "tokio_postgres", "pg"] {
            build(name).unwrap();
        }
    }
}
