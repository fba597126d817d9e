//! The adapter for sqlx 0.8: as the crate's root, which is for sqlx 0.9, from the same source.
//!
//! ```no_run
//! # #[cfg(all(feature = "mysql", feature = "sqlx-0-8"))]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use wrapper_sqlx::v0_8::mysql::PoolBuilder;
//! use wrapper_sqlx::v0_8::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
//!
//! let options: MySqlConnectOptions =
//!     "mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop".parse()?;
//! let (pool, handle) = PoolBuilder::new(MySqlPoolOptions::new(), options).connect().await?;
//! # drop((pool, handle)); Ok(()) }
//! ```
//!
//! What lives here: the version, and what it says differently than others. What may not: code; it is the same for all
//! versions, and names sqlx by the `sqlx` of this module.

pub use ::sqlx08 as sqlx;

#[path = "connection.rs"]
mod connection;
#[path = "driver.rs"]
mod driver;
#[path = "error.rs"]
mod error;
#[path = "family.rs"]
mod family;
#[cfg(feature = "mysql")]
#[path = "mysql/mod.rs"]
pub mod mysql;
#[path = "pool/mod.rs"]
pub mod pool;
#[cfg(feature = "postgres")]
#[path = "postgres/mod.rs"]
pub mod postgres;
#[path = "text.rs"]
mod text;

pub use connection::SqlxConnection;
pub use driver::SqlxDriver;
pub use family::{Family, OptionsOf};

/// A text that this crate has written itself.
fn raw_sql(sql: &str) -> sqlx::RawSql<'_> {
    sqlx::raw_sql(sql)
}
