//! The catalogue of scenarios on real clusters of the MySQL family.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

#[path = "../common/mod.rs"]
mod common;
mod connectivity;
mod edges;
mod endings;
#[path = "../common/faults.rs"]
mod faults;
mod monitoring;
mod multi_az;
#[path = "../mysql_kit/mod.rs"]
mod mysql_kit;
mod readers;
mod session_state;
mod support;
mod transactions;
mod writer;
