//! Host monitoring on real hosts that fall silent: scenarios 34 to 37 and 39 of the catalogue.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
mod support;

use std::time::{Duration, Instant};

use common::{builder, on_each, within};
use futures_util::StreamExt;
use integration_tests::{Cut, Fault, Flavour, FreezeScope, LocalCluster};
use support::{END, Events, SLACK, aurora, ended, failed, rows, started, until, watchful};
use wrapper_core::observe::Event;
use wrapper_pg::{ConnectorBuilder, ErrorKind, TransactionOutcome};

const GRACE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);
const COUNT: u32 = 3;

/// The detection times of DESIGN's bar.
fn measured(cluster: &LocalCluster) -> ConnectorBuilder {
    builder(cluster, &cluster.cluster_endpoint())
        .set("failure_detection_time", "1s")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
}

/// Whether the server runs a statement with this text.
async fn runs(cluster: &LocalCluster, text: &str) -> bool {
    let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected");
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active' AND query LIKE $1";
    direct.query_one(sql, &[&format!("%{text}%")]).await.expect("counted").get::<_, i64>(0) > 0
}

/// Scenario 34: without failover, a long query on a host that froze is given up within the formula, as a silent host
/// and not as a time-out; so is a row stream that stalls in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_on_a_frozen_host_is_given_up_within_the_formula() {
    let cluster = aurora().await;
    let events = Events::default();
    let connector = measured(&cluster).set("plugins", "efm").observer(events.clone()).build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    let other = within("the connect", connector.connect()).await.expect("connected");
    let no_parameters: [i64; 0] = [];
    let rows = "SELECT i, pg_sleep(CASE WHEN i > 3 THEN 60 ELSE 0 END), repeat('x', 9000) FROM generate_series(1, 4) i";
    let mut stream = Box::pin(other.query_raw(rows, no_parameters).await.expect("opened"));
    for _ in 0..2 {
        within("a row", stream.next()).await.expect("a row").expect("a row");
    }

    let called = Instant::now();
    let query = async {
        let error = failed(client.query("SELECT pg_sleep(30)", &[]).await, "the query");
        (error, Instant::now())
    };
    let read = async {
        loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("the stream ended as if it were complete"),
            }
        }
    };
    let fault = async {
        until("the query runs", || runs(&cluster, "pg_sleep(30)")).await;
        cluster.freeze(cluster.writer(), FreezeScope::AllProcesses).await.expect("frozen");
        Instant::now()
    };
    let ((error, given_up), broken, frozen) =
        within("the calls", async { tokio::join!(query, read, fault) }).await;
    assert_eq!(error.kind(), ErrorKind::HostSilent, "{error:?}");
    assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied, "{error:?}");
    assert_eq!(broken.kind(), ErrorKind::HostSilent, "{broken:?}");
    let grace_left = GRACE.saturating_sub(frozen - called);
    let formula = grace_left.max(INTERVAL) + INTERVAL * (COUNT - 1) + INTERVAL + Duration::from_millis(50);
    let took = given_up - frozen;
    println!("given up {took:?} after the freeze; the formula says at most {formula:?}");
    assert!(took <= formula + SLACK, "{took:?} against {formula:?}");
    assert!(given_up - called >= GRACE, "given up before the grace was over");
    assert!(events.count(|event| matches!(event, Event::HostSilent { .. })) >= 1);
    let next = within("the next call", client.query("SELECT 1", &[])).await;
    assert_eq!(failed(next, "a call on a closed connection").kind(), ErrorKind::HostSilent);
    drop((client, stream, other));
    ended(&connector).await;
    cluster.thaw(cluster.writer()).await.expect("thawed");
}

/// Scenario 35: with every host silent a call fails within `failover_timeout`; once they are back, a new connection
/// works, and so does the old client.
#[tokio::test(flavor = "multi_thread")]
async fn after_all_hosts_were_silent_new_connections_work() {
    let cluster = aurora().await;
    let connector =
        watchful(&cluster).set("failover_timeout", "2s").set("connect_timeout", "2").build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    for node in cluster.nodes() {
        cluster.cut(node, Cut::StallBothWays).await.expect("cut");
    }
    let begin = Instant::now();
    let error = failed(within("the call", client.query("SELECT 1", &[])).await, "the call");
    assert_eq!(error.kind(), ErrorKind::FailoverFailed, "{error:?}");
    assert_eq!(error.sqlstate(), Some("08001"));
    // Detection, then the search.
    let bound = Duration::from_millis(400 + 3 * 200 + 50) + Duration::from_secs(2) + SLACK;
    assert!(begin.elapsed() < bound, "{:?}", begin.elapsed());
    let refused = failed(within("a connect", connector.connect()).await, "a connect to silent hosts");
    println!("while silent: {refused}");

    for node in cluster.nodes() {
        cluster.heal(node).await.expect("healed");
    }
    let fresh = within("the connect", connector.connect()).await.expect("connected");
    fresh.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
    let error = failed(within("the call", client.query("SELECT 1", &[])).await, "the lost session's call");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    within("the call", client.query("SELECT 1", &[])).await.expect("answered");
    drop((client, fresh));
    ended(&connector).await;
}

/// Scenario 36: a frozen writer and another one promoted: the call in flight ends with a finished failover, and the
/// whole downtime is detection plus one search.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_is_left_for_the_promoted_one() {
    on_each([Flavour::Aurora, Flavour::MultiAz], a_frozen_writer_is_left_for_the_promoted_one_on).await;
}

async fn a_frozen_writer_is_left_for_the_promoted_one_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    cluster.set_promotion_time(Duration::ZERO..=Duration::ZERO);
    let events = Events::default();
    let connector = measured(&cluster).observer(events.clone()).build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.execute("INSERT INTO t VALUES (0)", &[]).await.expect("inserted");
    let old = cluster.writer();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let write = async {
        let mut last = Instant::now();
        let (mut errors, mut gap) = (Vec::new(), Duration::ZERO);
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            match client.execute("INSERT INTO t VALUES (1)", &[]).await {
                Ok(_) => {
                    gap = gap.max(last.elapsed());
                    last = Instant::now();
                }
                Err(error) => errors.push(error),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (errors, gap)
    };
    let fault = async {
        let all = Fault::Freeze(FreezeScope::AllProcesses);
        let record = cluster.fail_over_after(all).await.expect("failed over");
        until("a write on the new writer", || async {
            client.generation() == 2 && rows(&cluster, 1).await > 0 && connector.reports().len() == 1
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        record
    };
    let ((errors, gap), record) = within("the failover", async { tokio::join!(write, fault) }).await;
    println!("downtime {gap:?}; {record}\n{}", connector.reports()[0]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].kind(), ErrorKind::FailoverSucceeded, "{:?}", errors[0]);
    assert_eq!(connector.reports()[0].cause_kind, "host_silent", "{}", connector.reports()[0]);
    assert!(gap <= Duration::from_millis(1800) + SLACK, "downtime {gap:?}");
    let name: String =
        client.query_one_scalar("SELECT current_setting('cluster_name')", &[]).await.expect("answered");
    assert_eq!(cluster.node_named(&name), Some(record.new_writer));
    drop(client);
    ended(&connector).await;
    cluster.thaw(old).await.expect("thawed");
}

/// Scenarios 37 and 39: a slow query on a healthy host is left alone however long it takes, and a caller that drops
/// its call says nothing about the host: no failover, no verdict, the connection stays in use.
#[tokio::test(flavor = "multi_thread")]
async fn slow_queries_and_dropped_calls_are_no_failures() {
    on_each([Flavour::Aurora, Flavour::MultiAz], slow_queries_and_dropped_calls_are_no_failures_on).await;
}

async fn slow_queries_and_dropped_calls_are_no_failures_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    let events = Events::default();
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("failure_detection_time", "100ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "10")
        .observer(events.clone())
        .build()
        .expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    let pid: i32 = client.query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("answered");
    // Longer than silence would be put up with, which is long enough for a busy machine to answer a probe.
    within("the slow query", client.query("SELECT pg_sleep(3)", &[])).await.expect("left alone");

    let short = Duration::from_millis(300);
    for _ in 0..5 {
        let dropped = tokio::time::timeout(short, client.query("SELECT pg_sleep(0.7)", &[])).await;
        assert!(dropped.is_err(), "the call was to be dropped");
    }
    let mut writes = Vec::new();
    for polls in 1..6 {
        writes.push(support::polled(client.execute("INSERT INTO t VALUES (1)", &[]), polls).await);
    }
    let same: i32 =
        within("the call", client.query_one_scalar("SELECT pg_backend_pid()", &[])).await.expect("answered");
    assert_eq!(same, pid, "the same connection");
    assert_eq!(client.generation(), 1);
    assert!(!client.is_closed());
    assert!(connector.reports().is_empty(), "{}", connector.reports()[0]);
    assert_eq!(events.count(|event| matches!(event, Event::HostSilent { .. } | Event::Switched(_))), 0);
    let monitors = wrapper_pg::plugins::efm::EfmMonitors::of(connector.cluster().core());
    assert_eq!(monitors.watched(), 0, "no call is left behind as in flight");
    drop(client);
    let begin = Instant::now();
    ended(&connector).await;
    assert!(begin.elapsed() < END);
}
