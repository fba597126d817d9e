//! The topology monitor against a scripted cluster, under paused time.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Health, Script, Trace, cluster};
use tokio::time::Instant;
use wrapper_core::ErrorKind;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostKey, HostRole};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn limit(secs: u64) -> Deadline {
    Deadline::after(Duration::from_secs(secs), "the test's limit")
}

#[tokio::test(start_paused = true)]
async fn a_promoted_reader_is_found_one_panic_interval_later() {
    let script = Script::new(&NAMES);
    let trace = Trace::default();
    let cluster = cluster(&script, &trace);
    let found = cluster.core().search_writer(limit(5)).await.unwrap();
    assert_eq!(found.topology.writer().unwrap().host(), "a");

    script.health("a", Health::Down);
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(60)).await }
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    script.promote("b");
    let promoted = Instant::now();
    let found = search.await.unwrap().unwrap();
    assert_eq!(found.topology.writer().unwrap().host(), "b");
    assert!(found.verified);
    // The interval, two round trips, and nothing else.
    assert!(promoted.elapsed() <= Duration::from_millis(12), "{:?}", promoted.elapsed());
    assert_eq!(cluster.registry().demoted_in(&HostKey::new("a", support::PORT)), cluster.writer_epoch());
    assert_eq!(trace.lines().iter().filter(|line| *line == "writer a -> b").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_search_and_one_probe_a_host() {
    let script = Script::new(&NAMES);
    let trace = Trace::default();
    let cluster = cluster(&script, &trace);
    cluster.core().search_writer(limit(5)).await.unwrap();
    script.health("a", Health::Down);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let core = std::sync::Arc::clone(cluster.core());
            tokio::spawn(async move { core.search_writer(limit(60)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    script.promote("c");
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().topology.writer().unwrap().host(), "c");
    }
    assert_eq!(trace.lines().iter().filter(|line| *line == "search").count(), 2, "{:?}", trace.lines());
    assert!(script.counters().monitors_most.load(Ordering::SeqCst) <= NAMES.len());
}

#[tokio::test(start_paused = true)]
async fn at_rest_there_is_one_monitoring_connection() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    cluster.core().search_writer(limit(5)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(script.counters().monitors_open.load(Ordering::SeqCst), 1);
    assert_eq!(cluster.budget().used(), 1);
    cluster.shutdown().await;
    assert_eq!(script.counters().monitors_open.load(Ordering::SeqCst), 0);
    assert_eq!(cluster.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_old_writer_that_still_accepts_writes_is_not_believed_against_its_own_topology() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    cluster.core().search_writer(limit(5)).await.unwrap();
    // `b` is promoted, `a` does not know yet and still accepts writes; its topology does.
    script.role("b", HostRole::Reader);
    script.names_writer("a", Some("b"));
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(60)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!search.is_finished(), "the old writer was believed");
    script.role("b", HostRole::Writer);
    assert_eq!(search.await.unwrap().unwrap().topology.writer().unwrap().host(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_a_stale_topology_is_believed_once_it_accepts_writes() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    cluster.core().search_writer(limit(5)).await.unwrap();
    script.health("a", Health::Silent);
    script.role("b", HostRole::Writer);
    let found = cluster.core().search_writer(limit(60)).await.unwrap();
    assert_eq!(found.topology.writer().unwrap().host(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_never_shows_a_writer_ends_at_the_deadline_and_says_what_is_known() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    script.role("a", HostRole::Reader);
    let started = Instant::now();
    let error = cluster.core().search_writer(limit(7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("a:5432"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_silent_writer_costs_no_more_than_the_first_answer_limit() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    cluster.core().search_writer(limit(5)).await.unwrap();
    script.health("a", Health::Silent);
    script.role("c", HostRole::Writer);
    let started = Instant::now();
    let found = cluster.core().search_writer(limit(60)).await.unwrap();
    assert_eq!(found.topology.writer().unwrap().host(), "c");
    assert!(started.elapsed() <= Duration::from_millis(120), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_of_one_host_do_not_end_its_probe() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    script.health("a", Health::Locked);
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(60)).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(
        script.connects("a") <= 6,
        "logins that fail are not repeated in a hurry: {}",
        script.connects("a")
    );
    script.health("a", Health::Up);
    assert_eq!(search.await.unwrap().unwrap().topology.writer().unwrap().host(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_search_that_no_host_lets_in_ends_with_the_refusal() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    for name in NAMES {
        script.health(name, Health::Locked);
    }
    let started = Instant::now();
    let error = cluster.core().search_writer(limit(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Login, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_dropped_ends_the_monitor() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    cluster.core().search_writer(limit(5)).await.unwrap();
    let core = std::sync::Arc::clone(cluster.core());
    drop(cluster);
    core.shutdown().await;
    assert_eq!(core.task_count(), 0);
    let error = core.search_writer(limit(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn shutdown_in_the_middle_of_a_search_answers_its_callers() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    for name in NAMES {
        script.health(name, Health::Silent);
    }
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(300)).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.shutdown().await;
    assert_eq!(search.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}
