//! Hosts that fall silent, and callers who go away.

use std::time::{Duration, Instant};

use integration_tests::{Cut, FreezeScope};
use wrapper_core::observe::Event;
use wrapper_mysql::{ErrorKind, TransactionOutcome};

use crate::common::within;
use crate::faults::{Events, SLACK, until};
use crate::support::{aurora, builder, connect, end, failed, moved, runs, watchful};

const GRACE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);
const COUNT: u32 = 3;

/// Scenario 34: without failover, a long query on a host that froze is given up within the formula, as a silent host
/// and not as a time-out; so is an answer that stalls in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_on_a_frozen_host_is_given_up_within_the_formula() {
    let cluster = aurora().await;
    let events = Events::default();
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("plugins", "efm")
        .set("failure_detection_time", "1s")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
        .observer(events.clone())
        .build()
        .expect("valid");
    let (mut session, mut other) = (connect(&connector).await, connect(&connector).await);

    let called = Instant::now();
    let query = async {
        let error = failed(session.query_drop("SELECT SLEEP(30)").await, "the query");
        (error, Instant::now())
    };
    // More than the buffers hold: the rows come while they are read, and stop coming.
    let read = async {
        let sql = "SELECT REPEAT('x', 60000) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3) a, \
                   (SELECT SLEEP(29)) b";
        failed(other.query_drop(sql).await, "the rows")
    };
    let writer = cluster.writer();
    let fault = async {
        until("both run", async || runs(&cluster, "SLEEP(30)").await && runs(&cluster, "SLEEP(29)").await)
            .await;
        cluster.freeze(writer, FreezeScope::AllProcesses).await.expect("frozen");
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
    // The calls may end a moment before observers are told.
    until("the verdict is told", async || events.silences() >= 1).await;
    let next = within("the next call", session.query_drop("SELECT 1")).await;
    assert_eq!(failed(next, "a call on a closed connection").kind(), ErrorKind::HostSilent);
    drop((session, other));
    end(connector).await;
    cluster.thaw(writer).await.expect("thawed");
}

/// Scenario 35: with every host silent a call fails within `failover_timeout`; once they are back, a new connection
/// works, and so does the old session.
#[tokio::test(flavor = "multi_thread")]
async fn after_all_hosts_were_silent_new_connections_work() {
    let cluster = aurora().await;
    let connector = watchful(&cluster, &cluster.cluster_endpoint())
        .set("failover_timeout", "2s")
        .set("connect_timeout", "2")
        .build()
        .expect("valid");
    let mut session = connect(&connector).await;
    for node in cluster.nodes() {
        cluster.cut(node, Cut::StallBothWays).await.expect("cut");
    }
    let begin = Instant::now();
    let error = failed(within("the call", session.query_drop("SELECT 1")).await, "the call");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::FailoverFailed, Some("08001")), "{error:?}");
    // Detection, then the search.
    let bound = Duration::from_millis(300 + 3 * 200 + 50) + Duration::from_secs(2) + SLACK;
    assert!(begin.elapsed() < bound, "{:?}", begin.elapsed());
    let refused = failed(within("a connect", connector.connect()).await, "a connect to silent hosts");
    println!("while silent: {refused}");

    for node in cluster.nodes() {
        cluster.heal(node).await.expect("healed");
    }
    let mut fresh = connect(&connector).await;
    fresh.query_drop("INSERT INTO t VALUES (1)").await.expect("inserted");
    moved(&mut session).await;
    within("the call", session.query_drop("SELECT 1")).await.expect("answered");
    drop((session, fresh));
    end(connector).await;
}

/// Scenarios 37 and 39: a slow query on a healthy host is left alone however long it takes, and a caller that drops its
/// call says nothing about the host: no failover, no verdict. The connection of a dropped call is given up: its answer
/// would be read as the next one's; the next call says so, or has a new connection.
#[tokio::test(flavor = "multi_thread")]
async fn slow_queries_and_dropped_calls_are_no_failures() {
    let cluster = aurora().await;
    let events = Events::default();
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("failure_detection_time", "100ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "10")
        .observer(events.clone())
        .build()
        .expect("valid");
    let mut session = connect(&connector).await;
    let before: Option<u32> = session.query_first("SELECT CONNECTION_ID()").await.expect("answered");
    // Longer than silence would be put up with, which is long enough for a busy machine to answer a probe.
    within("the slow query", session.query_drop("SELECT SLEEP(3)")).await.expect("left alone");
    let same: Option<u32> = session.query_first("SELECT CONNECTION_ID()").await.expect("answered");
    assert_eq!(same, before, "the same connection");

    let short = Duration::from_millis(300);
    for _ in 0..3 {
        let mut session = connect(&connector).await;
        let dropped = tokio::time::timeout(short, session.query_drop("SELECT SLEEP(0.7), 'stale'")).await;
        assert!(dropped.is_err(), "the call was to be dropped");
        assert!(session.is_disconnected(), "nobody may read the answer");
    }
    let answer: Option<i32> = session.query_first("SELECT 42").await.expect("answered");
    assert_eq!((answer, session.generation()), (Some(42), 1));
    assert!(connector.reports().is_empty(), "{}", connector.reports()[0]);
    assert_eq!(events.count(|event| matches!(event, Event::HostSilent { .. } | Event::Switched(_))), 0);
    let monitors = wrapper_mysql::plugins::efm::EfmMonitors::of(connector.cluster().core());
    assert_eq!(monitors.watched(), 0, "no call is left behind as in flight");
    drop(session);
    end(connector).await;
}
