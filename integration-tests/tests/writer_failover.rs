//! The writer is lost and another one takes over: scenarios 7 to 13 of the catalogue.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::Duration;

use common::{builder, connector, on_each, within};
use faults::{cluster, end, node_of, truth_of, until};
use futures_util::StreamExt;
use futures_util::future::join_all;
use integration_tests::local::Truth;
use integration_tests::{Cut, Fault, Flavour, FreezeScope};
use wrapper_pg::{ErrorKind, RetryAdvice, TransactionOutcome};

/// Scenario 7, with several calls in flight: one switch, each call says what became of it. Scenario 8: what was made
/// before the crash: the statement is prepared anew, the row stream ends with an error.
#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_and_rows_being_read_end_and_statements_go_on() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        calls_in_flight_and_rows_being_read_end_and_statements_go_on_on,
    )
    .await;
}

async fn calls_in_flight_and_rows_being_read_end_and_statements_go_on_on(flavour: Flavour) {
    let cluster = cluster(flavour).start().await.expect("the cluster starts");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("created");
    let insert = client.prepare("INSERT INTO t VALUES ($1)").await.expect("prepared");
    let reading = within("the connect", connector.connect()).await.expect("connected");
    let sql = "SELECT n, repeat('x', 1000) FROM generate_series(1, 10000000) AS n";
    let rows = reading.query_raw(sql, std::iter::empty::<i32>()).await.expect("a stream");
    let mut rows = std::pin::pin!(rows);
    rows.next().await.expect("a row").expect("a row");

    let (failed_over, slow) = tokio::join!(
        async {
            until("the calls run", async || {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
                let writer = cluster.connect_superuser(cluster.writer()).await.expect("connected");
                writer.query_one(sql, &[]).await.expect("asked").get::<_, i64>(0) > 0
            })
            .await;
            cluster.fail_over().await
        },
        within("the calls", join_all((0..5).map(|_| client.query("SELECT pg_sleep(600)", &[]))))
    );
    let record = failed_over.expect("failed over");
    for call in slow {
        let error = call.expect_err("the writer is gone");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
        assert_eq!(error.retry_advice(), RetryAdvice::SameConnection);
        assert_eq!(error.sqlstate(), Some("08S02"));
    }
    assert_eq!((client.generation(), connector.reports().len()), (2, 1), "all calls share one switch");
    let ended = within("the rest of the rows", async {
        loop {
            match rows.next().await {
                Some(Ok(_)) => {}
                other => return other,
            }
        }
    });
    let error = ended.await.expect("not a regular end").expect_err("not a row");
    assert!(matches!(error.kind(), ErrorKind::Network | ErrorKind::FailoverSucceeded), "{error}");

    let inserted = within("the insert", client.execute(&insert, &[&1_i64])).await.expect("inserted");
    assert_eq!(inserted, 1);
    assert_eq!(node_of(&cluster, &client).await, record.new_writer);
    assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
    end(connector).await;
}

/// Scenario 9: one connector, many clients, as a pool holds them: each is switched, each is valid again.
/// Scenario 13: what the session was opened with holds on the new connection.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_of_a_connector_is_switched_and_keeps_its_properties() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        every_client_of_a_connector_is_switched_and_keeps_its_properties_on,
    )
    .await;
}

async fn every_client_of_a_connector_is_switched_and_keeps_its_properties_on(flavour: Flavour) {
    let cluster = cluster(flavour).start().await.expect("the cluster starts");
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("application_name", "till-3")
        .set("options", "-c work_mem=7MB")
        .build()
        .expect("valid");
    let connects = join_all((0..20).map(|_| connector.connect()));
    let clients: Vec<_> =
        within("the connects", connects).await.into_iter().map(|c| c.expect("connected")).collect();

    let record = cluster.fail_over().await.expect("failed over");
    let calls = join_all(clients.iter().map(|client| client.execute("SELECT 1", &[])));
    for result in within("the calls", calls).await {
        let error = result.expect_err("the writer is gone");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    }
    for client in &clients {
        within("the check", client.check_connection()).await.expect("valid");
        assert!(!client.is_closed());
        assert_eq!(node_of(&cluster, client).await, record.new_writer);
        let name: String = client.query_one_scalar("SHOW application_name", &[]).await.expect("answered");
        let work_mem: String = client.query_one_scalar("SHOW work_mem", &[]).await.expect("answered");
        assert_eq!((name.as_str(), work_mem.as_str()), ("till-3", "7MB"));
    }
    let fresh = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(node_of(&cluster, &fresh).await, record.new_writer);
    end(connector).await;
}

/// Scenario 10: while the cluster endpoint still names the old writer, which is back as a reader, sessions and even
/// a fresh process land on the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_name_leads_nobody_to_the_old_writer() {
    let cluster = cluster(Flavour::Aurora)
        .dns_lag(Duration::from_secs(3600))
        .start()
        .await
        .expect("the cluster starts");
    let old_process = connector(&cluster);
    let client = within("the connect", old_process.connect()).await.expect("connected");
    let record = cluster.fail_over().await.expect("failed over");
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("the writer is gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(node_of(&cluster, &client).await, record.new_writer);

    cluster.rejoin(record.old_writer).await.expect("the old writer is back");
    let named = cluster.names().lookup(&cluster.cluster_endpoint()).expect("a name");
    assert_eq!(named, cluster.address(record.old_writer).ip(), "the name lags");
    assert_eq!(cluster.truth().await[record.old_writer.index()], Truth::Reader);
    let fresh_process = connector(&cluster);
    for connector in [&old_process, &fresh_process] {
        let client = within("the connect", connector.connect()).await.expect("connected");
        assert_eq!(node_of(&cluster, &client).await, record.new_writer);
        assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
        client.batch_execute("CREATE TABLE IF NOT EXISTS t (id int)").await.expect("it takes writes");
    }
    end(old_process).await;
    end(fresh_process).await;
}

/// Scenario 11: nobody is promoted and the same instance returns: after a silence of five seconds, and after a crash
/// and restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_returns_is_taken_again() {
    on_each([Flavour::Aurora, Flavour::MultiAz], a_writer_that_returns_is_taken_again_on).await;
}

async fn a_writer_that_returns_is_taken_again_on(flavour: Flavour) {
    let cluster = cluster(flavour).with_proxy(true).start().await.expect("the cluster starts");
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("failure_detection_time", "500ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
        .build()
        .expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    let writer = cluster.writer();

    cluster.cut(writer, Cut::StallBothWays).await.expect("cut");
    let (healed, call) = tokio::join!(
        async {
            // The length of the outage, not a wait for something.
            tokio::time::sleep(Duration::from_secs(5)).await;
            cluster.heal(writer).await
        },
        within("the call", client.execute("SELECT 1", &[]))
    );
    healed.expect("healed");
    let error = call.expect_err("the writer was silent");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!((node_of(&cluster, &client).await, client.generation()), (writer, 2));

    cluster.crash(writer).await.expect("crashed");
    let (restarted, call) =
        tokio::join!(cluster.restart(writer), within("the call", client.execute("SELECT 1", &[])));
    restarted.expect("restarted");
    let error = call.expect_err("the writer was down");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!((node_of(&cluster, &client).await, client.generation()), (writer, 3));
    assert_eq!(cluster.truth().await[writer.index()], Truth::Writer);
    end(connector).await;
}

/// Scenario 12: idle connections to a demoted writer, whose sockets are open still: closed once the demotion is
/// known, not before; the next call sends nothing to the old writer.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_a_demoted_writer_are_refused_before_use() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        idle_connections_to_a_demoted_writer_are_refused_before_use_on,
    )
    .await;
}

async fn idle_connections_to_a_demoted_writer_are_refused_before_use_on(flavour: Flavour) {
    let cluster = cluster(flavour).with_proxy(true).start().await.expect("the cluster starts");
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("failure_detection_time", "500ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
        .build()
        .expect("valid");
    let busy = within("the connect", connector.connect()).await.expect("connected");
    let mut idle = Vec::new();
    for _ in 0..3 {
        let client = within("the connect", connector.connect()).await.expect("connected");
        client.execute("SELECT 1", &[]).await.expect("answered");
        idle.push(client);
    }
    let reader = connector.derive(&cluster.reader_endpoint()).expect("derived");
    let reader = within("the connect", reader.connect()).await.expect("connected");

    let silent = Fault::Freeze(FreezeScope::AllProcesses);
    let record = cluster.fail_over_after(silent).await.expect("failed over");
    assert!(idle.iter().all(|client| !client.is_closed()), "nobody knows of the failover yet");
    let error =
        within("the busy call", busy.execute("SELECT 1", &[])).await.expect_err("the writer is silent");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert!(!busy.is_closed());
    assert!(idle.iter().all(wrapper_pg::Client::is_closed), "the demotion is known");

    let sent = |node| cluster.proxy(node).expect("a proxy").stats().bytes_up;
    let before = sent(record.old_writer);
    for client in &idle {
        let error = within("the idle call", client.execute("SELECT 1", &[])).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
        assert_eq!(error.outcome(), TransactionOutcome::NotSent, "{error}");
        assert!(!client.is_closed());
        assert_eq!(node_of(&cluster, client).await, record.new_writer);
    }
    assert_eq!(sent(record.old_writer), before, "the demoted writer got nothing of it");
    assert_eq!((reader.is_closed(), reader.generation()), (false, 1), "readers' connections stay");
    end(connector).await;
}

/// A planned switchover under pipelined writes: no acknowledged write is lost, and the session goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switchover_loses_no_acknowledged_write() {
    on_each([Flavour::Aurora, Flavour::MultiAz], a_planned_switchover_loses_no_acknowledged_write_on).await;
}

async fn a_planned_switchover_loses_no_acknowledged_write_on(flavour: Flavour) {
    let cluster = cluster(flavour).start().await.expect("the cluster starts");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("created");
    let [to, _] = cluster.readers();
    let (switched, acknowledged) = tokio::join!(cluster.planned_switchover(to), async {
        let mut acknowledged = Vec::new();
        let mut after = 0;
        for id in 0_i64.. {
            match within("the insert", client.execute("INSERT INTO t VALUES ($1)", &[&id])).await {
                Ok(_) => acknowledged.push(id),
                Err(error) => assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}"),
            }
            after += i32::from(client.generation() > 1);
            if after > 50 {
                break;
            }
        }
        acknowledged
    });
    switched.expect("switched");
    assert_eq!(node_of(&cluster, &client).await, to);
    let rows = client.query("SELECT id FROM t", &[]).await.expect("read");
    let kept: std::collections::BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert!(acknowledged.len() > 40 && acknowledged.iter().all(|id| kept.contains(id)));
    end(connector).await;
}

/// The writer moves away and back, as Aurora does it: promoted servers and readers restart, names lag. What was
/// demoted once is a writer like any other when it has the role again.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_gets_its_role_back_is_trusted_again() {
    let cluster = cluster(Flavour::Aurora)
        .dns_lag(Duration::from_secs(3600))
        .restart_on_promote(true)
        .restart_readers(true)
        .start()
        .await
        .expect("the cluster starts");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    let first = cluster.writer();
    let [other, _] = cluster.readers();
    for (generation, to) in [(2, other), (3, first)] {
        let idle = within("the connect", connector.connect()).await.expect("connected");
        let record = cluster.planned_switchover(to).await.expect("switched");
        for client in [&client, &idle] {
            let error =
                within("the call", client.execute("SELECT 1", &[])).await.expect_err("the writer is gone");
            assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
            assert_eq!(node_of(&cluster, client).await, to);
        }
        assert_eq!(client.generation(), generation);
        cluster.rejoin(record.old_writer).await.expect("back as a reader");
        cluster.wait_until_healthy(Duration::from_secs(30)).await.expect("healthy again");
        assert!(!client.is_closed() && !idle.is_closed(), "the present writer's connections are trusted");
        let fresh = within("the connect", connector.connect()).await.expect("connected");
        assert_eq!(node_of(&cluster, &fresh).await, to);
    }
    end(connector).await;
}
