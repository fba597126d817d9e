//! One plain pool of sqlx for each host that is used, and the way to a connection of it.
//!
//! What lives here: [`Hosts`], [`HostPool`], pings, releases. What may not: which host is chosen, plugins.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use sqlx::Pool;
use sqlx::pool::{PoolConnection, PoolOptions};
use tokio_util::sync::CancellationToken;
use wrapper_core::cluster::ClusterCore;
use wrapper_core::credentials::Credential;
use wrapper_core::driver::TransactionStatus;
use wrapper_core::env::{Deadline, Environment, Instant};
use wrapper_core::host::{HostInfo, HostKey};
use wrapper_core::observe::{BreakerState, Event};
use wrapper_core::topology::Topology;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

use super::super::driver::{SqlxDriver, log_in};
use super::super::error::{describe_error, map_connect_error};
use super::super::family::OptionsOf;
use super::backend::Backend;
use super::breaker::Breaker;
use super::leased::Leased;

/// How long an idle connection may take to answer before it is handed out.
const PING: Duration = Duration::from_millis(500);
/// For how long a credential that was replaced is not taken for a newer one.
const REPLACED: Duration = Duration::from_secs(5);
/// How many statements of former users may have failed on a connection that is given back.
const ABANDONED: u32 = 8;

/// The application's hook for new connections.
pub(super) type AfterConnect<DB> = dyn for<'c> Fn(
        &'c mut <DB as sqlx::Database>::Connection,
    ) -> futures_util::future::BoxFuture<'c, sqlx::Result<()>>
    + Send
    + Sync;

/// What the pools are made with.
pub(super) struct Recipe<DB: Backend> {
    pub(super) pool: PoolOptions<DB>,
    pub(super) driver: SqlxDriver<DB>,
    pub(super) after_connect: Option<Arc<AfterConnect<DB>>>,
    pub(super) env: Environment,
    /// How long what a former user left behind may take to end.
    pub(super) settle: Duration,
}

/// The pools.
pub(super) struct Hosts<DB: Backend> {
    recipe: Recipe<DB>,
    options: Mutex<OptionsOf<DB>>,
    pools: Mutex<BTreeMap<HostKey, Arc<HostPool<DB>>>>,
    /// Set once the cluster exists, which is made with a driver that holds this.
    cluster: OnceLock<Weak<ClusterCore>>,
    closed: CancellationToken,
}

/// What the connections of a pool log in with.
#[derive(Debug, Default)]
struct Login {
    now: Option<Credential>,
    before: Option<(Credential, Instant)>,
}

impl Login {
    /// Whether `credential` takes the place of the present one. A caller that was held up may still bring the one before.
    fn takes(&mut self, credential: &Credential, at: Instant) -> bool {
        if self.now.as_ref().is_some_and(|now| now.is_same_login(credential)) {
            return false;
        }
        if let Some((before, since)) = &self.before
            && before.is_same_login(credential)
            && at.saturating_duration_since(*since) < REPLACED
        {
            return false;
        }
        self.before = self.now.replace(credential.clone()).map(|before| (before, at));
        true
    }
}

/// The pool of one host.
pub(super) struct HostPool<DB: Backend> {
    key: HostKey,
    pool: Pool<DB>,
    breaker: Breaker,
    cluster: Weak<ClusterCore>,
    /// Counts the connections that were opened.
    opened: Arc<AtomicU64>,
    /// How many connections are out.
    out: AtomicUsize,
    /// The count of changes of the writer at which the host has last proved to be it.
    proved: AtomicU64,
    settle: Duration,
    login: Mutex<Login>,
}

impl<DB: Backend> Hosts<DB> {
    pub(super) fn new(recipe: Recipe<DB>, options: OptionsOf<DB>) -> Self {
        Self {
            recipe,
            options: Mutex::new(options),
            pools: Mutex::default(),
            cluster: OnceLock::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Names the cluster whose hosts these are; once.
    pub(super) fn belong_to(&self, cluster: &Arc<ClusterCore>) {
        // A fresh cell is empty.
        let _ = self.cluster.set(Arc::downgrade(cluster));
    }

    pub(super) fn cluster(&self) -> Option<Arc<ClusterCore>> {
        self.cluster.get().and_then(Weak::upgrade)
    }

    /// Ends with the pool.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<HostKey, Arc<HostPool<DB>>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool of `host` if there is one.
    pub(super) fn known(&self, host: &HostKey) -> Option<Arc<HostPool<DB>>> {
        self.pools().get(host).map(Arc::clone)
    }

    pub(super) fn all(&self) -> Vec<Arc<HostPool<DB>>> {
        self.pools().values().map(Arc::clone).collect()
    }

    /// The pool of `host`, made when there is none.
    ///
    /// # Errors
    /// The pool was closed.
    pub(super) fn of(&self, host: &HostInfo) -> Result<Arc<HostPool<DB>>> {
        let mut pools = self.pools();
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        if let Some(known) = pools.get(&host.key) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(self.make(host));
        pools.insert(host.key.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn make(&self, host: &HostInfo) -> HostPool<DB> {
        let Recipe { pool, driver, after_connect, env, settle } = &self.recipe;
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let opened = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&opened);
        let hook = after_connect.clone();
        // sqlx's own ping has no limit but that of the whole acquire.
        let pool = pool.clone().test_before_acquire(false).after_connect(move |connection, _| {
            counts.fetch_add(1, Ordering::AcqRel);
            match &hook {
                Some(hook) => hook(connection),
                None => Box::pin(std::future::ready(Ok(()))),
            }
        });
        let cluster = self.cluster.get().cloned().unwrap_or_default();
        let (told, key) = (Weak::clone(&cluster), host.key.clone());
        HostPool {
            key: host.key.clone(),
            pool: pool.connect_lazy_with(driver.reached().options(host, options)),
            breaker: Breaker::new(env.clone(), move |state| {
                if let Some(cluster) = told.upgrade() {
                    cluster.emit(&Event::Breaker { host: key.clone(), state });
                }
            }),
            cluster,
            opened,
            out: AtomicUsize::new(0),
            proved: AtomicU64::new(0),
            settle: *settle,
            login: Mutex::default(),
        }
    }

    /// Changes the options of connections from now on.
    pub(super) fn change_options(&self, change: impl FnOnce(OptionsOf<DB>) -> OptionsOf<DB>) {
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        *options = change(options.clone());
        for home in self.all() {
            let host = HostInfo::new(home.key.host(), home.key.port(), wrapper_core::host::HostRole::Unknown);
            let options = self.recipe.driver.reached().options(&host, options.clone());
            let login = home.login.lock().unwrap_or_else(PoisonError::into_inner);
            home.pool.set_connect_options(match &login.now {
                Some(credential) => DB::log_in(options, credential),
                None => options,
            });
        }
    }

    /// New connections of a host's pool log in with this credential.
    fn log_in(&self, home: &HostPool<DB>, host: &HostInfo, credential: &Credential) -> Result<()> {
        // Held over the change, so that it is made on what the last one left.
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        let mut login = home.login.lock().unwrap_or_else(PoisonError::into_inner);
        if login.takes(credential, self.recipe.env.now()) {
            let reached = self.recipe.driver.reached().options(host, options.clone());
            match log_in::<DB>(reached, host, credential) {
                Ok(options) => home.pool.set_connect_options(options),
                Err(error) => {
                    *login = Login::default();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Lets go of the pools of hosts that are no longer in the cluster.
    pub(super) fn keep_only(&self, topology: &Topology) {
        let gone: Vec<Arc<HostPool<DB>>> = {
            let mut pools = self.pools();
            let (kept, gone) = std::mem::take(&mut *pools)
                .into_iter()
                .partition(|(key, _): &(HostKey, _)| topology.find(key).is_some());
            *pools = kept;
            let gone: BTreeMap<_, _> = gone;
            gone.into_values().collect()
        };
        for home in gone {
            home.drain();
        }
    }

    /// Opens, or takes from the pool of `host`, one connection that answers. One that is opened logs in with `credential`,
    /// where there is one.
    ///
    /// # Errors
    /// The host's breaker is open; the connect's; a wait that reached `deadline`; the pool was closed.
    ///
    /// # Cancellation
    /// Safe: a connection goes back, one that was being opened is closed.
    pub(super) async fn lease(
        &self,
        host: &HostInfo,
        credential: Option<&Credential>,
        deadline: Deadline,
    ) -> Result<Leased<DB>> {
        let home = self.of(host)?;
        if let Some(credential) = credential {
            self.log_in(&home, host, credential)?;
        }
        let leased = async {
            let Some(admission) = home.breaker.admit(self.last_seen(host)) else {
                return Err(home.refused());
            };
            let leased = home.lease(self.recipe.pool.get_test_before_acquire(), deadline).await;
            match &leased {
                Ok(_) => admission.succeeded(),
                Err(error) if error.class() == ErrorClass::Network => admission.failed(),
                Err(_) => drop(admission),
            }
            leased
        };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(closed()),
            leased = leased => leased,
        }
    }

    /// When the monitor has last seen `host` answer: it asks the writer only.
    fn last_seen(&self, host: &HostInfo) -> Option<Instant> {
        let published = self.cluster()?.topology().filter(|published| published.verified)?;
        published.topology.writer().is_some_and(|writer| writer.key == host.key).then_some(published.at)
    }
}

impl<DB: Backend> HostPool<DB> {
    pub(super) fn key(&self) -> &HostKey {
        &self.key
    }

    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    pub(super) fn breaker_state(&self) -> BreakerState {
        self.breaker.current()
    }

    /// Whether a connection may be asked of it now.
    pub(super) fn may_be_asked(&self) -> bool {
        self.breaker.would_admit()
    }

    /// A connection to it was lost.
    pub(super) fn note_lost(&self) {
        self.breaker.note_lost();
    }

    /// A connect to it was given up.
    pub(super) fn note_stuck(&self) {
        self.breaker.note_stuck();
    }

    /// Whether every connection that it may have is out: then a wait says nothing of the host.
    pub(super) fn is_exhausted(&self) -> bool {
        self.out.load(Ordering::Acquire) >= self.pool.options().get_max_connections() as usize
    }

    pub(super) fn note_out(&self) {
        self.out.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn note_back(&self) {
        self.out.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether the host has proved to be the writer at this count of changes of it.
    pub(super) fn is_proved(&self, epoch: u64) -> bool {
        self.proved.load(Ordering::Acquire) == epoch
    }

    pub(super) fn note_proved(&self, epoch: u64) {
        self.proved.store(epoch, Ordering::Release);
    }

    fn refused(&self) -> Error {
        Error::new(
            ErrorKind::Network,
            format!("{} has failed repeatedly; the next trial is a moment away", self.key),
        )
        .with_outcome(TransactionOutcome::NotSent)
        .with_host(self.key.host())
    }

    async fn lease(self: &Arc<Self>, ping: bool, deadline: Deadline) -> Result<Leased<DB>> {
        loop {
            let before = self.opened.load(Ordering::Acquire);
            let acquire = async { self.pool.acquire().await.map_err(acquire_error::<DB>) };
            let connection = deadline.run("acquiring a connection of the pool", acquire).await;
            let connection = connection.map_err(|error| error.with_host(self.key.host()))?;
            let is_new = self.opened.load(Ordering::Acquire) != before;
            let mut fresh = Unsettled(Some(connection));
            if !ping || fresh.answers(deadline.cap(PING, "the limit of a ping")).await {
                return fresh
                    .0
                    .take()
                    .map(|connection| Leased::new(connection, self, is_new))
                    .ok_or_else(closed);
            }
            drop(fresh);
            // What has died together is not asked one by one.
            self.drain();
            if deadline.is_over() {
                return Err(deadline
                    .error("acquiring a connection of the pool")
                    .with_class(ErrorClass::Network));
            }
        }
    }

    /// An idle connection, without a question to the host.
    pub(super) fn try_lease(self: &Arc<Self>) -> Option<Leased<DB>> {
        self.pool.try_acquire().map(|connection| Leased::new(connection, self, false))
    }

    /// Throws the idle connections out, without a word to the other side, which may be silent.
    pub(super) fn drain(&self) -> usize {
        let mut dropped = 0;
        for _ in 0..self.pool.size() {
            let Some(connection) = self.pool.try_acquire() else { break };
            drop(connection.detach());
            dropped += 1;
        }
        dropped
    }

    /// A clean connection goes back.
    pub(super) fn give_back(&self, connection: PoolConnection<DB>) {
        if tokio::runtime::Handle::try_current().is_ok() {
            // sqlx starts a task for it.
            drop(connection);
        } else {
            drop(connection.detach());
        }
    }

    /// A connection goes back when what its user has left behind is over: an abandoned statement, an open transaction.
    pub(super) fn settle(&self, connection: PoolConnection<DB>) {
        let mut unsettled = Unsettled(Some(connection));
        let Some(cluster) = self.cluster.upgrade().filter(|_| !self.pool.is_closed()) else { return };
        let deadline = Deadline::after(self.settle, "auxiliary_query_timeout");
        cluster.spawn("settling a connection", async move {
            let settled = deadline.run("settling a connection", async { Ok(unsettled.settle().await) }).await;
            if settled.is_ok_and(|settled| settled) {
                drop(unsettled.0.take());
            }
        });
    }
}

/// A connection that must not go back as it is: dropped, it is closed without a word.
struct Unsettled<DB: Backend>(Option<PoolConnection<DB>>);

impl<DB: Backend> Unsettled<DB> {
    async fn answers(&mut self, deadline: Deadline) -> bool {
        let Some(connection) = &mut self.0 else { return false };
        let ping = async { DB::probe(connection).await.map_err(|error| describe_error::<DB>(&error)) };
        deadline.run("a ping", ping).await.is_ok()
    }

    /// Whether the connection is as good as new.
    async fn settle(&mut self) -> bool {
        let Some(connection) = &mut self.0 else { return false };
        for _ in 0..ABANDONED {
            match DB::settle(connection).await {
                // A transaction that has failed is not seen by that.
                Ok(()) if DB::transaction_status(connection).await == TransactionStatus::Idle => return true,
                Ok(()) if DB::ask(connection, "ROLLBACK".to_owned()).await.is_err() => return false,
                Ok(()) | Err(sqlx::Error::Database(_)) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

impl<DB: Backend> Drop for Unsettled<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

fn acquire_error<DB: Backend>(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolClosed => closed(),
        sqlx::Error::PoolTimedOut => Error::new(
            ErrorKind::Timeout,
            "no connection was free, or could be made, within the `acquire_timeout` of the pool options",
        )
        .with_outcome(TransactionOutcome::NotSent)
        .with_source(sqlx::Error::PoolTimedOut),
        error => map_connect_error::<DB>(error, false),
    }
}

/// The text of [`closed`].
pub(super) const CLOSED: &str = "the pool was closed";

/// The pool was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, CLOSED).with_outcome(TransactionOutcome::NotSent)
}

impl<DB: Backend> fmt::Debug for Hosts<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they print their password.
        f.debug_map().entries(self.all().iter().map(|home| (home.key.to_string(), home))).finish()
    }
}

impl<DB: Backend> fmt::Debug for HostPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostPool")
            .field("host", &self.key)
            .field("size", &self.pool.size())
            .field("out", &self.out)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
