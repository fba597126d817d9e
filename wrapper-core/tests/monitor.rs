//! The topology monitor against a scripted cluster, under paused time.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Health, Script, Trace, cluster};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wrapper_core::ErrorKind;
use wrapper_core::cluster::Cluster;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostKey, HostRole};
use wrapper_core::plugin::Chain;
use wrapper_core::topology::Published;

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

/// Starts a search that is given a minute.
fn search(cluster: &Cluster) -> JoinHandle<wrapper_core::Result<Published>> {
    let core = std::sync::Arc::clone(cluster.core());
    tokio::spawn(async move { core.search_writer(limit(60)).await })
}

async fn writer_of(search: JoinHandle<wrapper_core::Result<Published>>) -> String {
    search.await.unwrap().unwrap().topology.writer().unwrap().host().to_owned()
}

/// `a` was demoted one failover before the last and never restarted: it accepts writes, but its topology names
/// another host.
#[tokio::test(start_paused = true)]
async fn a_writer_demoted_in_an_earlier_failover_is_not_believed_against_its_own_topology() {
    for named_by_a in ["b", "c"] {
        let script = Script::new(&NAMES);
        let cluster = cluster(&script, &Trace::default());
        assert_eq!(writer_of(search(&cluster)).await, "a");

        script.promote("b");
        script.role("a", HostRole::Writer);
        assert_eq!(writer_of(search(&cluster)).await, "b");

        // `b` is lost, `c` is not promoted yet.
        script.health("b", Health::Down);
        script.names_writer("a", Some(named_by_a));
        let second = search(&cluster);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!second.is_finished(), "`a`, demoted long ago, was believed while it named `{named_by_a}`");
        script.role("c", HostRole::Writer);
        assert_eq!(writer_of(second).await, "c");
        assert!(cluster.registry().demoted_in(&HostKey::new("a", support::PORT)) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_demoted_writer_that_was_seen_as_a_reader_is_believed_again_though_its_topology_is_late() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    assert_eq!(writer_of(search(&cluster)).await, "a");
    script.promote("b");
    assert_eq!(writer_of(search(&cluster)).await, "b");

    script.health("b", Health::Down);
    let second = search(&cluster);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Only its recovery state changes: its topology still names `b`.
    script.role("a", HostRole::Writer);
    let promoted = Instant::now();
    assert_eq!(writer_of(second).await, "a");
    assert!(promoted.elapsed() <= Duration::from_millis(12), "{:?}", promoted.elapsed());
    // And it stays the writer while its topology is late.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.topology().unwrap().topology.writer().unwrap().host(), "a");
}

/// Just promoted, it first holds no topology, then a late one, then the right one.
#[tokio::test(start_paused = true)]
async fn a_new_writer_whose_topology_is_first_empty_and_then_late_stays_believed() {
    let script = Script::new(&NAMES);
    let trace = Trace::default();
    let cluster = cluster(&script, &trace);
    assert_eq!(writer_of(search(&cluster)).await, "a");
    script.health("a", Health::Down);
    script.names_writer("b", None);
    script.role("b", HostRole::Writer);
    assert_eq!(writer_of(search(&cluster)).await, "b");
    for named in [None, Some("a"), Some("b")] {
        script.names_writer("b", named);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(trace.lines().iter().filter(|line| *line == "search").count(), 2, "{:?}", trace.lines());
}

/// A session's connection to the writer that the monitor has just asked is asked for its role alone; one to any other
/// host, or to a writer that was asked long ago, in full.
#[tokio::test(start_paused = true)]
async fn a_session_asks_a_writer_that_has_just_answered_for_its_role_alone() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    assert_eq!(writer_of(search(&cluster)).await, "a");
    let chain = Chain::new(Vec::new(), true).unwrap();
    let connect = async |name: &'static str, role| {
        let host = HostInfo::new(name, support::PORT, HostRole::Unknown).with_id(name);
        cluster.connect_verified(&chain, &host, role, limit(5)).await
    };
    let asked = || script.counters().roles_asked.load(Ordering::SeqCst);
    assert_eq!(connect("a", HostRole::Writer).await.unwrap().host.role, HostRole::Writer);
    assert_eq!(asked(), 1);
    assert_eq!(connect("b", HostRole::Reader).await.unwrap().host.role, HostRole::Reader);
    assert_eq!(asked(), 1);
    // It lost the role a moment ago, and the monitor has not asked it since.
    script.role("a", HostRole::Reader);
    let error = connect("a", HostRole::Writer).await.unwrap_err();
    assert_eq!((error.kind(), asked()), (ErrorKind::WrongRole, 2));
    script.role("a", HostRole::Writer);
    // After 30 s the monitor asks every 30 s only.
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(connect("a", HostRole::Writer).await.unwrap().host.role, HostRole::Writer);
    assert_eq!(asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_not_given_a_demoted_writer_that_still_accepts_writes() {
    let script = Script::new(&NAMES);
    let cluster = cluster(&script, &Trace::default());
    assert_eq!(writer_of(search(&cluster)).await, "a");
    let chain = Chain::new(Vec::new(), true).unwrap();
    let connect = async |name: &'static str| {
        let host = HostInfo::new(name, support::PORT, HostRole::Unknown).with_id(name);
        cluster.connect_verified(&chain, &host, HostRole::Writer, limit(5)).await
    };
    assert_eq!(connect("a").await.unwrap().host.role, HostRole::Writer);
    script.promote("b");
    script.role("a", HostRole::Writer);
    // The monitor's next question.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let error = connect("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongRole);
    assert!(error.to_string().contains("names another"), "{error}");
    assert_eq!(connect("b").await.unwrap().host.role, HostRole::Writer);
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
