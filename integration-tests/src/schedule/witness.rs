//! Two witnesses: a plugin inside every chain, and an observer of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use wrapper_core::observe::{Event, Observer};
use wrapper_core::plugin::{
    BuildContext, CallContext, ConnectionChange, MethodSet, OrderClass, Plugin, PluginFactory, Recovery,
};
use wrapper_core::testkit::ScriptedCluster;
use wrapper_core::{Error, Result};

use super::book::Book;
use super::invariant::Invariant;

/// Builds a witness for each session: it sees which generation a call failed on, before anybody else does.
#[derive(Clone, Debug)]
pub(super) struct WitnessFactory {
    pub(super) book: Arc<Book>,
    pub(super) built: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Witness {
    session: u64,
    book: Arc<Book>,
    failed: Mutex<BTreeSet<u64>>,
    reached: AtomicU64,
}

impl PluginFactory for WitnessFactory {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        let session = self.built.fetch_add(1, Ordering::Relaxed);
        let book = Arc::clone(&self.book);
        Ok(Arc::new(Witness { session, book, failed: Mutex::default(), reached: AtomicU64::new(1) }))
    }
}

#[async_trait]
impl Plugin for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Connection
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::RECOVER | MethodSet::NOTIFY
    }

    async fn recover(&self, cx: &mut CallContext<'_>, error: Error) -> Recovery {
        lock(&self.failed).insert(cx.generation());
        Recovery::Fail(error)
    }

    fn on_connection(&self, change: &ConnectionChange) {
        self.book.pages().switches += 1;
        let left = change.generation - 1;
        if self.reached.swap(change.generation, Ordering::Relaxed) != left {
            self.book.broken(
                Invariant::OneFailover,
                format!("session {} reached generation {} twice", self.session, change.generation),
            );
        }
        if !lock(&self.failed).contains(&left) {
            self.book.broken(
                Invariant::OneFailover,
                format!("session {} left generation {left}, on which no call had failed", self.session),
            );
        }
    }
}

/// What the library has published.
#[derive(Debug)]
pub(super) struct Published {
    cluster: ScriptedCluster,
    book: Arc<Book>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    searching: bool,
    /// When each host was last known to lose the writer's role, in the order of everything that happened.
    demoted: BTreeMap<String, Vec<u64>>,
    silent: Vec<String>,
}

impl Published {
    pub(super) fn new(cluster: &ScriptedCluster, book: &Arc<Book>) -> Self {
        Self { cluster: cluster.clone(), book: Arc::clone(book), seen: Mutex::default() }
    }

    /// Whether `host` was published as demoted after `opened` and before `sent`.
    pub(super) fn demoted_between(&self, host: &str, opened: u64, sent: u64) -> bool {
        let seen = lock(&self.seen);
        seen.demoted.get(host).is_some_and(|at| at.iter().any(|at| opened < *at && *at < sent))
    }

    /// The hosts that were called silent.
    pub(super) fn silent(&self) -> Vec<String> {
        lock(&self.seen).silent.clone()
    }
}

impl Observer for Published {
    fn on_event(&self, event: &Event) {
        let mut seen = lock(&self.seen);
        match event {
            Event::SearchStarted if std::mem::replace(&mut seen.searching, true) => {
                self.book.broken(Invariant::OneFailover, "a second search began before the first had ended");
            }
            Event::Topology(published) if published.verified => seen.searching = false,
            Event::WriterChanged { from: Some(from), .. } => {
                let at = self.cluster.stamp();
                seen.demoted.entry(from.host().to_owned()).or_default().push(at);
            }
            Event::HostSilent { host, .. } => seen.silent.push(host.host().to_owned()),
            Event::TaskRestarted { task } => {
                self.book.broken(Invariant::NothingLeft, format!("the task `{task}` panicked"));
            }
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
