//! Seeded schedules: 5,000 seeds keep every promise, each planted bug is found, the same seed gives the same trace.
//!
//! `SCHEDULE_SEEDS` and `SCHEDULE_SEED` play more seeds, or others.

#![allow(clippy::disallowed_methods, reason = "tests")]

use std::time::Instant;

use integration_tests::schedule::{Planted, REGRESSIONS, campaign, run};
use wrapper_core::testkit::Flavour;

/// Seeds from 1 on that are played when nothing else is asked for.
const SEEDS: u64 = 5_000;
/// Seeds in which each planted bug must be found here; the program `schedules --planted` takes 5,000.
const PLANTED: u64 = 500;

fn from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a whole number is expected")),
        Err(_) => default,
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[test]
fn seeds_keep_every_promise() {
    let begin = Instant::now();
    let (first, count) = (from_env("SCHEDULE_SEED", 1), from_env("SCHEDULE_SEEDS", SEEDS));
    let total = campaign(first, count, threads(), None);
    println!(
        "{} seeds, {} calls, {} switches in {:.1?}",
        total.played,
        total.calls,
        total.switches,
        begin.elapsed()
    );
    for played in &total.failed {
        played.violations.iter().for_each(|violation| println!("seed {}: {violation}", played.seed));
    }
    assert!(
        total.failed.is_empty(),
        "seeds {:?} broke promises; replay one with `cargo run -p integration-tests --features schedules --bin \
         schedules -- --trace --seed N`",
        total.failed.iter().map(|played| played.seed).collect::<Vec<_>>()
    );
    assert_eq!(total.played, count);
    assert!(total.switches > count, "the schedules hardly disturb anybody");
}

#[test]
fn seeds_that_once_failed_keep_every_promise() {
    for seed in REGRESSIONS {
        let played = run(*seed, None);
        assert!(played.violations.is_empty(), "seed {seed}: {:?}\n{}", played.violations, played.trace);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=20 {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_ne!(first.trace, run(seed + 1, None).trace);
    }
    // A run that fails replays as well.
    let first = campaign(1, PLANTED, 1, Some(Planted::LeavesTransactionOpen));
    let failed = &first.failed[0];
    let again = run(failed.seed, Some(Planted::LeavesTransactionOpen));
    assert_eq!((&failed.trace, &failed.violations), (&again.trace, &again.violations));
}

/// Which kind of cluster is played on, and whether streams are read, the seed decides: a dozen in a row have all of it.
#[test]
fn a_dozen_seeds_play_on_every_flavour_with_streams_and_without() {
    let traces: Vec<String> = (1..=12).map(|seed| run(seed, None).trace).collect();
    for flavour in Flavour::ALL {
        let of = |streams: bool| {
            let plan = format!("flavour: {flavour:?}, streams: {streams}");
            traces.iter().filter(|trace| trace.contains(&plan)).count()
        };
        assert_eq!((of(true), of(false)), (2, 1), "{flavour:?}");
    }
    assert!(traces.iter().any(|trace| trace.contains(": all ")), "no stream was read to its end");
}

#[test]
fn each_planted_bug_is_found() {
    for bug in Planted::ALL {
        let found = campaign(1, PLANTED, threads(), Some(bug));
        let seed = found.failed.first().map(|played| played.seed);
        println!("{bug:?}: seed {seed:?}");
        assert!(seed.is_some(), "{bug:?} breaks {:?}, and nobody saw it in {PLANTED} seeds", bug.breaks());
    }
}
