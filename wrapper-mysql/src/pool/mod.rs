//! Pools of others over this library: a manager for deadpool and bb8.
//!
//! What lives here: how a pool opens a connection, and when it may hand it out again. What may not: a pool of our own; how
//! many, how long and in which order is the pool's (R17).

#[cfg(feature = "bb8")]
mod bb8;
#[cfg(feature = "deadpool")]
mod deadpool;
mod manager;

pub use manager::{Manager, Recycling};
