//! How long after the cluster accepts writes again a client's first write is acknowledged, on a real three-node
//! cluster, beside the bare driver on the cluster endpoint.
//!
//! ```text
//! cargo bench -p integration-tests --bench failover_report -- --runs 20 [--engine mysql] [--scenario crash] \
//!     [--verbose] [--write]
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program measures real time")]

#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod scenario;
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    support::engine::on_engine!(&arguments, run::all)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("a local cluster needs Linux: nothing is measured");
}
