//! The cluster: owner of every task, of the topology, of the connection budget, and of what sessions share.
//!
//! What lives here: [`Cluster`], its topology monitor and probes, the registry of live connections, verified
//! connects. What may not: the connection of any one session; decisions that are a plugin's.

mod belief;
mod budget;
mod connect;
mod events;
mod monitor;
mod options;
mod probe;
mod publish;
mod registry;
mod tasks;

use std::any::{Any, TypeId};
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use dashmap::DashMap;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::driver::DriverDialect;
use crate::env::{Environment, watch};
use crate::error::{Error, ErrorKind};
use crate::host::HostKey;
use crate::observe::{FlightRecorder, Observer};
use crate::plugin::Chain;
use crate::topology::{HostListProvider, Published};

pub use budget::{Budget, MonitorConnection, MonitorPermit};
pub use options::ClusterOptions;
pub use registry::{Lease, Registry};

use belief::Claims;
use tasks::Tasks;

/// One cluster as this process knows it. Cheap to clone; when the last clone is dropped, every task that it started
/// is ended.
///
/// Sessions hold a clone, so a cluster lives as long as any of its clients.
#[derive(Clone)]
pub struct Cluster(Arc<Owner>);

struct Owner {
    core: Arc<ClusterCore>,
    ends_tasks: bool,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.ends_tasks {
            self.core.tasks.cancel();
        }
    }
}

/// What a cluster's tasks hold: everything of the cluster but the right to keep it alive.
pub struct ClusterCore {
    env: Environment,
    driver: Arc<dyn DriverDialect>,
    options: ClusterOptions,
    tasks: Tasks,
    topology: watch::Sender<Option<Published>>,
    requests: watch::Sender<u64>,
    /// The last request of a search that refused credentials have left without an answer.
    refused: watch::Sender<Option<(u64, Error)>>,
    waiters: AtomicUsize,
    monitor_running: Mutex<bool>,
    provider: OnceCell<Arc<dyn HostListProvider>>,
    writer_epoch: AtomicU64,
    registry: Registry,
    budget: Budget,
    observers: Vec<Arc<dyn Observer>>,
    recorder: FlightRecorder,
    callers_held: AtomicU64,
    shared: DashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    monitor_chain: OnceLock<Arc<Chain>>,
    warned: DashMap<String, ()>,
    failing: DashMap<HostKey, ErrorKind>,
    chains: Mutex<Vec<Weak<Chain>>>,
    eager_until: Mutex<Instant>,
    claims: Claims,
}

impl Cluster {
    /// A cluster that is reached by `driver`. Nothing is started before the first connect.
    pub fn new(
        driver: Arc<dyn DriverDialect>,
        env: Environment,
        options: ClusterOptions,
        observers: Vec<Arc<dyn Observer>>,
    ) -> Self {
        let budget = Budget::new(options.max_monitor_connections);
        let provider = match &options.provider {
            Some(provider) => OnceCell::new_with(Some(Arc::clone(provider))),
            None => OnceCell::new(),
        };
        let now = env.now();
        let core = ClusterCore {
            env,
            driver,
            options,
            tasks: Tasks::default(),
            topology: watch::Sender::new(None),
            requests: watch::Sender::new(0),
            refused: watch::Sender::new(None),
            waiters: AtomicUsize::new(0),
            monitor_running: Mutex::new(false),
            provider,
            writer_epoch: AtomicU64::new(1),
            registry: Registry::default(),
            budget,
            observers,
            recorder: FlightRecorder::default(),
            callers_held: AtomicU64::new(0),
            shared: DashMap::new(),
            monitor_chain: OnceLock::new(),
            warned: DashMap::new(),
            failing: DashMap::new(),
            chains: Mutex::new(Vec::new()),
            eager_until: Mutex::new(now),
            claims: Claims::default(),
        };
        Self(Arc::new(Owner { core: Arc::new(core), ends_tasks: true }))
    }

    /// A handle for use inside the cluster's own tasks: dropping it ends nothing.
    pub(crate) fn borrowed(core: &Arc<ClusterCore>) -> Self {
        Self(Arc::new(Owner { core: Arc::clone(core), ends_tasks: false }))
    }

    /// What tasks of this cluster hold.
    pub fn core(&self) -> &Arc<ClusterCore> {
        &self.0.core
    }

    /// The chain that monitors open their connections through; set once, when the first session's chain is built.
    pub fn set_monitor_chain(&self, chain: Arc<Chain>) {
        let _ = self.0.core.monitor_chain.set(chain);
    }
}

impl Deref for Cluster {
    type Target = ClusterCore;
    fn deref(&self) -> &ClusterCore {
        &self.0.core
    }
}

impl ClusterCore {
    /// Clock, DNS, randomness.
    pub fn env(&self) -> &Environment {
        &self.env
    }

    /// The driver.
    pub fn driver(&self) -> &Arc<dyn DriverDialect> {
        &self.driver
    }

    /// The cluster's options.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The host list provider, once a first connection has told which one it is.
    pub fn provider(&self) -> Option<&Arc<dyn HostListProvider>> {
        self.provider.get()
    }

    /// The registry of live connections.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The budget of monitoring connections.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The last switches.
    pub fn recorder(&self) -> &FlightRecorder {
        &self.recorder
    }

    /// Counts the changes of the writer, from 1.
    pub fn writer_epoch(&self) -> u64 {
        self.writer_epoch.load(Ordering::Acquire)
    }

    /// The value of type `T` that plugins of all sessions share, made on first use.
    ///
    /// It must not hold a [`Cluster`], which would keep itself alive; tasks and shared values hold a
    /// [`ClusterCore`] behind a `Weak` or take it per call.
    pub fn shared<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let entry = self.shared.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make()));
        let value: Arc<dyn Any + Send + Sync> = Arc::clone(entry.value());
        drop(entry);
        #[allow(clippy::expect_used, reason = "the key is the type's own id")]
        value.downcast::<T>().expect("the entry under T's TypeId is a T")
    }
}

impl fmt::Debug for ClusterCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("id", &self.options.id)
            .field("writer_epoch", &self.writer_epoch())
            .field("topology", &self.topology())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.core.fmt(f)
    }
}
