//! The pool as its users see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::pool::PoolOptions;
use wrapper_core::cluster::Cluster;
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Deadline;
use wrapper_core::host::HostKey;
use wrapper_core::observe::{BreakerState, SwitchReport};
use wrapper_core::plugin::{Call, Connected};

use super::super::family::OptionsOf;
use super::backend::Backend;
use super::builder::ClusterPoolBuilder;
use super::executor::not_opened;
use super::inner::Inner;
use super::session::ClusterConnection;
use super::transaction::ClusterTransaction;

/// How long connections that are in use when the pool is closed may take to come back.
const CLOSING: Duration = Duration::from_secs(5);

/// A pool for one cluster whose statements pass the plugins. Cheap to clone; when the last clone, connection and
/// transaction is dropped, every task that it started is ended.
///
/// `&pool` is an `Executor` and an `Acquire` of sqlx with the database's own types, so `sqlx::query(…).execute(&pool)`,
/// streams, macros and generic code compile as with sqlx's pool. Underneath is one plain pool of sqlx for each host that
/// is used, each as large as the pool options say; which kind of host a call goes to is the pool's
/// [`Route`](super::Route), by default the writer.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
/// use wrapper_sqlx::{Error, cluster_pool::PgClusterPool};
///
/// let options: PgConnectOptions =
///     "postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop".parse()?;
/// let pool = PgClusterPool::builder(PgPoolOptions::new().max_connections(20), options).connect().await?;
///
/// let mut transaction = pool.begin().await?;
/// sqlx::query("INSERT INTO orders (item) VALUES ($1)").bind("tea").execute(&mut *transaction).await?;
/// match transaction.commit().await {
///     Ok(()) => {}
///     Err(error) => match Error::from_driver(&error) {
///         // Lost on the way, but for certain not committed: run it again.
///         Some(ours) if ours.outcome().is_not_applied() => {}
///         _ => return Err(error.into()),
///     },
/// }
/// # Ok(()) }
/// ```
///
/// # Errors of statements
///
/// What the server answers comes as sqlx's own error, unchanged. What the library has done something about comes inside a
/// `sqlx::Error::Io`, from which [`Error::from_driver`](crate::Error::from_driver) gets it back: the kind *failover
/// succeeded* or *transaction state unknown*, with the outcome.
pub struct ClusterPool<DB: Backend> {
    pub(super) inner: Arc<Inner<DB>>,
}

/// One host's part of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostPart {
    /// The host.
    pub host: HostKey,
    /// How many connections are open.
    pub size: u32,
    /// How many of them are idle.
    pub idle: usize,
    /// The state of its breaker.
    pub breaker: BreakerState,
}

impl<DB: Backend> ClusterPool<DB> {
    /// Starts from sqlx's own options; the host of `options` is the cluster endpoint, or any instance of the cluster.
    pub fn builder(pool: PoolOptions<DB>, options: OptionsOf<DB>) -> ClusterPoolBuilder<DB> {
        ClusterPoolBuilder::new(pool, options)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// As for any statement; when the connection was lost, nothing was begun: call again.
    ///
    /// # Cancellation
    /// Leaves no transaction open.
    pub async fn begin(&self) -> sqlx::Result<ClusterTransaction<DB>> {
        let connection = self.inner.open(&Call::new("begin").sql("BEGIN")).await.map_err(not_opened::<DB>)?;
        ClusterTransaction::begin(connection).await
    }

    /// A connection for the caller alone. It waits for a writer, and for a free place, at most `acquire_timeout`.
    ///
    /// # Errors
    /// Inside sqlx's: what the last attempt failed with; `sqlx::Error::PoolClosed`.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn acquire(&self) -> sqlx::Result<ClusterConnection<DB>> {
        self.inner.open(&Call::new("acquire")).await.map(Into::into).map_err(not_opened::<DB>)
    }

    /// An idle connection to the writer, without waiting and without a question to the server; `None` when there is none,
    /// or when no writer is known.
    pub fn try_acquire(&self) -> Option<ClusterConnection<DB>> {
        let cluster = self.inner.core.cluster();
        let epoch = cluster.writer_epoch();
        let published = cluster.topology().filter(|published| published.verified)?;
        let writer = published.topology.writer()?;
        let leased = self.inner.hosts.known(&writer.key)?.try_lease()?;
        // Looked at again: the writer may have changed before the connection was taken.
        if !self.inner.is_writer(&writer.key) || self.inner.hosts.closed().is_cancelled() {
            return None;
        }
        let connection: Arc<dyn DriverConnection> = Arc::new(leased);
        self.inner.session(Connected::new(connection, writer.clone(), epoch)).map(Into::into).ok()
    }

    /// The cluster: topology, counts.
    pub fn cluster(&self) -> &Cluster {
        self.inner.core.cluster()
    }

    /// The effective settings and where each came from, and the plugins in their order; secrets are masked.
    pub fn explain(&self) -> String {
        self.inner.core.explain()
    }

    /// The reports of the last switches, oldest first.
    pub fn reports(&self) -> Vec<Arc<SwitchReport>> {
        self.cluster().recorder().reports()
    }

    /// The hosts that were used so far, by name.
    pub fn hosts(&self) -> Vec<HostPart> {
        let parts = self.inner.hosts.all().into_iter().map(|home| HostPart {
            host: home.key().clone(),
            size: home.pool().size(),
            idle: home.pool().num_idle(),
            breaker: home.breaker_state(),
        });
        parts.collect()
    }

    /// How many connections are open, on all hosts.
    pub fn size(&self) -> u32 {
        self.inner.hosts.all().iter().map(|home| home.pool().size()).sum()
    }

    /// How many of them are idle.
    pub fn num_idle(&self) -> usize {
        self.inner.hosts.all().iter().map(|home| home.pool().num_idle()).sum()
    }

    /// Changes the connect options, such as the password, for connections from now on; host and port stay the library's.
    pub fn change_options(&self, change: impl FnOnce(OptionsOf<DB>) -> OptionsOf<DB>) {
        self.inner.hosts.change_options(change);
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.inner.hosts.closed().is_cancelled()
    }

    /// Closes the pool, for all clones. Calls that wait for a connection, and those that wait for a failover, end at once;
    /// statements in flight have 5 s, then their connections are left to their users. Returns when the pool's tasks are
    /// gone.
    ///
    /// # Cancellation
    /// The pool is closed all the same; its tasks end with the last clone.
    pub async fn close(&self) {
        let hosts = &self.inner.hosts;
        hosts.closed().cancel();
        let homes = hosts.all();
        // Marks each as closed before the first is waited for. What is idle is dropped: a polite close may wait for ever.
        let closing: Vec<_> = homes
            .iter()
            .map(|home| {
                home.drain();
                home.pool().close()
            })
            .collect();
        let limit = Deadline::after(CLOSING, "the limit of a close");
        let closed = async {
            join_all(closing).await;
            Ok(())
        };
        // What is late is its user's.
        let _ = limit.run("closing the pool", closed).await;
        self.inner.core.shutdown().await;
    }
}

impl<DB: Backend> Clone for ClusterPool<DB> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<DB: Backend> fmt::Debug for ClusterPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterPool").field("inner", &self.inner).finish()
    }
}
