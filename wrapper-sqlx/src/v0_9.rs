//! The adapter for sqlx 0.9: what the crate shows at its root.
//!
//! What lives here: the version, and what it says differently than others. What may not: code; it is the same for all
//! versions, and names sqlx by the `sqlx` of this module.

pub use ::sqlx;

#[cfg(feature = "cluster-pool")]
#[path = "cluster_pool/mod.rs"]
pub mod cluster_pool;
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
fn raw_sql(sql: &str) -> sqlx::RawSql {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
}
