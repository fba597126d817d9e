//! The handle of a pool that follows a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wrapper_core::cluster::Cluster;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::credentials::is_refused;
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;

use super::super::driver::SqlxDriver;
use super::super::error::{describe_error, into_sqlx};
use super::super::family::{Family, OptionsOf};
use super::super::sqlx;
use super::super::sqlx::pool::{PoolConnection, PoolOptions};
use super::builder::PoolBuilder;
use super::shared::Shared;

/// How many refused logins of one acquire lead to another: the first may have been replaced by one that is older than the
/// secret's present version.
const REFUSALS: u32 = 3;

/// Keeps a pool following its cluster: what works in the background ends when the handle is dropped.
///
/// Without it the pool is as sqlx's own: it goes on, its new connections lead to the last known host, and nobody tells
/// whether that is still the writer. Closing the pool ends the following too. While the handle is there it holds the
/// pool open: drop it, or close the pool, to end the connections.
#[must_use = "the pool follows its cluster only as long as the handle is kept"]
pub struct PoolHandle<DB: Family> {
    core: ConnectorCore,
    shared: Arc<Shared<DB>>,
    driver: SqlxDriver<DB>,
}

/// What the last switch of a pool did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolSwitch {
    /// The host that the pool leads to since.
    pub to: HostInfo,
    /// How many idle connections were thrown out.
    pub dropped: usize,
    /// From the monitor's first answer that showed the new writer to the end of the switch: for so long `try_acquire`,
    /// which runs no hooks, could still give an older connection.
    pub took: Duration,
}

impl<DB: Family> PoolHandle<DB> {
    pub(super) fn new(core: ConnectorCore, shared: Arc<Shared<DB>>, driver: SqlxDriver<DB>) -> Self {
        Self { core, shared, driver }
    }

    /// Starts another pool of the same cluster, which shares topology, monitor and connection budget with this one:
    /// with [`PoolBuilder::readers`] the reader pool beside the writer's. Settings and connect options are this
    /// pool's.
    pub fn another(&self, pool: PoolOptions<DB>) -> PoolBuilder<DB> {
        PoolBuilder::derived(self.core.clone(), self.driver.clone(), self.options(), pool)
    }

    fn options(&self) -> OptionsOf<DB> {
        let pool = self.shared.pool();
        pool.map_or_else(|| self.driver.options().clone(), |pool| (*pool.connect_options()).clone())
    }

    /// The cluster: topology, counts, reports.
    pub fn cluster(&self) -> &Cluster {
        self.core.cluster()
    }

    /// The effective settings and where each came from; secrets are masked.
    pub fn explain(&self) -> String {
        self.core.explain()
    }

    /// Whether the pool still follows the cluster; it does not any more when it was closed.
    pub fn is_following(&self) -> bool {
        self.shared.cluster().is_some()
    }

    /// What the last switch of this pool did; `None` before the first.
    pub fn last_switch(&self) -> Option<PoolSwitch> {
        self.shared.last_switch()
    }

    /// Takes a connection out of the pool, as `Pool::acquire`; should the server refuse the login of a new one, with a fresh
    /// credential, if there is one.
    ///
    /// sqlx connects by itself, with what is in the pool's options, and has no hook before that. The options are kept fresh
    /// ahead of time, but a credential that has lost its worth is noticed only: after a jump of the wall clock within a
    /// quarter of a second; after the rotation of a secret within ten seconds while connections of the pool are in use, or
    /// with the next connect that the library makes. In between `Pool::acquire` may fail with a refused login. This does
    /// not, nor does a `ClusterPool`.
    ///
    /// # Errors
    /// As `Pool::acquire`; [`PoolClosed`](sqlx::Error::PoolClosed) also when the pool is followed no longer.
    ///
    /// # Cancellation
    /// As `Pool::acquire`.
    pub async fn acquire(&self) -> sqlx::Result<PoolConnection<DB>> {
        let pool = self.shared.pool().ok_or(sqlx::Error::PoolClosed)?;
        let deadline = Deadline::after(self.shared.limits.acquire, "acquire_timeout");
        for _ in 0..REFUSALS {
            let shown = self.shared.shown();
            let error = match pool.acquire().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let told = describe_error::<DB>(&error);
            if !is_refused(&told)
                || !self.shared.login_refused(shown, &told, deadline).await.map_err(into_sqlx)?
            {
                return Err(error);
            }
        }
        pool.acquire().await
    }

    /// Changes the pool's connect options, such as the password, for connections from now on; host and port stay
    /// the library's. Unlike `Pool::set_connect_options` it cannot undo, or be undone by, a switch at the same moment.
    ///
    /// `None` when the pool is followed no longer; nothing is changed then.
    pub fn change_options(&self, change: impl FnOnce(OptionsOf<DB>) -> OptionsOf<DB>) -> Option<()> {
        self.shared.change_options(|_, options| {
            let (host, port) = (DB::host(&options).to_owned(), DB::port(&options));
            DB::lead(change(options), &host, port)
        })
    }

    /// Ends the following of all pools of this cluster, and returns when its tasks are gone. The pools stay open.
    ///
    /// # Cancellation
    /// Safe: the tasks end all the same.
    pub async fn shutdown(&self) {
        self.shared.end();
        self.core.shutdown().await;
    }
}

impl<DB: Family> Drop for PoolHandle<DB> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<DB: Family> fmt::Debug for PoolHandle<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolHandle")
            .field("cluster", self.core.cluster())
            .field("role", &self.shared.role())
            .field("following", &self.is_following())
            .finish_non_exhaustive()
    }
}
