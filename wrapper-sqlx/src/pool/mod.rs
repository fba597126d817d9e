//! Plain pools of sqlx that follow a cluster.
//!
//! What lives here: [`PoolBuilder`] makes a `sqlx::Pool` and a [`PoolHandle`]; the task behind the handle and the
//! pool's hooks keep it on the right hosts. What may not: a pool of our own (R17); statements.

mod builder;
mod credentials;
mod follow;
mod handle;
mod hooks;
mod lent;
mod open;
mod readers;
mod searches;
mod shared;
mod user_hooks;

pub use builder::PoolBuilder;
pub use handle::{PoolHandle, PoolSwitch};
