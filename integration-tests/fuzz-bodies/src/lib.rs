//! The bodies of the fuzz targets: each takes bytes and panics when something that must hold does not.
//!
//! What lives here: what must hold. What may not: the drivers; `fuzz/fuzz_targets` has libFuzzer's, `tests` the one of
//! proptest.
#![allow(clippy::expect_used, reason = "a panic is how a body says that something does not hold")]

mod host_name;
mod settings;
mod topology_rows;

pub use host_name::host_name;
pub use settings::{PASSWORD, settings, without_the_password};
pub use topology_rows::topology_rows;
pub use wrapper_pg::fuzzing::status_tap;
