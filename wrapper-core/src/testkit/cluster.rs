//! The handle of a scripted cluster: what a test does to it, and what it asks of it.

use std::sync::Arc;
use std::time::Duration;

use super::connection::FakeConnection;
use super::counts::{Counts, Tally};
use super::driver::FakeDriver;
use super::flavour::Flavour;
use super::ledger::{Executed, Written};
use super::names::{self, ScriptedResolver};
use super::state::{Door, Health, Shared};
use crate::driver::ConnectPurpose;
use crate::env::Environment;
use crate::host::{HostInfo, HostRole};

/// Servers that share a store, as those of an Aurora cluster do. Cheap to clone.
///
/// Hosts are named by their index; host 0 is the writer in the beginning. What a client is told by a server that owns
/// the store is never lost. A host that lost the role and still accepts writes (see
/// [`Abandon::Unaware`](super::Abandon::Unaware)) loses all of them.
#[derive(Clone, Debug)]
pub struct ScriptedCluster {
    pub(super) shared: Arc<Shared>,
    env: Environment,
}

impl ScriptedCluster {
    /// `hosts` hosts of Aurora PostgreSQL, all up; `seed` decides everything that is left to chance, on the servers and
    /// in the library.
    pub fn new(hosts: usize, seed: u64) -> Self {
        Self::of(Flavour::AuroraPostgres, hosts, seed)
    }

    /// The same with hosts of another flavour.
    pub fn of(flavour: Flavour, hosts: usize, seed: u64) -> Self {
        let shared = Arc::new(Shared::new(flavour, hosts.clamp(1, 200), seed));
        let resolver = ScriptedResolver(Arc::clone(&shared));
        let env = Environment::builder().seed(seed).resolver(resolver).build();
        Self { shared, env }
    }

    /// The environment of a library that lives in this cluster's world.
    pub fn env(&self) -> &Environment {
        &self.env
    }

    /// A driver that reaches the cluster.
    pub fn driver(&self) -> FakeDriver {
        FakeDriver::new(&self.shared, &self.env)
    }

    /// The name of the writer endpoint.
    pub fn endpoint(&self) -> String {
        names::writer_endpoint()
    }

    /// The name of the reader endpoint.
    pub fn reader_endpoint(&self) -> String {
        names::reader_endpoint()
    }

    /// The name of a host.
    pub fn name(&self, host: usize) -> String {
        names::instance(host)
    }

    /// A host as the library names it.
    pub fn host(&self, host: usize) -> HostInfo {
        let flavour = self.flavour();
        HostInfo::new(&names::instance(host), flavour.port(), HostRole::Unknown)
            .with_id(flavour.host_id(host))
    }

    /// What the cluster answers as.
    pub fn flavour(&self) -> Flavour {
        self.shared.flavour
    }

    /// The index of the host called `name`.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.shared.lock().hosts.iter().position(|host| *host.name == *name)
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.shared.lock().hosts.len()
    }

    /// Whether there is no host; there always is one.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whose writes reach the store; nobody's while a host is being promoted.
    pub fn writer(&self) -> Option<usize> {
        self.shared.lock().owner
    }

    /// What a host's own recovery state says.
    pub fn role(&self, host: usize) -> HostRole {
        self.shared.lock().hosts[host].role
    }

    /// How a host treats its clients.
    pub fn health(&self, host: usize) -> Health {
        self.shared.lock().hosts[host].health
    }

    /// Changes how a host treats new clients; connections that are open stay.
    pub fn set_health(&self, host: usize, health: Health) {
        self.shared.lock().hosts[host].health = health;
    }

    /// The process is gone: connections are reset, connects refused.
    pub fn crash(&self, host: usize) {
        self.set_health(host, Health::Down);
        self.cut(host);
    }

    /// The host falls silent: sockets stay open, nothing is answered.
    pub fn freeze(&self, host: usize) {
        self.shared.lock().hosts[host].frozen.send_replace(true);
    }

    /// The host goes on where it fell silent.
    pub fn thaw(&self, host: usize) {
        self.shared.lock().hosts[host].frozen.send_replace(false);
    }

    /// Whether the host is silent.
    pub fn is_frozen(&self, host: usize) -> bool {
        self.shared.lock().hosts[host].is_frozen()
    }

    /// All connections to the host are reset; it takes new ones.
    pub fn cut(&self, host: usize) {
        self.shared.reset(host, |_| true);
    }

    /// The connections of `purpose` to the host are reset.
    pub fn cut_purpose(&self, host: usize, purpose: ConnectPurpose) {
        self.shared.reset(host, |wire| wire.purpose == purpose);
    }

    /// The time of one round trip to the host: 1 ms in the beginning.
    pub fn set_latency(&self, host: usize, round_trip: Duration) {
        self.shared.lock().hosts[host].latency = round_trip;
    }

    /// How long a whole connect to the host takes: two round trips in the beginning.
    pub fn set_connect_time(&self, host: usize, span: Duration) {
        self.shared.lock().hosts[host].connect = Some(span);
    }

    /// What becomes of new connections of `purpose` to the host while it is up.
    pub fn set_door(&self, host: usize, purpose: ConnectPurpose, door: Door) {
        let doors = &mut self.shared.lock().hosts[host].doors;
        doors.retain(|(of, _)| *of != purpose);
        doors.push((purpose, door));
    }

    /// A connection of a session that is there at once, whatever the host does: as one that was opened before.
    ///
    /// # Panics
    /// Outside a runtime, which the server's end runs on.
    pub fn connected(&self, host: usize) -> Arc<FakeConnection> {
        self.driver().connected(host, ConnectPurpose::Session)
    }

    /// How far a reader is behind: not at all in the beginning.
    pub fn set_lag(&self, host: usize, lag: Duration) {
        self.shared.lock().hosts[host].lag = lag;
    }

    /// What a host says of itself, and nothing else: the store and the topology stay as they are.
    pub fn set_role(&self, host: usize, role: HostRole) {
        self.shared.lock().hosts[host].role = role;
    }

    /// Which host the topology held by `host` names as the writer, from now on; with `None` it holds no topology.
    pub fn set_view(&self, host: usize, writer: Option<usize>) {
        let now = self.shared.clock.now();
        self.shared.lock().hosts[host].sees(now, writer);
    }

    /// Where the writer endpoint leads, from `lag` on.
    pub fn set_endpoint(&self, host: usize, lag: Duration) {
        let from = self.shared.clock.now() + lag;
        let endpoint = &mut self.shared.lock().endpoint;
        endpoint.retain(|(since, _)| *since <= from);
        endpoint.push((from, host));
    }

    /// The next number in the order of everything that happens here; observers take one to compare their events with
    /// [`Executed::sent`] and [`Written::stamp`].
    pub fn stamp(&self) -> u64 {
        self.shared.lock().stamp()
    }

    /// The shared store, in order: the truth.
    pub fn log(&self) -> Vec<Written> {
        self.shared.lock().log.clone()
    }

    /// What a demoted host has acknowledged and no other host knows of.
    pub fn lost(&self) -> Vec<Written> {
        self.shared.lock().lost.clone()
    }

    /// The clients' statements that servers ran, in order.
    pub fn executed(&self) -> Vec<Executed> {
        self.shared.lock().executed.clone()
    }

    /// How often the hosts ran `sql`, a question of the library's own.
    pub fn asked(&self, sql: &str) -> u64 {
        self.shared.lock().asked.get(sql).copied().unwrap_or_default()
    }

    /// How many pings of the library the host has answered.
    pub fn pings(&self, host: usize) -> u64 {
        self.shared.lock().hosts[host].pings
    }

    /// The sockets to all hosts.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts.all
    }

    /// The sockets to one host.
    pub fn counts_of(&self, host: usize) -> Counts {
        self.shared.lock().counts.hosts[host]
    }

    /// The sockets of monitors to all hosts.
    pub fn monitors(&self) -> Tally {
        self.counts().monitors
    }

    /// The sockets of sessions to all hosts.
    pub fn sessions(&self) -> Tally {
        self.counts().sessions
    }
}
