//! What the hooks of a pool, its follower and its handle share.
//!
//! What lives here: [`Shared`]: who the pool is for, when it was last switched, whether it is followed. What may not:
//! questions to a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wrapper_core::cluster::ClusterCore;
use wrapper_core::env::{Environment, Instant};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::topology::{HostStatus, Topology};

use super::super::driver::{Reach, log_in};
use super::super::family::{Family, OptionsOf};
use super::super::sqlx::Pool;
use super::credentials::Credentials;
use super::handle::PoolSwitch;
use super::readers::Readers;
use super::user_hooks::UserHooks;

/// How much younger than the switch a connection may be and is asked all the same who is behind it: one that had just
/// proved its role when the switch came gets its age from sqlx a moment later.
const OVERLAP: Duration = Duration::from_millis(5);

/// How many connections are opened first when all of a pool are to be replaced at once: so many logins at a time keep a
/// small host busy, and with twenty at a time the first is done when the last is.
const FIRST: usize = 2;

/// The state of a pool that follows a cluster.
#[derive(Debug)]
pub(super) struct Shared<DB: Family> {
    /// Whether hosts of the pool are readers.
    pub(super) readers: Option<Readers>,
    /// Weak: the pool holds this, and the application holds the pool longer than the handle.
    pub(super) cluster: Weak<ClusterCore>,
    pub(super) env: Environment,
    pub(super) reach: Reach<DB>,
    /// What its connections log in with, where that is not in the application's options.
    pub(super) credentials: Option<Credentials>,
    pub(super) hooks: UserHooks<DB>,
    pub(super) limits: Limits,
    /// Whether an idle connection is pinged before it is handed out.
    pub(super) ping: bool,
    /// The pool, while it is followed. The pool holds this in its hooks: the circle is open when this is empty.
    pool: Mutex<Option<Pool<DB>>>,
    /// The host that new connections of the pool lead to. Changed under the lock of `pool`.
    led: Mutex<Option<HostInfo>>,
    /// No longer followed: the handle is gone, or the pool was closed, or the cluster was shut down.
    pub(super) ended: CancellationToken,
    switch: Mutex<Switch>,
    last: Mutex<Option<PoolSwitch>>,
    /// The connections that are opened first after a switch.
    pub(super) first: Semaphore,
    /// Whether a connection of the pool was ever replaced in its place: only then its age may be too high.
    replaced: AtomicBool,
    /// While new connections are led to a reader: the host that they are led to when nobody follows the cluster any more.
    parked: Mutex<Option<HostInfo>>,
    /// The following ended at such a time: connects to a reader may be under way.
    pub(super) left_parked: AtomicBool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// One connect.
    pub(super) connect: Duration,
    /// One question of the library.
    pub(super) query: Duration,
    /// A replacement while somebody waits for the connection: as long as sqlx lets an acquire wait.
    pub(super) acquire: Duration,
    /// A replacement while nobody waits.
    pub(super) release: Duration,
}

/// The last switch of the pool.
#[derive(Clone, Copy, Debug, Default)]
struct Switch {
    at: Option<Instant>,
    /// The cluster's count of changes of the writer that the pool has followed.
    epoch: u64,
}

/// What the age of a connection says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Opened since the last switch.
    Fresh,
    /// It may have been opened before the last switch; who is behind it must be asked.
    Suspect,
    /// Opened before the last switch.
    Old,
}

impl<DB: Family> Shared<DB> {
    pub(super) fn new(
        readers: Option<Readers>,
        cluster: &Arc<ClusterCore>,
        reach: Reach<DB>,
        credentials: Option<Credentials>,
        hooks: UserHooks<DB>,
        limits: Limits,
        ping: bool,
    ) -> Self {
        Self {
            readers,
            cluster: Arc::downgrade(cluster),
            env: cluster.env().clone(),
            reach,
            credentials,
            hooks,
            limits,
            ping,
            pool: Mutex::new(None),
            led: Mutex::new(None),
            ended: CancellationToken::new(),
            switch: Mutex::new(Switch { at: None, epoch: cluster.writer_epoch() }),
            last: Mutex::default(),
            first: Semaphore::new(FIRST),
            replaced: AtomicBool::new(false),
            parked: Mutex::default(),
            left_parked: AtomicBool::new(false),
        }
    }

    /// The role that the pool's connections must have.
    pub(super) fn role(&self) -> HostRole {
        if self.readers.is_some() { HostRole::Reader } else { HostRole::Writer }
    }

    /// The cluster, while the pool is followed.
    pub(super) fn cluster(&self) -> Option<Arc<ClusterCore>> {
        if self.ended.is_cancelled() {
            return None;
        }
        self.cluster.upgrade()
    }

    fn pool_slot(&self) -> MutexGuard<'_, Option<Pool<DB>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool, while it is followed.
    pub(super) fn pool(&self) -> Option<Pool<DB>> {
        self.pool_slot().clone()
    }

    pub(super) fn attach(&self, pool: Pool<DB>, leads_to: HostInfo) {
        *self.pool_slot() = Some(pool);
        *self.led() = Some(leads_to);
    }

    fn led(&self) -> MutexGuard<'_, Option<HostInfo>> {
        self.led.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host that new connections of the pool lead to.
    pub(super) fn leads_to(&self) -> Option<HostInfo> {
        self.led().clone()
    }

    /// The pool is followed no longer; waits of its hooks end.
    pub(super) fn end(&self) {
        self.ended.cancel();
        if let Some(home) = self.parked.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.left_parked.store(true, Ordering::Release);
            self.lead_to(&home);
        }
        let pool = self.pool_slot().take();
        drop(pool);
    }

    /// The pool's options as they are now, for a connect to `host`; `None` when the pool is followed no longer.
    pub(super) fn options_for(&self, host: &HostInfo) -> Option<OptionsOf<DB>> {
        let pool = self.pool()?;
        Some(self.reach.options(host, (*pool.connect_options()).clone()))
    }

    /// Changes the pool's options, which lead to the host that is given with them; two changes made here do not undo each
    /// other.
    pub(super) fn change_options(
        &self,
        change: impl FnOnce(Option<&HostInfo>, OptionsOf<DB>) -> OptionsOf<DB>,
    ) -> Option<()> {
        // Held over the change, so that it is made on what the last one left.
        let pool = self.pool_slot();
        let pool = pool.as_ref()?;
        let led = self.leads_to();
        pool.set_connect_options(change(led.as_ref(), (*pool.connect_options()).clone()));
        Some(())
    }

    /// New connections of the pool lead to `host`, and log in with what is known for it.
    pub(super) fn lead_to(&self, host: &HostInfo) {
        let _ = self.change_options(|_, options| {
            *self.led() = Some(host.clone());
            let options = self.reach.options(host, options);
            match self.credentials.as_ref().and_then(|credentials| credentials.now(&host.key)) {
                // Not over a connection that may be without TLS.
                Some(credential) => log_in::<DB>(options.clone(), host, &credential).unwrap_or(options),
                None => options,
            }
        });
    }

    /// New connections of a writer pool lead to a reader for the time being; `home` is the last known writer.
    pub(super) fn park(&self, reader: &HostInfo, home: Option<&HostInfo>) {
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = home.cloned();
        self.lead_to(reader);
    }

    /// New connections of a writer pool lead to the writer.
    pub(super) fn lead_home(&self, writer: &HostInfo) {
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.lead_to(writer);
    }

    /// From now on every connection that is older than this moment is refused.
    pub(super) fn mark_switch(&self, epoch: u64) {
        let mut switch = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        *switch = Switch { at: Some(self.env.now()), epoch };
    }

    /// The count of changes of the writer that the pool has followed.
    pub(super) fn epoch(&self) -> u64 {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }

    pub(super) fn note_switch(&self, to: HostInfo, dropped: usize, took: Duration) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(PoolSwitch { to, dropped, took });
    }

    /// What the last switch did.
    pub(super) fn last_switch(&self) -> Option<PoolSwitch> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// What a connection of this age is.
    pub(super) fn age(&self, cluster: &ClusterCore, age: Duration) -> Age {
        let switch = *self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        if cluster.writer_epoch() != switch.epoch {
            // A change that the follower has not come to yet.
            return Age::Suspect;
        }
        let Some(at) = switch.at else { return Age::Fresh };
        let since = self.env.now().saturating_duration_since(at);
        if age + OVERLAP < since {
            return Age::Fresh;
        }
        if age < since || self.replaced.load(Ordering::Acquire) || self.readers.is_some() {
            return Age::Suspect;
        }
        Age::Old
    }

    /// Whether a host that says this of itself may be behind a connection of the pool.
    pub(super) fn fits(&self, topology: &Topology, status: &HostStatus) -> bool {
        match &self.readers {
            Some(readers) => !status.accepts_writes || readers.may_use_writer(topology),
            None => {
                let writer = topology.writer().and_then(|writer| writer.id.as_ref());
                // A host that has lost the role may still accept writes: the monitor knows who has it.
                status.accepts_writes
                    && match (&status.id, writer) {
                        (Some(id), Some(writer)) => id == writer,
                        _ => true,
                    }
            }
        }
    }
}
