//! What a pool that follows the writer gives its callers through a failover, on real three-node clusters, and what an
//! acquire costs beside the bare pool.
//!
//! ```text
//! cargo bench -p integration-tests --bench pools -- --runs 10 --main 50 [--pool sqlx-0.9-pg] [--write]
//! cargo bench -p integration-tests --bench pools -- --frozen --runs 5 [--write]
//! cargo bench -p integration-tests --bench pools -- --acquire [--write]
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program measures real time")]

#[cfg(target_os = "linux")]
mod acquire;
#[cfg(target_os = "linux")]
mod cell;
#[cfg(target_os = "linux")]
mod frozen;
#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod sqlx_pools;
#[cfg(target_os = "linux")]
#[path = "../../tests/sqlx_support/mod.rs"]
mod sqlx_support;
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    match (arguments.has("--frozen"), arguments.has("--acquire")) {
        (true, _) => frozen::all(&arguments).await,
        (_, true) => acquire::all(&arguments).await,
        _ => run::all(&arguments).await,
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("a local cluster needs Linux: nothing is measured");
}
