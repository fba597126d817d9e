//! The time of a failover over many seeds on the test kit, under paused time: what the library itself takes, without
//! a machine's noise.
//!
//! ```text
//! cargo bench -p integration-tests --bench failover_kit [-- --runs 200] [--write]
//! ```

mod kit;
#[path = "../support/mod.rs"]
mod support;

use kit::Loss;
use support::page::Table;
use support::stats::{Millis, Samples};

const ROWS: [(&str, Loss, bool); 5] = [
    ("crash", Loss::Crash, false),
    ("crash, promoted server restarts", Loss::Crash, true),
    ("planned", Loss::Planned, false),
    ("planned, promoted server restarts", Loss::Planned, true),
    ("frozen writer", Loss::Freeze, false),
];

fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    let runs: u64 = arguments.value("--runs")?.unwrap_or(200);
    let mut table = Table::new(&["scenario", "seeds", "median", "p99", "worst", "downtime, worst", "lost"]);
    for (title, loss, restarts) in ROWS {
        let all = (0..runs).map(|seed| kit::run(loss, restarts, seed)).collect::<Result<Vec<_>, _>>()?;
        let late = Samples::new(all.iter().map(|run| run.late));
        let downtime = Samples::new(all.iter().map(|run| run.downtime));
        table.row([
            title.to_owned(),
            runs.to_string(),
            Millis(late.median()).to_string(),
            Millis(late.quantile(0.99)).to_string(),
            Millis(late.greatest()).to_string(),
            Millis(downtime.greatest()).to_string(),
            all.iter().map(|run| run.lost).sum::<usize>().to_string(),
        ]);
        if arguments.has("--verbose") {
            for (seed, run) in all.iter().enumerate().filter(|(_, run)| run.late > 50.0) {
                println!("{title}, seed {seed}: {run:?}");
            }
        }
    }
    table.print();
    if arguments.has("--write") {
        table.write("failover_kit", &arguments.command("failover_kit"), &[])?;
    }
    Ok(())
}
