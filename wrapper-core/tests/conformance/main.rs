//! The conformance suites: kept by the fake driver and the providers of core; and for each clause something broken,
//! which must be found under the clause's name.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod drivers;
mod plugins;
mod providers;

use wrapper_core::testkit::conformance::{Clause, Conformance, Verdict};

/// Fails unless the clause was found broken.
#[track_caller]
pub(crate) fn assert_broken(found: &Conformance, clause: &str) {
    let broken = |known: &Clause| known.name == clause && matches!(known.verdict, Verdict::Broken(_));
    assert!(found.clauses().iter().any(broken), "`{clause}` was not found broken: {found}");
}

#[tokio::test(start_paused = true)]
async fn a_report_names_each_clause() {
    let found = drivers::run(None).await;
    let text = found.to_string();
    assert!(text.starts_with("driver_dialect_conformance of `fake`:\n  kept       name\n"), "{text}");
    assert_eq!(text.lines().count(), 1 + found.clauses().len());
    assert!(found.into_result().is_ok());
    let error = drivers::run(Some(drivers::Mistake::NoBytes)).await.into_result().unwrap_err();
    assert!(error.to_string().contains("BROKEN     bytes-grow: an answer came"), "{error}");
    assert_eq!(error.broken(), ["bytes-grow"]);
}
