//! MySQL and MariaDB over sqlx.
//!
//! What lives here: what only MySQL does so, and the names of the driver ([`SqlxMySqlDriver`]) and of the pools that
//! follow a cluster ([`PoolBuilder`]). What may not: another database's types.
//!
//! # What sqlx does not do for MySQL
//!
//! * It repeats a connect that is refused, but not one that the server answers with an error: a server that has no place
//!   left (1040), or is shutting down (1053), fails the acquire that meets it with `sqlx::Error::Database`. The next
//!   acquire begins anew; connections that the library opens in the place of others are repeated.
//! * It sends no connection attributes: the library's own connections do not show up under a name of their own.
//! * Without TLS it logs in by `caching_sha2_password` only with its feature `mysql-rsa`.

mod family;

use super::sqlx;

pub use super::pool::PoolSwitch;

/// sqlx as a driver for MySQL and MariaDB.
pub type SqlxMySqlDriver = super::driver::SqlxDriver<sqlx::MySql>;
/// One open connection to a MySQL or MariaDB server, made by sqlx.
pub type SqlxMySqlConnection = super::connection::SqlxConnection<sqlx::MySql>;
/// Makes a plain `sqlx::MySqlPool` that follows a cluster.
pub type PoolBuilder = super::pool::PoolBuilder<sqlx::MySql>;
/// Keeps a `sqlx::MySqlPool` following its cluster.
pub type PoolHandle = super::pool::PoolHandle<sqlx::MySql>;
