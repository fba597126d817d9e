//! The connector: one cluster, and the way to connect to it.
//!
//! What lives here: [`Connector`] and its builder. What may not: the connect pipeline, which is the core's; how settings
//! become the driver's options (`configuration.rs`).

use std::fmt;
use std::sync::Arc;

use mysql_async::{Opts, OptsBuilder};
use secrecy::{ExposeSecret, SecretString};
use wrapper_core::cluster::Cluster;
use wrapper_core::config::{Profiles, Settings, SettingsBuilder};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::credentials::{CredentialProvider, Provided};
use wrapper_core::env::Environment;
use wrapper_core::observe::{Observer, SwitchReport};
use wrapper_core::plugin::{PluginFactory, Registry};
use wrapper_core::session::{SessionOptions, SwitchHook};
use wrapper_core::{Error, Result};

use crate::configuration::{KEYS, driver_opts};
use crate::conn::Conn;
use crate::connection::MysqlConnection;
use crate::driver::MysqlDriver;
use crate::tls::TlsSettings;

/// One cluster and the way to connect to it. Cheap to clone; the last clone dropped, its connections included, ends
/// every task that it started.
///
/// ```no_run
/// # async fn f() -> wrapper_mysql::Result<()> {
/// let connector = wrapper_mysql::Connector::from_url(
///     "mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?plugins=failover,efm",
/// )?;
/// let mut conn = connector.connect().await?;
/// let orders: Vec<u64> = conn.exec("SELECT id FROM orders WHERE customer = ?", (7,)).await?;
/// # let _ = orders; Ok(()) }
/// ```
///
/// # What a switch carries over
///
/// The database in use and what was set by statements of their own: `USE`, `SET` of session variables (autocommit,
/// isolation, read-only, character set, time zone, and all others), `SET NAMES`, `SET CHARACTER SET`, `SET ROLE`. A handler
/// for `LOAD DATA LOCAL` that was not used yet.
///
/// Not carried over: user variables, and what is set from them or from parameters; what procedures set; what was set
/// through the driver's own traits or [`with_raw`](Conn::with_raw); what a statement has set whose future was dropped
/// before its answer; temporary tables, locks. A [`switch_hook`](ConnectorBuilder::switch_hook) can do that.
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
    /// From a URL (`mysql://…?plugins=failover,efm&failover_timeout=60s`) or a connection string
    /// (`host=… user=… plugins=failover,efm`).
    ///
    /// # Errors
    /// A configuration error that names the setting, the value and what is allowed.
    pub fn from_url(text: &str) -> Result<Self> {
        ConnectorBuilder::new().text(text).build()
    }

    /// From the driver's own options: what they say is taken as [`MysqlDriver`] says, every setting of the library has
    /// its default.
    ///
    /// # Errors
    /// A configuration error.
    pub fn from_opts(opts: impl Into<Opts>) -> Result<Self> {
        Self::builder_from_opts(opts).build()
    }

    /// Starts a typed configuration from the driver's own options, with their host, user, password and all else.
    pub fn builder_from_opts(opts: impl Into<Opts>) -> ConnectorBuilder {
        let opts = opts.into();
        let builder = ConnectorBuilder::new().host_and_port(opts.ip_or_hostname(), opts.tcp_port());
        ConnectorBuilder { opts, ..builder }
    }

    /// Starts a typed configuration with the host to connect to.
    pub fn builder(host: &str) -> ConnectorBuilder {
        ConnectorBuilder::new().host(host)
    }

    /// Starts a typed configuration with the host and the port to connect to.
    pub fn builder_at(host: &str, port: u16) -> ConnectorBuilder {
        ConnectorBuilder::new().host_and_port(host, port)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Typed, with the host: refused credentials, an unreachable host, a missing grant with the statement that mends
    /// it, a time-out that names its setting.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    pub async fn connect(&self) -> Result<Conn> {
        let mut options = SessionOptions::default();
        options.socket_timeout = self.core.settings().socket_timeout;
        options.transfer_state = self.core.settings().transfer_session_state_on_switch;
        options.hook = self.hook.0.clone();
        Ok(Conn::new(self.core.open::<MysqlConnection>(options).await?))
    }

    /// The same cluster, monitors and budget, for connections that ask for another of its endpoints: readers beside the
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

    /// The settings.
    pub fn settings(&self) -> &Settings {
        self.core.settings()
    }

    /// The effective settings and where each came from, the plugins in their order, who encrypts; secrets are masked.
    pub fn explain(&self) -> String {
        format!("{}\nTLS: {}", self.core.explain(), self.tls)
    }

    /// The reports of the last switches of the cluster's connections, oldest first.
    pub fn reports(&self) -> Vec<Arc<SwitchReport>> {
        self.cluster().recorder().reports()
    }

    /// Ends every task of the cluster and returns when they are gone. Sessions that are still open can no longer be
    /// switched.
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
    opts: Opts,
    tls: TlsSettings,
    env: Environment,
    registry: Registry,
    plugins: Vec<Arc<dyn PluginFactory>>,
    observers: Vec<Arc<dyn Observer>>,
    hook: HookSlot,
}

impl ConnectorBuilder {
    fn new() -> Self {
        Self {
            settings: Settings::builder(),
            opts: Opts::default(),
            tls: TlsSettings::new(),
            env: Environment::default(),
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

    /// The user.
    pub fn user(mut self, user: &str) -> Self {
        self.settings = self.settings.set("user", user);
        self
    }

    /// The password; it is never printed.
    pub fn password(mut self, password: impl Into<SecretString>) -> Self {
        let opts = OptsBuilder::from_opts(self.opts).pass(Some(password.into().expose_secret()));
        self.opts = opts.into();
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

    /// Where the credential of each new connection comes from, monitors' included. It is cached, fetched again before
    /// it ends, and replaced when the server refuses it.
    pub fn credentials(self, credentials: impl CredentialProvider + 'static) -> Self {
        self.plugin(Provided::new(credentials))
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

    /// Carries session state of your own over on a switch, such as user variables.
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
            if !matches!(driver.as_str(), "mysql_async" | "mysql-async" | "mysql") {
                return Err(Error::config(format!(
                    "`wrapper_driver_dialect={driver}` does not fit: this is the adapter for `mysql_async`; leave the \
                     setting out, or use another adapter"
                )));
            }
        }
        let (opts, tls) = driver_opts(self.opts, self.tls, &settings)?;
        let driver = MysqlDriver::builder(opts).tls(tls).environment(self.env.clone()).build()?;
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
        Ok(Connector { core, hook: self.hook, tls })
    }
}

impl fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorBuilder").field("plugins", &self.plugins).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Connector::from_url(text).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_meant_for_another_driver_is_refused() {
        let error = refused("host=db.example.com wrapper_driver_dialect=psycopg");
        assert!(
            error.contains("`wrapper_driver_dialect=psycopg`") && error.contains("`mysql_async`"),
            "{error}"
        );
        let error = refused("host=db.example.com wrapper_dialect=aurora-pg");
        assert!(error.contains("`wrapper_dialect=aurora-pg`") && error.contains("mysql_async"), "{error}");
        let error = refused("postgres://db.example.com/shop");
        assert!(error.contains("`mysql://`"), "{error}");
        for name in ["mysql_async", "mysql"] {
            Connector::from_url(&format!("host=db.example.com wrapper_driver_dialect={name}")).unwrap();
        }
    }

    #[test]
    fn a_socket_in_the_options_is_refused() {
        let opts = OptsBuilder::default().socket(Some("/run/mysqld/mysqld.sock"));
        let error = Connector::from_opts(opts).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("`socket`"), "{error}");
    }
}
