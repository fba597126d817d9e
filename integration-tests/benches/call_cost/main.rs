//! What the library adds to a call, with a driver that does nothing: time and allocations.
//!
//! ```text
//! cargo bench -p integration-tests --bench call_cost [-- --write] [--calls 500000] [--rounds 15] [--only "no plugin"]
//! ```
//! Rows are measured in turns, round by round, and the best round of each is taken: what disturbs a round only makes
//! it slower.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program measures real time")]

mod noop;
mod rows;
#[path = "../support/mod.rs"]
mod support;

use support::page::Table;

#[global_allocator]
static ALLOCATOR: support::alloc::Counting = support::alloc::Counting;

const HEADING: [&str; 4] = ["what", "ns per call", "over bare", "allocations per call"];

fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    let calls: u64 = arguments.value("--calls")?.unwrap_or(500_000);
    let rounds: u32 = arguments.value("--rounds")?.unwrap_or(15);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let rows = runtime.block_on(rows::all())?;
    let mut best = vec![f64::INFINITY; rows.len()];
    let mut allocations = vec![0.0; rows.len()];
    let only: Option<String> = arguments.value("--only")?;
    for _ in 0..rounds {
        for (at, row) in rows.iter().enumerate() {
            if only.as_ref().is_some_and(|only| row.name != only) {
                continue;
            }
            let before = support::alloc::calls();
            let nanos = (row.measure)(calls)?;
            allocations[at] = (support::alloc::calls() - before) as f64 / (calls * row.threads) as f64;
            best[at] = best[at].min(nanos);
        }
    }
    let mut table = Table::new(&HEADING);
    for (at, row) in rows.iter().enumerate() {
        let over = row.against.map_or("–".to_owned(), |bare| format!("{:+.1} ns", best[at] - best[bare]));
        table.row([row.name.to_owned(), format!("{:.1}", best[at]), over, format!("{:.2}", allocations[at])]);
    }
    table.print();
    if arguments.has("--write") {
        table.write("call_cost", &arguments.command("call_cost"), &[])?;
    }
    Ok(())
}
