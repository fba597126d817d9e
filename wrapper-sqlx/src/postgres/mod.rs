//! PostgreSQL over sqlx.
//!
//! What lives here: the driver ([`SqlxPgDriver`]) and the pools that follow a cluster ([`PoolBuilder`]). What may not:
//! another database's types.

mod connection;
mod driver;
pub(crate) mod error;
mod pool;
pub(crate) mod text;

pub use connection::SqlxPgConnection;
pub use driver::{MONITOR_APPLICATION_NAME, SqlxPgDriver};
pub(crate) use driver::{Reach, connect};
pub use pool::{PoolBuilder, PoolHandle, PoolSwitch};

/// A pool for PostgreSQL whose statements pass the plugins.
#[cfg(feature = "cluster-pool")]
pub type PgClusterPool = crate::cluster_pool::ClusterPool<sqlx::Postgres>;
/// A transaction of a [`PgClusterPool`].
#[cfg(feature = "cluster-pool")]
pub type PgClusterTransaction = crate::cluster_pool::ClusterTransaction<sqlx::Postgres>;
