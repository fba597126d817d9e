//! Settings of a simulated cluster, and its start.
//!
//! What may not live here: what happens after the start.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cluster::SimCluster;
use super::error::SimError;
use super::flavour::{Engine, Flavour, RdsTools};
use super::inner::{Inner, listen};
use super::node::Node;
use super::passwords::{LoginAttempt, PasswordCheck};
use super::store::Store;
use super::tls::Tls;
use super::topology::History;
use crate::names::NameTable;

/// How the servers ask for a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// Not at all; any user may log in.
    #[default]
    Trust,
    /// In clear text, as RDS asks for IAM tokens.
    Cleartext,
    /// By SCRAM-SHA-256; PostgreSQL only.
    Scram,
    /// By `mysql_native_password`; MySQL only.
    Native,
    /// By `caching_sha2_password`; MySQL only. The first login of a user on a server shows the password itself, if the
    /// connection has TLS; all others show that they know it. (Real servers also take the password encrypted by their
    /// RSA key when the first login has no TLS. Here that login counts as a later one.)
    CachingSha2,
}

impl Login {
    /// Whether servers of this kind can ask so.
    fn is_of(self, engine: Engine) -> bool {
        match self {
            Login::Trust | Login::Cleartext => true,
            Login::Scram => engine == Engine::Postgres,
            Login::Native | Login::CachingSha2 => engine == Engine::Mysql,
        }
    }
}

/// What stays as it was at the start.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) engine: Engine,
    pub(crate) flavour: Flavour,
    pub(crate) login: Login,
    pub(crate) require_tls: bool,
    pub(crate) engine_version: String,
    name: String,
    domain: String,
}

impl Config {
    pub(crate) fn cluster_endpoint(&self) -> String {
        format!("{}.cluster-{}", self.name, self.domain)
    }

    pub(crate) fn reader_endpoint(&self) -> String {
        format!("{}.cluster-ro-{}", self.name, self.domain)
    }
}

/// What can be changed while the cluster runs.
#[derive(Debug)]
pub(crate) struct Tuning {
    pub(crate) promotion: RangeInclusive<Duration>,
    pub(crate) switchover: RangeInclusive<Duration>,
    pub(crate) rejoin: Duration,
    pub(crate) restart_promoted: bool,
    pub(crate) restart_time: Duration,
    pub(crate) lags: Vec<Duration>,
    pub(crate) cpus: Vec<f64>,
    pub(crate) random: fastrand::Rng,
    /// Where the reader endpoint points.
    pub(crate) reader_endpoint: Option<IpAddr>,
}

/// Builds a [`SimCluster`]; every setting has a default.
#[derive(Debug)]
pub struct SimClusterBuilder {
    nodes: usize,
    port: u16,
    tls: bool,
    users: BTreeMap<String, String>,
    passwords: Option<PasswordCheck>,
    max_connections: usize,
    promotion: RangeInclusive<Duration>,
    switchover: RangeInclusive<Duration>,
    rejoin: Duration,
    restart_promoted: Option<bool>,
    restart_time: Duration,
    dns_lag: Duration,
    seed: u64,
    engine_version: Option<String>,
    config: Config,
}

impl Default for SimClusterBuilder {
    fn default() -> Self {
        let millis = Duration::from_millis;
        SimClusterBuilder {
            nodes: 3,
            port: 0,
            tls: false,
            users: BTreeMap::new(),
            passwords: None,
            max_connections: 1000,
            promotion: millis(200)..=millis(200),
            switchover: millis(100)..=millis(100),
            rejoin: millis(500),
            restart_promoted: None,
            restart_time: millis(50),
            dns_lag: Duration::ZERO,
            seed: 0,
            engine_version: None,
            config: Config {
                engine: Engine::default(),
                flavour: Flavour::default(),
                login: Login::default(),
                require_tls: false,
                engine_version: String::new(),
                name: "shop".to_owned(),
                domain: "xyz.us-east-2.rds.amazonaws.com".to_owned(),
            },
        }
    }
}

impl SimClusterBuilder {
    /// Number of servers, 1 to 200; default 3. Node 0 starts as the writer.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Which protocol and SQL the servers speak; default PostgreSQL.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.config.engine = engine;
        self
    }

    /// Whose metadata the servers answer with; default Aurora.
    #[must_use]
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.config.flavour = flavour;
        self
    }

    /// Port of all servers; default 0: one that is free on all addresses.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Whether the servers offer TLS, with certificates of the cluster's own authority; default no.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Whether logins without TLS are refused (28000, on MySQL 3159); implies [`tls`](Self::tls). Default no.
    #[must_use]
    pub fn require_tls(mut self, require: bool) -> Self {
        self.config.require_tls = require;
        self.tls |= require;
        self
    }

    /// How the servers ask for a password; default not at all.
    #[must_use]
    pub fn login(mut self, login: Login) -> Self {
        self.config.login = login;
        self
    }

    /// Adds a user. Only needed for a [`login`](Self::login) with passwords.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.insert(name.to_owned(), password.to_owned());
        self
    }

    /// Has `judge` decide about each password; the servers ask for it in clear text ([`Login::Cleartext`]), and list no
    /// users. Default: they have a list of [`user`](Self::user)s.
    #[must_use]
    pub fn passwords(mut self, judge: impl Fn(&LoginAttempt<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.passwords = Some(PasswordCheck::new(judge));
        self.config.login = Login::Cleartext;
        self
    }

    /// Connections that one server takes before it answers 53300, on MySQL 1040; default 1000.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// Name of the cluster, the first part of its host names; default `shop`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.config.name = name.to_owned();
        self
    }

    /// Last part of the host names; default `xyz.us-east-2.rds.amazonaws.com`.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        self.config.domain = domain.to_owned();
        self
    }

    /// Version that the servers claim; default `16.6`, on MySQL `8.0.39`.
    #[must_use]
    pub fn engine_version(mut self, version: &str) -> Self {
        self.engine_version = Some(version.to_owned());
        self
    }

    /// Time from a crash until the promoted reader accepts writes, drawn evenly; default 200 ms.
    #[must_use]
    pub fn promotion_time(mut self, time: RangeInclusive<Duration>) -> Self {
        self.promotion = time;
        self
    }

    /// The same for a planned switchover; default 100 ms.
    #[must_use]
    pub fn switchover_time(mut self, time: RangeInclusive<Duration>) -> Self {
        self.switchover = time;
        self
    }

    /// How long after a promotion the old writer comes back as a reader; default 500 ms.
    #[must_use]
    pub fn rejoin_time(mut self, time: Duration) -> Self {
        self.rejoin = time;
        self
    }

    /// Whether a promoted reader restarts and so drops its connections; default yes for Aurora, else no.
    #[must_use]
    pub fn restart_promoted(mut self, restart: bool) -> Self {
        self.restart_promoted = Some(restart);
        self
    }

    /// How long a promoted reader that restarts is down, within the promotion time; default 50 ms.
    #[must_use]
    pub fn restart_time(mut self, time: Duration) -> Self {
        self.restart_time = time;
        self
    }

    /// How long clients see the old address of a cluster endpoint after a change; default 0.
    #[must_use]
    pub fn dns_lag(mut self, lag: Duration) -> Self {
        self.dns_lag = lag;
        self
    }

    /// Seed of what is drawn at random (times); default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts the cluster on the present tokio runtime.
    ///
    /// # Errors
    /// [`SimError::Setting`] for a setting that cannot be used, [`SimError::Listen`] when no addresses are free,
    /// [`SimError::Tls`] when a host name cannot stand in a certificate.
    ///
    /// # Cancellation
    /// A start that is dropped leaves nothing behind.
    pub async fn start(mut self) -> Result<SimCluster, SimError> {
        let wrong = |setting, value: String, expected| Err(SimError::Setting { setting, value, expected });
        if !(1..=200).contains(&self.nodes) {
            return wrong("nodes", self.nodes.to_string(), "1 to 200");
        }
        if self.config.login != Login::Trust && self.users.is_empty() && self.passwords.is_none() {
            return wrong("login", format!("{:?}", self.config.login), "at least one `user` to log in");
        }
        if !self.config.login.is_of(self.config.engine) {
            let expected = "a way to log in that the engine has";
            return wrong("login", format!("{:?}", self.config.login), expected);
        }
        self.config.engine_version = self.engine_version.unwrap_or_else(|| {
            let default = match self.config.engine {
                Engine::Postgres => "16.6",
                Engine::Mysql => "8.0.39",
            };
            default.to_owned()
        });
        for (setting, times) in [("promotion_time", &self.promotion), ("switchover_time", &self.switchover)] {
            if times.is_empty() {
                return wrong(setting, format!("{times:?}"), "a range that ends after it starts");
            }
        }
        let addresses = free_addresses(self.nodes, self.port)?;
        let names = NameTable::new();
        let node = |(index, address): (usize, &SocketAddr)| {
            let instance = format!("{}-{}", self.config.name, index + 1);
            let endpoint = format!("{instance}.{}", self.config.domain);
            names.insert(&endpoint, address.ip());
            Node::new(instance, endpoint, *address, self.max_connections)
        };
        let nodes: Vec<Node> = addresses.iter().enumerate().map(node).collect();
        names.insert(&self.config.cluster_endpoint(), addresses[0].ip());
        let reader = addresses.get(1).unwrap_or(&addresses[0]).ip();
        names.insert(&self.config.reader_endpoint(), reader);
        names.set_lag(self.dns_lag);
        let tls = match self.tls {
            false => None,
            true => {
                let own = nodes.iter().map(|node| node.endpoint.clone());
                let shared = [self.config.cluster_endpoint(), self.config.reader_endpoint()];
                Some(Tls::new(own.chain(shared).collect())?)
            }
        };
        let tuning = Tuning {
            promotion: self.promotion,
            switchover: self.switchover,
            rejoin: self.rejoin,
            restart_promoted: self.restart_promoted.unwrap_or(self.config.flavour == Flavour::Aurora),
            restart_time: self.restart_time,
            lags: (0..self.nodes).map(|node| Duration::from_millis(if node == 0 { 0 } else { 20 })).collect(),
            cpus: vec![5.0; self.nodes],
            random: fastrand::Rng::with_seed(self.seed),
            reader_endpoint: Some(reader),
        };
        let inner = Arc::new(Inner {
            config: self.config,
            tuning: Mutex::new(tuning),
            names,
            store: Arc::new(Store::new(nodes.len())),
            history: Mutex::new(History::new(nodes.len())),
            nodes,
            users: Mutex::new(self.users),
            passwords: self.passwords,
            rds_tools: Mutex::new(RdsTools::default()),
            tls,
            notifications: broadcast::Sender::new(1024),
            cancels: Mutex::default(),
            pids: Arc::default(),
            changing: Arc::default(),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
        });
        let cluster = SimCluster::new(inner);
        for node in 0..cluster.nodes() {
            cluster.inner().start(node)?;
        }
        Ok(cluster)
    }
}

/// Addresses 127.x.y.1 and on with one port that is free on all of them.
fn free_addresses(nodes: usize, port: u16) -> Result<Vec<SocketAddr>, SimError> {
    let mut random = fastrand::Rng::new();
    let mut tries = 0;
    loop {
        tries += 1;
        let (x, y) = (random.u8(64..=254), random.u8(1..=254));
        match addresses_in(x, y, nodes, port) {
            Err(_) if tries < 50 => {}
            outcome => return outcome,
        }
    }
}

fn addresses_in(x: u8, y: u8, nodes: usize, port: u16) -> Result<Vec<SocketAddr>, SimError> {
    let mut port = port;
    let mut held = Vec::new();
    for node in 1..=nodes {
        let address = SocketAddr::from((Ipv4Addr::new(127, x, y, node as u8), port));
        let listener = listen(address)?;
        let bound = listener.local_addr().map_err(|source| SimError::Listen { address, source })?;
        port = bound.port();
        held.push((listener, bound));
    }
    Ok(held.into_iter().map(|(_, address)| address).collect())
}
