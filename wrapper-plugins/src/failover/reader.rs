//! The search for a reader, or for any host.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use wrapper_core::cluster::Cluster;
use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostKey, HostRole, SelectorOptions, SharedSelectors, Strategy};
use wrapper_core::plugin::{Chain, ConnectContext, ConnectNext, Connected};
use wrapper_core::session::{Search, SwitchContext};
use wrapper_core::{Error, ErrorKind, Result};

use super::plugin::is_final;
use super::storm::Gate;

/// A host that has not answered for this long is raced by the next one.
const STAGGER: Duration = Duration::from_millis(250);
/// Between two rounds over all hosts.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// How a connection is opened: by a switch, or inside the connect pipeline.
enum Opener<'a> {
    Chain(&'a Chain),
    Next(ConnectNext<'a>),
}

impl Opener<'_> {
    async fn open(
        &self,
        cluster: &Cluster,
        host: &HostInfo,
        role: HostRole,
        deadline: Deadline,
    ) -> Result<Connected> {
        match self {
            Self::Chain(chain) => cluster.connect_verified(chain, host, role, deadline).await,
            Self::Next(next) => {
                let limit = deadline.cap(cluster.options().connect_timeout, "connect_timeout");
                let mut cx = ConnectContext::new(cluster, ConnectTarget::session(host.clone()), limit);
                cx.role = role;
                let connected = next.run(&mut cx).await?;
                cluster.verify(connected, role, limit).await
            }
        }
    }
}

/// Searches a reader, or any host.
#[derive(Debug)]
pub(super) struct ReaderSearch {
    strict: bool,
    strategy: Strategy,
    selector: SelectorOptions,
    connect_timeout: Option<Duration>,
}

impl ReaderSearch {
    pub(super) fn new(
        strict: bool,
        strategy: Strategy,
        selector: SelectorOptions,
        connect_timeout: Option<Duration>,
    ) -> Self {
        Self { strict, strategy, selector, connect_timeout }
    }

    /// Searches inside the connect pipeline.
    pub(super) async fn connect(
        &self,
        cluster: &Cluster,
        deadline: Deadline,
        next: ConnectNext<'_>,
    ) -> Result<Connected> {
        let report = |_: &HostInfo, _: Option<&Error>| {};
        deadline
            .run("the search for a host", self.search(cluster, &Opener::Next(next), None, deadline, report))
            .await
    }

    async fn search(
        &self,
        cluster: &Cluster,
        opener: &Opener<'_>,
        failed: Option<&HostKey>,
        deadline: Deadline,
        report: impl Fn(&HostInfo, Option<&Error>) + Send + Sync,
    ) -> Result<Connected> {
        loop {
            let hosts = self.candidates(cluster, failed);
            match self.round(cluster, opener, &hosts, deadline, &report).await {
                Ok(connected) => return Ok(connected),
                Err(error) if is_final(&error) => return Err(error),
                // Roles may have moved: the monitor is asked to look, and the next round takes what it has found.
                Err(_) => {
                    cluster.core().request_search();
                    cluster.env().sleep(cluster.env().jitter(ROUND_PAUSE, 50)).await;
                }
            }
        }
    }

    /// The hosts in the order in which they are tried: readers by strategy, then the writer; the host that was lost
    /// comes last.
    fn candidates(&self, cluster: &Cluster, failed: Option<&HostKey>) -> Vec<HostInfo> {
        let hosts: Vec<HostInfo> = match cluster.topology() {
            Some(published) if !published.topology.is_empty() => published.topology.hosts().to_vec(),
            _ => cluster.options().hosts.clone(),
        };
        let (rest, last): (Vec<&HostInfo>, Vec<&HostInfo>) =
            hosts.iter().partition(|host| host.role != HostRole::Writer && Some(&host.key) != failed);
        let ordered = cluster.shared(SharedSelectors::default).order(
            self.strategy,
            &self.selector,
            rest,
            cluster.env(),
        );
        let mut ordered: Vec<HostInfo> = ordered.into_iter().cloned().collect();
        // In strict mode too: what the topology calls the writer may be a reader by now; its own word decides.
        let (failed_hosts, writers): (Vec<&HostInfo>, Vec<&HostInfo>) =
            last.into_iter().partition(|host| Some(&host.key) == failed);
        ordered.extend(writers.into_iter().cloned());
        ordered.extend(failed_hosts.into_iter().cloned());
        ordered
    }

    async fn round(
        &self,
        cluster: &Cluster,
        opener: &Opener<'_>,
        hosts: &[HostInfo],
        deadline: Deadline,
        report: &(impl Fn(&HostInfo, Option<&Error>) + Send + Sync),
    ) -> Result<Connected> {
        let role = if self.strict { HostRole::Reader } else { HostRole::Unknown };
        let limit = match self.connect_timeout {
            Some(timeout) => deadline.cap(timeout, "failover_reader_connect_timeout"),
            None => deadline,
        };
        let gate = Gate::of(cluster);
        let _pass = gate.pass(deadline).await?;
        let mut waiting = hosts.iter();
        let mut racing = FuturesUnordered::new();
        let mut last = Error::new(ErrorKind::Topology, "no host is known");
        loop {
            if racing.is_empty() {
                let Some(host) = waiting.next() else { return Err(last) };
                racing.push(attempt(cluster, opener, host, role, limit));
            }
            let finished = tokio::select! {
                biased;
                finished = racing.next() => finished,
                () = cluster.env().sleep(STAGGER) => None,
            };
            match finished {
                Some((host, Ok(connected))) => {
                    report(host, None);
                    return Ok(connected);
                }
                Some((host, Err(error))) => {
                    report(host, Some(&error));
                    if is_final(&error) {
                        return Err(error);
                    }
                    last = error;
                }
                None => {
                    if let Some(host) = waiting.next() {
                        racing.push(attempt(cluster, opener, host, role, limit));
                    }
                }
            }
        }
    }
}

async fn attempt<'h>(
    cluster: &Cluster,
    opener: &Opener<'_>,
    host: &'h HostInfo,
    role: HostRole,
    deadline: Deadline,
) -> (&'h HostInfo, Result<Connected>) {
    (host, opener.open(cluster, host, role, deadline).await)
}

#[async_trait]
impl Search for ReaderSearch {
    async fn find(&mut self, cx: &SwitchContext) -> Result<Connected> {
        let env = cx.cluster.env();
        let report = |host: &HostInfo, error: Option<&Error>| {
            cx.report(|report| {
                report.attempt(&host.key);
                match error {
                    Some(error) => report.step(env, format!("{}: {error}", host.short_name())),
                    None => report.step(env, format!("connected to {}, role verified", host.short_name())),
                }
            });
        };
        let failed = Some(&cx.failed.host.key);
        let connected =
            self.search(&cx.cluster, &Opener::Chain(&cx.chain), failed, cx.deadline, report).await?;
        let why = if self.strict { "the first reader that answered" } else { "the first host that answered" };
        cx.report(|report| report.chose(&connected.host, why));
        Ok(connected)
    }
}
