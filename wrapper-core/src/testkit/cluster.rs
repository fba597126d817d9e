//! The handle of a scripted cluster: what a test does to it, and what it asks of it.

use std::sync::Arc;
use std::time::Duration;

use super::counts::{Counts, Tally};
use super::driver::FakeDriver;
use super::ledger::{Executed, Written};
use super::names::{self, ScriptedResolver};
use super::state::{Health, Shared};
use crate::driver::ConnectPurpose;
use crate::env::Environment;
use crate::host::{HostInfo, HostRole};

/// Servers that share a store, as those of an Aurora PostgreSQL cluster do. Cheap to clone.
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
    /// `hosts` hosts, all up; `seed` decides everything that is left to chance, on the servers and in the library.
    pub fn new(hosts: usize, seed: u64) -> Self {
        let shared = Arc::new(Shared::new(hosts.clamp(1, 200), seed));
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
        HostInfo::new(&names::instance(host), names::PORT, HostRole::Unknown)
            .with_id(names::instance_id(host))
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

    /// How far a reader is behind: not at all in the beginning.
    pub fn set_lag(&self, host: usize, lag: Duration) {
        self.shared.lock().hosts[host].lag = lag;
    }

    /// What a host says of itself, and nothing else: the store and the topology stay as they are.
    pub fn set_role(&self, host: usize, role: HostRole) {
        self.shared.lock().hosts[host].role = role;
    }

    /// Which host the topology held by `host` names as the writer, from now on.
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
