//! Runs the benches one after another, lets each write its tables into `docs/performance.md`, and draws the plots
//! that the page shows.
//!
//! ```text
//! cargo figures                     # everything, as the page has it: about an hour and a quarter
//! cargo figures --quick          # fewer runs of each
//! cargo figures --only failover  # benches whose names contain this
//! cargo figures --draw           # the plots alone, from the figures kept beside the page
//! ```

mod draw;

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

/// A bench with its arguments, for the page and when it must be quick.
const BENCHES: [(&str, &str, &str); 12] = [
    ("call_cost", "--rounds 10", "--rounds 3"),
    ("select_one", "--core 0 --pairs 300 --instructions", "--core 0 --pairs 30 --instructions"),
    ("at_rest", "--clients 1,100,1000", "--clients 1,100"),
    ("failover_kit", "--runs 200", "--runs 50"),
    ("detection", "--runs 3", "--runs 1"),
    ("detection", "--engine mysql --runs 3", "--engine mysql --runs 1"),
    ("failover_report", "--runs 20", "--runs 3"),
    ("failover_report", "--engine mysql --runs 20", "--engine mysql --runs 3"),
    ("storm", "--clients 200,1000", "--clients 200"),
    ("pools", "--runs 10 --main 50", "--runs 2"),
    ("pools", "--frozen --runs 5", "--frozen --runs 1"),
    ("pools", "--acquire", "--acquire --rounds 10"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut quick, mut draw, mut only) = (false, false, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--draw" => draw = true,
            "--only" => only = Some(arguments.next().ok_or("`--only` needs a part of a bench's name")?),
            other => {
                return Err(format!("`{other}`: expected --quick, --draw or --only NAME").into());
            }
        }
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let chosen = |name: &str| !draw && only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let mut failed = Vec::new();
    for (bench, whole, short) in BENCHES.iter().filter(|(bench, ..)| chosen(bench)) {
        println!("\n=== {bench}");
        let status = Command::new(env!("CARGO"))
            .current_dir(&root)
            // All features: as the tests build it, so that nothing is built twice.
            .args(["bench", "-p", "integration-tests", "--all-features", "--bench", bench, "--"])
            .args(if quick { short } else { whole }.split_whitespace())
            .arg("--write")
            .status()?;
        if !status.success() {
            failed.push(*bench);
        }
    }
    draw::all(&root.join("docs/figures"))?;
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}
