//! The sqlx adapter of the AWS Advanced Rust Wrapper.
//!
//! An application keeps its `sqlx::PgPool` or `sqlx::MySqlPool` and its queries; one call makes the pool, and from then on the pool follows the
//! writer of its Amazon Aurora or RDS cluster: after a failover new connections lead to the new writer, older ones are not
//! handed out any more, and neither a crashed nor a silent host holds an acquire up. See [`pool::PoolBuilder`], by its names in [`postgres`]
//! and [`mysql`].
//!
//! ```no_run
//! # #[cfg(all(feature = "postgres", feature = "sqlx-0-9"))]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
//! use wrapper_sqlx::postgres::PoolBuilder;
//!
//! let options: PgConnectOptions =
//!     "postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop".parse()?;
//! // The pool for writes…
//! let (writes, handle) = PoolBuilder::new(PgPoolOptions::new().max_connections(20), options)
//!     .after_connect(|connection| {
//!         Box::pin(async move {
//!             sqlx::query("SET lock_timeout = '5s'").execute(connection).await?;
//!             Ok(())
//!         })
//!     })
//!     .connect()
//!     .await?;
//! // …and one for reads beside it, which shares the cluster's monitor.
//! let (reads, reads_handle) = handle.another(PgPoolOptions::new()).readers().connect().await?;
//!
//! let mut transaction = writes.begin().await?;
//! sqlx::query("INSERT INTO orders (item) VALUES ($1)").bind("tea").execute(&mut *transaction).await?;
//! transaction.commit().await?;
//! let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&reads).await?;
//! # drop((orders, reads_handle)); Ok(()) }
//! ```
//!
//! # Databases and versions of sqlx
//!
//! | feature | |
//! | --- | --- |
//! | `postgres` (default) | PostgreSQL: [`postgres`] |
//! | `mysql` | MySQL and MariaDB: [`mysql`] |
//! | `sqlx-0-9` (default) | for sqlx 0.9: the root of this crate |
//! | `sqlx-0-8` | for sqlx 0.8, from the same source: `v0_8` |
//!
//! Features add to one another; both versions can be in one build. TLS and its crypto provider are features named as
//! sqlx's own, and hold for both versions.
//!
//! With the features `iam` and `secrets-manager` both kinds of pool log in with IAM tokens or a secret that is rotated
//! (`PoolBuilder::plugin`); [`pool::PoolHandle::acquire`] says what sqlx's own connects leave open there.
//!
//! # What becomes of a call in a failover
//!
//! Statements on a plain pool do not go through the library: one that is in flight when its host is lost ends with sqlx's
//! error, at once when the host crashed, and with the application's own time limit when it is silent. The next acquire
//! waits for the new writer, at most `acquire_timeout`, and gives a connection to it.
//!
//! # What is not protected
//!
//! * `try_acquire` runs no hooks, so it may give an older connection between the monitor's answer that shows a new writer
//!   and the moment when the idle connections were thrown out ([`pool::PoolSwitch::took`]: 0.5 to 4 ms in
//!   unoptimised tests); nor does it notice a connection that has died since.
//! * A connection that is in use when its host loses the role stays in use; it is replaced when it comes back.
//! * The cluster's own hosts only: a pool with a `parent` pool is none that this crate can follow.
//! * What sqlx closes on its own account (`max_lifetime`, `idle_timeout`, `Pool::close`) it closes politely, and over TLS
//!   waits for the other side without a limit.
//! * sqlx's own connect that a stopping server ends in the middle of the login fails its acquire with `sqlx::Error::Io`;
//!   sqlx tries again only where it was refused. The next acquire waits for the new writer.
//! * sqlx's own connect, when it is refused, tells nobody: an empty pool learns of a failover from the monitor, at the
//!   latest after `topology_refresh` (1 s).
//!
//! A pool that protects these too, because its statements pass the plugins, is `cluster_pool::ClusterPool`, behind the feature
//! `cluster-pool`; it is a type of its own, for sqlx 0.9.
//!
//! What lives here: the driver and the pools. What may not: anything that another driver needs too.

#![allow(clippy::duplicate_mod, reason = "one source for two versions of sqlx; see `v0_8`")]

#[cfg(all(any(feature = "postgres", feature = "mysql"), any(feature = "sqlx-0-9", feature = "sqlx-0-8")))]
mod slot;
#[cfg(all(any(feature = "postgres", feature = "mysql"), feature = "sqlx-0-8"))]
pub mod v0_8;
#[cfg(all(any(feature = "postgres", feature = "mysql"), feature = "sqlx-0-9"))]
mod v0_9;

#[cfg(all(any(feature = "postgres", feature = "mysql"), feature = "sqlx-0-9"))]
pub use v0_9::*;
pub use wrapper_core as core;
pub use wrapper_core::{Error, ErrorKind, Result};
#[cfg(feature = "_plugins")]
pub use wrapper_plugins as plugins;
