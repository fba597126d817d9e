//! The builder of a MySQL-family cluster.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::conf::{HARNESS, HARNESS_SCHEMA, SUPERUSER};
use super::{Error, MySqlCluster};
use crate::local::place;
use crate::verbs::Flavour;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) flavour: Flavour,
    pub(crate) name: String,
    pub(crate) with_proxy: bool,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
    pub(crate) max_connections: u32,
    pub(crate) dns_lag: Duration,
    pub(crate) promotion_time: RangeInclusive<Duration>,
    pub(crate) restart_on_promote: bool,
    pub(crate) restart_readers: bool,
    pub(crate) rejoin_after: Option<Duration>,
    pub(crate) seed: Option<u64>,
    pub(crate) parent: PathBuf,
    pub(crate) keep_files: bool,
    pub(crate) server_settings: Vec<(String, String)>,
    pub(crate) tls: Option<Tls>,
    pub(crate) hash: Option<String>,
}

/// Certificate chain and key of the servers, in PEM.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(masked)")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flavour: Flavour::Plain,
            name: "shop".to_owned(),
            with_proxy: false,
            user: "app".to_owned(),
            password: "correct-horse-battery".to_owned(),
            database: "shop".to_owned(),
            max_connections: 200,
            dns_lag: Duration::ZERO,
            promotion_time: Duration::ZERO..=Duration::ZERO,
            restart_on_promote: false,
            restart_readers: false,
            rejoin_after: Some(Duration::from_secs(1)),
            seed: None,
            parent: place::parent(),
            keep_files: false,
            server_settings: Vec::new(),
            tls: None,
            hash: None,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), Error> {
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if let Some(hash) = &self.hash
            && !(hash.starts_with('c') && hash.len() <= 30 && hash.chars().all(lower))
        {
            let expected = "expected `c`, then at most 29 lower-case letters and digits";
            return Err(Error::Setting { setting: "hash", value: hash.clone(), expected });
        }
        // These names become parts of host names and of statements.
        let plain = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.len() <= 40
                && text.chars().all(|c| lower(c) || c == '-' || c == '_')
        };
        let named = [("name", &self.name), ("app user", &self.user), ("database", &self.database)];
        for (setting, value) in named {
            if !plain(value) || (setting == "name" && value.contains('_')) {
                let expected = "expected a lower-case letter, then at most 39 lower-case letters, digits, `-` \
                                (or `_`, not in the cluster's name)";
                return Err(Error::Setting { setting, value: value.clone(), expected });
            }
        }
        if [HARNESS, SUPERUSER].contains(&self.user.as_str())
            || ["mysql", "sys", "information_schema", "performance_schema", HARNESS_SCHEMA]
                .contains(&self.database.as_str())
        {
            let value = format!("{} at {}", self.user, self.database);
            let expected = "expected another user than `root` or `rdsadmin`, and a database of its own";
            return Err(Error::Setting { setting: "app user or database", value, expected });
        }
        if self.promotion_time.start() > self.promotion_time.end() {
            let value = format!("{:?}", self.promotion_time);
            let expected = "expected the shortest time first";
            return Err(Error::Setting { setting: "promotion_time", value, expected });
        }
        Ok(())
    }
}

/// What a MySQL-family cluster shall be; made by [`MySqlCluster::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder(Options);

impl Builder {
    pub(crate) fn new() -> Self {
        Self(Options::default())
    }

    /// As what the cluster answers (default: as the plain server that it is).
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.0.flavour = flavour;
        self
    }

    /// Name of the cluster, the first part of its host names (default `shop`; instances: `shop-1`, …).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// Whether a fault proxy stands before each node; `cut` and `refuse` need it (default: no).
    pub fn with_proxy(mut self, with_proxy: bool) -> Self {
        self.0.with_proxy = with_proxy;
        self
    }

    /// Name and password of the application's user, who owns the database (default: `app` and a fixed one).
    pub fn app_user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.0.user = user.into();
        self.0.password = password.into();
        self
    }

    /// Name of the application's database (default `shop`).
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.0.database = database.into();
        self
    }

    /// Connections that each server takes (default 200).
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.0.max_connections = connections;
        self
    }

    /// How long a change of the cluster endpoints stays invisible in the name table (default: not at all).
    pub fn dns_lag(mut self, lag: Duration) -> Self {
        self.0.dns_lag = lag;
        self
    }

    /// How long the cluster waits after the loss of its writer before it promotes another; drawn uniformly for each
    /// failover (default: no wait).
    pub fn promotion_time(mut self, between: RangeInclusive<Duration>) -> Self {
        self.0.promotion_time = between;
        self
    }

    /// Whether a promoted server restarts, as Aurora's does: it drops its connections, refuses new ones for a moment,
    /// and comes back as the writer. Otherwise it keeps them (the default).
    pub fn restart_on_promote(mut self, restart: bool) -> Self {
        self.0.restart_on_promote = restart;
        self
    }

    /// Whether the remaining readers restart too when another node is promoted (default: no).
    pub fn restart_readers(mut self, restart: bool) -> Self {
        self.0.restart_readers = restart;
        self
    }

    /// How long after the new writer's first write a crashed or stopped old writer comes back as a reader (default
    /// 1 s); `None`: only when told by [`MySqlCluster::rejoin`].
    pub fn rejoin_after(mut self, pause: Option<Duration>) -> Self {
        self.0.rejoin_after = pause;
        self
    }

    /// Seed for all that is drawn while the cluster runs (promotion times, ids; default: random). The network is
    /// always random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = Some(seed);
        self
    }

    /// Where the cluster's folder is made; the servers' account must be able to pass (default: `/dev/shm` when it
    /// has 1 GiB to spare, else the system's folder for temporary files).
    pub fn folder(mut self, parent: impl Into<PathBuf>) -> Self {
        self.0.parent = parent.into();
        self
    }

    /// Leaves data and logs in the folder at the end, for a look at them (default: no).
    pub fn keep_files(mut self, keep: bool) -> Self {
        self.0.keep_files = keep;
        self
    }

    /// A further setting for the section `[mysqld]` of each server; overrides the cluster's own.
    pub fn server_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.server_settings.push((name.into(), value.into()));
        self
    }

    /// Lets the servers offer TLS, with this certificate chain and key in PEM (default: no TLS). For a certificate
    /// that names the hosts, set the [`hash`](Self::hash).
    pub fn tls(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.0.tls = Some(Tls { certificate: certificate.into(), key: key.into() });
        self
    }

    /// The part of the host names that stands for the account (default: random): with `cxyz` the instances are
    /// `shop-1.cxyz.us-east-2.rds.amazonaws.com` and so on.
    pub fn hash(mut self, hash: impl Into<String>) -> Self {
        self.0.hash = Some(hash.into());
        self
    }

    /// Starts the servers; returns when both replicas have the application's database and commits wait for them.
    ///
    /// # Errors
    /// When neither MariaDB nor MySQL is installed, a setting cannot be, or a server does not come up.
    ///
    /// # Cancellation
    /// Dropping the future ends what was started.
    pub async fn start(self) -> Result<MySqlCluster, Error> {
        self.0.check()?;
        MySqlCluster::start(self.0).await
    }
}
