//! Clusters for tests: real local PostgreSQL clusters, a simulated one, and a fault proxy.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this crate drives real servers and real time")]

pub mod names;
