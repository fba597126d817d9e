//! Many clients through a crash failover: when half of them and when all of them write again, beside a bare
//! tokio-postgres program that is told the new address as soon as the cluster accepts writes.
//!
//! ```text
//! cargo bench -p integration-tests --bench storm [-- --clients 200,1000] [--runs 5] [--verbose] [--write]
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program measures real time")]

#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod run;
#[path = "../support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: support::alloc::Counting = support::alloc::Counting;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    run::all(&arguments).await
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("a local cluster needs Linux: nothing is measured");
}
