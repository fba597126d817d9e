//! The topology monitor: one task a cluster (R7).
//!
//! Normal mode: one connection, to the writer, asked at the normal rate, and at the high rate for 30 s after the
//! writer was found. A failed answer, a writer that is none any more, or a request leads to a search: one probe a
//! host. The first host that shows itself to be the writer ends the search; its probe's connection becomes the
//! monitor's.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::probe::{Finding, probe, view};
use super::{ClusterCore, MonitorConnection};
use crate::env::{Deadline, watch};
use crate::error::{ErrorClass, ErrorKind};
use crate::host::{HostInfo, HostKey};
use crate::observe::Event;
use crate::topology::{HostStatus, Topology};

/// How long the high rate lasts after the writer was found (peers' value).
const HIGH_RATE_FOR: Duration = Duration::from_secs(30);
/// How long the present connection may take to answer a search before other hosts are probed.
const FIRST_ANSWER: Duration = Duration::from_millis(100);
/// How long a search keeps its short intervals when nobody waits for it any more.
const EAGER_FOR: Duration = Duration::from_secs(30);
/// The longest interval of a search that nobody waits for.
const LAZY_PAUSE: Duration = Duration::from_secs(2);
/// Pause before a monitor that has panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

impl ClusterCore {
    /// Starts the monitor unless it runs.
    pub(super) fn ensure_monitor(self: &Arc<Self>) {
        let mut running = self.monitor_running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running || self.is_shut_down() {
            return;
        }
        *running = true;
        drop(running);
        let running = Running(Arc::downgrade(self));
        let core = Arc::clone(self);
        self.spawn("topology monitor", async move {
            let _running = running;
            loop {
                let run = AssertUnwindSafe(Arc::clone(&core).monitor()).catch_unwind().await;
                if run.is_err() {
                    core.emit(&Event::TaskRestarted { task: "topology monitor" });
                    core.env.sleep(RESTART_PAUSE).await;
                }
            }
        });
    }

    pub(super) async fn shut_down(&self) {
        self.tasks.cancelled().await;
    }

    /// `pause` while somebody waits for the search, longer when nobody does.
    pub(super) fn patience(&self, pause: Duration) -> Duration {
        if self.waiters.load(Ordering::Relaxed) > 0 || self.env.now() < self.eager_until() {
            pause
        } else {
            LAZY_PAUSE.max(pause)
        }
    }

    fn eager_until(&self) -> Instant {
        *self.eager_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn monitor(self: Arc<Self>) {
        let mut requests = self.requests.subscribe();
        let mut high_until = self.env.now();
        let mut connection = None;
        loop {
            let answered = self.topology().filter(|p| p.verified).map_or(0, |p| p.answers);
            let asked = *requests.borrow_and_update();
            let open = match connection.take() {
                Some(open) if asked <= answered => open,
                present => {
                    high_until = self.env.now() + HIGH_RATE_FOR;
                    self.find(present).await
                }
            };
            let rate = if self.env.now() < high_until {
                self.options.topology_high_refresh
            } else {
                self.options.topology_refresh
            };
            let asked_again = tokio::select! {
                biased;
                changed = requests.changed() => changed.is_ok(),
                () = self.env.sleep(rate) => false,
            };
            // A connection that does not answer, or is not the writer's, is dropped: the next turn searches.
            let keep = asked_again || self.refresh_until_asked(&open, &mut requests).await;
            connection = keep.then_some(open);
        }
    }

    /// As [`refresh`](Self::refresh) at its normal limit; when a search is asked for meanwhile, an answer that is
    /// late by then is not waited for: a silent writer must not hold up the search for its successor.
    async fn refresh_until_asked(
        &self,
        open: &MonitorConnection,
        requests: &mut watch::Receiver<u64>,
    ) -> bool {
        let late = self.env.now() + FIRST_ANSWER;
        let mut refresh = pin!(self.refresh(open, self.options.monitor_query_timeout));
        tokio::select! {
            biased;
            answered = &mut refresh => return answered,
            _ = requests.changed() => {}
        }
        tokio::select! {
            biased;
            answered = refresh => answered,
            () = self.env.sleep_until(late) => false,
        }
    }

    /// Asks the host of an open connection for its role and topology, and publishes them. False when it did not
    /// answer or is not the writer.
    async fn refresh(&self, open: &MonitorConnection, limit: Duration) -> bool {
        let answers = *self.requests.borrow();
        let deadline = Deadline::after(limit, "topology_monitoring_socket_timeout");
        let Some(provider) = self.provider() else { return false };
        let Ok(status) = self.status(&**open.connection(), provider, deadline).await else { return false };
        if !self.believes(open.host(), &status) {
            return false;
        }
        let writer = self.identified(open.host(), &status);
        let topology = if provider.is_dynamic() {
            match provider.refresh(&**open.connection(), deadline).await {
                Ok(topology) => topology.with_writer(listed(&topology, &status).unwrap_or(&writer)),
                // The writer has just answered for itself; what it cannot tell of the others is known from before.
                Err(error) if error.kind() == ErrorKind::Topology => self.known().with_writer(&writer),
                Err(_) => return false,
            }
        } else {
            self.known().with_writer(&writer)
        };
        self.publish_verified(topology, answers);
        true
    }

    /// Searches until a host has shown itself to be the writer.
    async fn find(self: &Arc<Self>, present: Option<MonitorConnection>) -> MonitorConnection {
        let mut present = present;
        if let Some(open) = present.take() {
            if self.refresh(&open, FIRST_ANSWER).await {
                return open;
            }
        }
        self.emit(&Event::SearchStarted);
        *self.eager_until.lock().unwrap_or_else(PoisonError::into_inner) = self.env.now() + EAGER_FOR;
        let (sender, mut findings) = mpsc::unbounded_channel();
        let mut probes = JoinSet::new();
        let mut probed: BTreeSet<HostKey> = BTreeSet::new();
        let mut start = |hosts: &[HostInfo], probes: &mut JoinSet<()>| {
            for host in hosts {
                if probed.insert(host.key.clone()) {
                    let probe = probe(Arc::clone(self), host.clone(), sender.clone());
                    probes.spawn(self.track(probe));
                }
            }
        };
        start(self.known().hosts(), &mut probes);
        // What the last attempt on each host failed with.
        let mut failed: BTreeMap<HostKey, crate::Error> = BTreeMap::new();
        loop {
            let finding = tokio::select! {
                biased;
                finding = findings.recv() => finding,
                // A probe ends only by finding the writer or by a panic; a panic must not end the search.
                Some(ended) = probes.join_next(), if !probes.is_empty() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        self.emit(&Event::TaskRestarted { task: "topology probe" });
                        self.env.sleep(RESTART_PAUSE).await;
                        std::panic::resume_unwind(Box::new("a topology probe panicked"));
                    }
                    continue;
                }
            };
            match finding {
                Some(Finding::Writer { connection, status, answers }) => {
                    // Without a topology only the configured endpoint is known, which is no instance.
                    let known = match self.topology() {
                        Some(_) => self.known(),
                        None => view(self, &connection).await.unwrap_or_else(|| self.known()),
                    };
                    let writer = self.identified(connection.host(), &status);
                    let writer = listed(&known, &status).unwrap_or(&writer);
                    self.publish_verified(known.with_writer(writer), answers);
                    return connection;
                }
                Some(Finding::Answered { host, view }) => {
                    failed.remove(&host.key);
                    let Some(topology) = view else { continue };
                    start(topology.hosts(), &mut probes);
                    let known = self.known();
                    let keys = |topology: &Topology| -> Vec<HostKey> {
                        topology.hosts().iter().map(|host| host.key.clone()).collect()
                    };
                    if self.topology().is_none() || keys(&known) != keys(&topology) {
                        self.publish_hint(topology);
                    }
                }
                Some(Finding::Failed { host, error }) => {
                    failed.insert(host.key.clone(), error.clone());
                    self.probe_failed(&host, error);
                    let refused = failed.values().find(|error| error.class() == ErrorClass::Login);
                    if let (Some(error), true) = (refused, probes.len() == failed.len()) {
                        // Nobody can answer, and asking again does not help: those who wait are told.
                        self.refused.send_replace(Some((*self.requests.borrow(), error.clone())));
                    }
                }
                None => pending().await,
            }
        }
    }

    fn probe_failed(&self, host: &HostInfo, error: crate::Error) {
        let first = self.failing.insert(host.key.clone(), error.kind()) != Some(error.kind());
        if first {
            self.emit(&Event::Decision {
                error: error.with_host(host.host()),
                action: "probe the host again",
            });
        }
    }

    /// The hosts that are known: of the topology, else the ones that were configured.
    pub(super) fn known(&self) -> Topology {
        match self.topology() {
            Some(published) if !published.topology.is_empty() => (*published.topology).clone(),
            _ => Topology::new(self.options.hosts.clone()),
        }
    }
}

/// The host of `topology` that is the one whose status this is.
fn listed<'t>(topology: &'t Topology, status: &HostStatus) -> Option<&'t HostInfo> {
    status.id.as_deref().and_then(|id| topology.find_id(id))
}

/// Marks the monitor as not running when its task ends, however it ends.
struct Running(Weak<ClusterCore>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(core) = self.0.upgrade() {
            *core.monitor_running.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }
}
