//! PostgreSQL over sqlx.
//!
//! What lives here: what only PostgreSQL does so, and the names of the driver ([`SqlxPgDriver`]) and of the pools that
//! follow a cluster ([`PoolBuilder`]). What may not: another database's types.

mod family;

use super::sqlx;

pub use super::pool::PoolSwitch;
pub use family::MONITOR_APPLICATION_NAME;

/// sqlx as a driver for PostgreSQL.
pub type SqlxPgDriver = super::driver::SqlxDriver<sqlx::Postgres>;
/// One open connection to a PostgreSQL server, made by sqlx.
pub type SqlxPgConnection = super::connection::SqlxConnection<sqlx::Postgres>;
/// Makes a plain `sqlx::PgPool` that follows a cluster.
pub type PoolBuilder = super::pool::PoolBuilder<sqlx::Postgres>;
/// Keeps a `sqlx::PgPool` following its cluster.
pub type PoolHandle = super::pool::PoolHandle<sqlx::Postgres>;
