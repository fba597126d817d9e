//! A pool of this crate's own, whose statements pass the plugins.
//!
//! What lives here: [`ClusterPool`], its connections and transactions, the step that chooses where calls go ([`Route`]),
//! one plain pool of sqlx and one breaker for each host. What may not: connections outside sqlx's pools (R17); what a
//! plugin does.
//!
//! A statement's way: the route names the kind of host; a connection comes out of that host's pool, through the plugins
//! that go around a connect; a session of core runs the statement on it through the chain; the connection goes back.

mod acquire;
mod backend;
mod breaker;
mod builder;
mod driver;
mod executor;
mod follow;
mod hosts;
mod inner;
mod leased;
mod operations;
mod plain;
mod pool;
mod route;
mod rows;
mod seen;
mod session;
mod transaction;

pub use backend::{Backend, Parts};
pub use builder::ClusterPoolBuilder;
pub use plain::PlainConnection;
pub use pool::{ClusterPool, HostPart};
pub use route::{Destination, Route, ToReaders, ToWriter};
pub use session::{ClusterConnection, ClusterSession};
pub use transaction::ClusterTransaction;
pub use wrapper_core::observe::BreakerState;

/// A pool for PostgreSQL whose statements pass the plugins.
#[cfg(feature = "postgres")]
pub type PgClusterPool = ClusterPool<sqlx::Postgres>;
/// A transaction of a [`PgClusterPool`].
#[cfg(feature = "postgres")]
pub type PgClusterTransaction = ClusterTransaction<sqlx::Postgres>;
/// A pool for MySQL and MariaDB whose statements pass the plugins.
#[cfg(feature = "mysql")]
pub type MySqlClusterPool = ClusterPool<sqlx::MySql>;
/// A transaction of a [`MySqlClusterPool`].
#[cfg(feature = "mysql")]
pub type MySqlClusterTransaction = ClusterTransaction<sqlx::MySql>;
