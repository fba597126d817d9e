//! The plugin: picks an instance, connects, verifies, tries again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::cluster::Cluster;
use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostKey, HostRole, SelectorOptions, SharedSelectors, Strategy, classify};
use wrapper_core::plugin::{ConnectContext, ConnectNext, Connected, MethodSet, OrderClass, Plugin};
use wrapper_core::topology::Topology;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

/// What the plugin was set to.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) substitute: HostRole,
    pub(super) verify: HostRole,
    pub(super) strategy: Strategy,
    pub(super) selector: SelectorOptions,
    /// `None`: what the whole connect may take.
    pub(super) retry_timeout: Option<Duration>,
    pub(super) retry_interval: Duration,
    pub(super) wait_for_topology: Option<Duration>,
}

/// Names, in the error of an attempt that was late, the limit that it ran into.
const HALF: &str = "connect_timeout, half of what was left of it for one attempt";
/// An attempt that may be followed by another one has at least this long.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct InitialConnectionPlugin {
    rules: Rules,
}

/// Endpoints behind which a server of this cluster has answered; shared by all sessions of the cluster.
#[derive(Debug, Default)]
struct Proven(Mutex<BTreeSet<HostKey>>);

impl Proven {
    fn add(&self, endpoint: &HostKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint.clone());
    }

    fn contains(&self, endpoint: &HostKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(endpoint)
    }
}

/// Whether `endpoint` is known to be one of the cluster's. Another one is dialled itself, so that the server behind
/// it can tell: it may be another cluster's, or its role may be none that the configured hosts have.
fn is_ours(cluster: &Cluster, endpoint: &HostInfo) -> bool {
    let hosts = &cluster.options().hosts;
    if hosts.iter().any(|host| host.key == endpoint.key) {
        return true;
    }
    if !cluster.provider().is_some_and(|provider| provider.is_dynamic()) {
        return false;
    }
    let asked = classify(endpoint.host());
    let same_name = |host: &HostInfo| {
        let known = classify(host.host());
        known.cluster_name() == asked.cluster_name() && known.cluster_hash() == asked.cluster_hash()
    };
    (asked.cluster_name().is_some() && hosts.iter().any(same_name))
        || cluster.shared(Proven::default).contains(&endpoint.key)
}

impl InitialConnectionPlugin {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules }
    }

    /// The instance to open the session on, where the topology tells.
    fn pick(&self, cx: &ConnectContext<'_>) -> Option<HostInfo> {
        let published = cx.cluster.topology()?;
        match self.rules.substitute {
            HostRole::Writer => published.topology.writer().cloned(),
            HostRole::Reader => {
                let readers: Vec<&HostInfo> = published.topology.readers().collect();
                let shared = cx.cluster.shared(SharedSelectors::default);
                let selector = shared.get(self.rules.strategy, &self.rules.selector, cx.cluster.env());
                selector.pick(&readers, cx.cluster.env()).or(published.topology.writer()).cloned()
            }
            _ => None,
        }
    }

    /// A reader was asked for, but there is none: the writer's session is kept.
    fn no_reader(&self, topology: Option<&Topology>) -> bool {
        self.rules.verify == HostRole::Reader
            && topology.is_some_and(|topology| !topology.is_empty() && topology.readers().next().is_none())
    }

    async fn attempt(
        &self,
        cx: &mut ConnectContext<'_>,
        next: ConnectNext<'_>,
        endpoint: &HostKey,
        target: HostInfo,
        limit: Deadline,
    ) -> Result<Connected> {
        cx.deadline = limit;
        cx.target = ConnectTarget::session(target);
        cx.role = self.rules.verify;
        let connected = next.run(cx).await?;
        // A failover at connect time has replaced it by its own.
        let deadline = cx.deadline;
        cx.cluster.core().learn_topology(&connected.connection, deadline).await?;
        let connected = cx.cluster.verify(connected, HostRole::Unknown, deadline).await?;
        // `learn_topology` has refused the servers of other clusters.
        cx.cluster.shared(Proven::default).add(endpoint);
        let found = connected.host.role;
        let known = cx.cluster.topology();
        if self.rules.verify == HostRole::Unknown
            || found == self.rules.verify
            || (found == HostRole::Writer && self.no_reader(known.as_ref().map(|known| &*known.topology)))
        {
            return Ok(connected);
        }
        let error = Error::new(
            ErrorKind::WrongRole,
            format!("{} is a {found}, but a {} was asked for", connected.host.key, self.rules.verify),
        )
        .with_host(connected.host.host());
        connected.connection.kill(error.clone());
        Err(error)
    }

    /// Waits until another attempt makes sense.
    async fn pause(&self, cx: &ConnectContext<'_>, error: &Error, total: Deadline) -> Result<()> {
        let interval = cx.cluster.env().jitter(self.rules.retry_interval, 25).min(total.remaining());
        if self.rules.verify == HostRole::Writer && error.class() != ErrorClass::Busy {
            // The search ends when a writer has shown itself, usually long before the interval is over.
            let limit = total.cap(self.rules.retry_interval, "open_connection_retry_interval");
            match cx.cluster.core().search_writer(limit).await {
                Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::Login) => {
                    return Err(error);
                }
                _ => return Ok(()),
            }
        }
        cx.cluster.core().request_search();
        cx.cluster.env().sleep(interval).await;
        Ok(())
    }
}

#[async_trait]
impl Plugin for InitialConnectionPlugin {
    fn name(&self) -> &'static str {
        "initial_connection"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Endpoints
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::CONNECT
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        let endpoint = cx.target.host.clone();
        let total = match self.rules.retry_timeout {
            Some(timeout) => cx.deadline.cap(timeout, "open_connection_retry_timeout"),
            None => cx.deadline,
        };
        if let (Some(wait), None) = (self.rules.wait_for_topology, cx.cluster.topology()) {
            cx.cluster.core().request_search();
            let limit = total.cap(wait, "wait_for_initial_topology");
            let mut topology = cx.cluster.subscribe();
            let known = async {
                let _ = topology.wait_for(Option::is_some).await;
                Ok(())
            };
            let _ = limit.run("waiting for the topology", known).await;
        }
        let mut before: Option<Error> = None;
        loop {
            let ours = is_ours(cx.cluster, &endpoint);
            let cold = !ours || cx.cluster.topology().is_none();
            let target = ours.then(|| self.pick(cx)).flatten().unwrap_or_else(|| endpoint.clone());
            let limit = match cold {
                true => total,
                // A host that is silent must leave time for the one that has taken its place.
                false => total.cap((total.remaining() / 2).max(SHORTEST_ATTEMPT), HALF),
            };
            let error = match self.attempt(cx, next, &endpoint.key, target, limit).await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            let again = match error.kind() {
                ErrorKind::WrongRole => true,
                ErrorKind::Busy => true,
                // A host that cannot be reached on the first connection of all is the user's to know of at once.
                _ => !cold && (error.class() == ErrorClass::Network || error.kind() == ErrorKind::Timeout),
            };
            // A failover at connect time has had its own time.
            if !again || error.gave_up() {
                return Err(error);
            }
            if total.is_over() {
                // The last attempt may have had no time left; what the one before it met says more.
                let late = error.kind() == ErrorKind::Timeout;
                let cause = before.filter(|_| late).unwrap_or(error);
                return Err(total.error("opening a session on a host of the wanted role").with_source(cause));
            }
            self.pause(cx, &error, total).await?;
            before = Some(error);
        }
    }
}
