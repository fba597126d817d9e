//! Plays seeded schedules by hand:
//!
//! ```sh
//! cargo run -p integration-tests --features schedules --bin schedules -- --seeds 20000 --seed 1
//! cargo run -p integration-tests --features schedules --bin schedules -- --seed 17 --trace
//! cargo run -p integration-tests --features schedules --bin schedules -- --planted
//! ```
//!
//! Prints each seed that breaks a promise, and what it broke; with `--trace` the whole trace. Ends with 1 when there was
//! one.

#![allow(clippy::disallowed_methods, reason = "this program measures real time")]

use std::process::ExitCode;
use std::time::Instant;

use integration_tests::schedule::{Planted, campaign, run};

struct Options {
    seeds: u64,
    seed: u64,
    threads: usize,
    trace: bool,
    planted: bool,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut options = Options { seeds: 0, seed: 1, threads, trace: false, planted: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, String> {
            let value = words.next().unwrap_or_default();
            value.parse().map_err(|_| format!("`{word} {value}`: a whole number is expected"))
        };
        match &*word {
            "--seeds" => options.seeds = number()?,
            "--seed" => options.seed = number()?,
            "--threads" => options.threads = usize::try_from(number()?).unwrap_or(1),
            "--trace" => options.trace = true,
            "--planted" => options.planted = true,
            _ => {
                return Err(format!(
                    "`{word}` is unknown; use --seeds N, --seed S, --threads N, --trace, --planted"
                ));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    if options.planted {
        return planted(&options);
    }
    let begin = Instant::now();
    if options.seeds == 0 {
        let played = run(options.seed, None);
        if options.trace {
            print!("{}", played.trace);
        }
        played.violations.iter().for_each(|violation| println!("seed {}: {violation}", played.seed));
        return ExitCode::from(u8::from(!played.violations.is_empty()));
    }
    let total = campaign(options.seed, options.seeds, options.threads, None);
    for played in &total.failed {
        if options.trace {
            print!("{}", played.trace);
        }
        played.violations.iter().for_each(|violation| println!("seed {}: {violation}", played.seed));
    }
    println!(
        "{} seeds, {} calls, {} switches, {} failed, {:.1?}",
        total.played,
        total.calls,
        total.switches,
        total.failed.len(),
        begin.elapsed()
    );
    ExitCode::from(u8::from(!total.failed.is_empty()))
}

/// How many seeds each planted bug needs, from the first seed on.
fn planted(options: &Options) -> ExitCode {
    let most = if options.seeds == 0 { 5_000 } else { options.seeds };
    let mut missed = 0;
    println!("| planted bug | promise | seeds needed |\n|---|---|---|");
    for bug in Planted::ALL {
        let found = campaign(options.seed, most, 1, Some(bug));
        let needed = match found.failed.first() {
            Some(played) => (played.seed - options.seed + 1).to_string(),
            None => {
                missed += 1;
                format!("not found in {most}")
            }
        };
        println!("| {bug:?} | {:?} | {needed} |", bug.breaks());
    }
    ExitCode::from(u8::from(missed > 0))
}
