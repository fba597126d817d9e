//! When a failover cannot succeed, when it happens on connect, when a write is refused: scenarios 14 to 16.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::{Duration, Instant};

use common::{builder, connector, on_each, within};
use faults::{Events, SLACK, cluster, end, node_of, truth_of, until};
use integration_tests::local::Truth;
use integration_tests::{Cut, Flavour};
use wrapper_core::host::HostRole;
use wrapper_pg::{ErrorKind, RetryAdvice, TransactionOutcome};

/// Scenario 14: nothing is reachable, silent or refused: the call ends within `failover_timeout`; the client goes on
/// when the cluster is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_reaches_nothing_ends_in_its_time() {
    on_each([Flavour::Aurora, Flavour::MultiAz], a_failover_that_reaches_nothing_ends_in_its_time_on).await;
}

async fn a_failover_that_reaches_nothing_ends_in_its_time_on(flavour: Flavour) {
    let cluster = cluster(flavour).with_proxy(true).start().await.expect("the cluster starts");
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("failover_timeout", "2s")
        .set("failure_detection_time", "300ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3")
        .build()
        .expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    for cut in [Cut::StallBothWays, Cut::Reset] {
        let generation = client.generation();
        for node in cluster.nodes() {
            cluster.cut(node, cut).await.expect("cut");
        }
        let began = Instant::now();
        let error =
            within("the call", client.execute("SELECT 1", &[])).await.expect_err("nothing is reachable");
        // Detection takes a second or two where the silence is all there is to see.
        let limit = Duration::from_secs(2 + 2) + SLACK;
        assert!(began.elapsed() < limit, "{:?}: {error}", began.elapsed());
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::FailoverFailed, Some("08001")), "{error}");
        assert!(error.gave_up() && error.to_string().contains("failover_timeout"), "{error}");
        assert_eq!(error.retry_advice(), RetryAdvice::NewConnection);
        let report = connector.reports().pop().expect("a report");
        assert!(!report.succeeded() && report.to.is_none(), "{report}");

        for node in cluster.nodes() {
            cluster.heal(node).await.expect("healed");
        }
        // On a busy machine a switch may need more than the two seconds it has here.
        let switched = [ErrorKind::FailoverSucceeded, ErrorKind::FailoverFailed];
        until("the session goes on", async || match client.execute("SELECT 1", &[]).await {
            Ok(_) => true,
            Err(error) if switched.contains(&error.kind()) => false,
            Err(error) => panic!("{error}"),
        })
        .await;
        assert_eq!(client.generation(), generation + 1);
        assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
    }
    end(connector).await;
}

/// Scenario 15: with `enable_connect_failover` a connect that breaks ends on another host; without it, it fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_breaks_ends_on_another_host() {
    let cluster = cluster(Flavour::Aurora)
        .dns_lag(Duration::from_secs(3600))
        .start()
        .await
        .expect("the cluster starts");
    let with = |on| {
        builder(&cluster, &cluster.cluster_endpoint())
            .set("plugins", "failover")
            .set("enable_connect_failover", on)
            .build()
            .expect("valid")
    };
    let (on, off) = (with("true"), with("false"));
    let readers = builder(&cluster, &cluster.cluster_endpoint())
        .set("plugins", "failover")
        .set("enable_connect_failover", "true")
        .set("failover_mode", "strict-reader")
        .build()
        .expect("valid");
    for connector in [&on, &off, &readers] {
        // They learn the topology, and let the session go.
        within("the connect", connector.connect()).await.expect("connected");
    }
    let record = cluster.fail_over().await.expect("failed over");
    let client = within("the connect", on.connect()).await.expect("connected to another host");
    assert_eq!(node_of(&cluster, &client).await, record.new_writer);
    assert_eq!(client.host().role, HostRole::Writer);
    let client = within("the connect", readers.connect()).await.expect("connected to another host");
    assert_eq!(truth_of(&cluster, &client).await, Truth::Reader);
    let error = within("the connect", off.connect()).await.expect_err("the name leads to the old writer");
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    for connector in [on, off, readers] {
        end(connector).await;
    }
}

/// Scenario 16: sessions that stand on a demoted writer (the name lags, and nothing verifies roles): the first write
/// leads to the new writer, outside and inside a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_demoted_writer_refuses_leads_to_the_new_one() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        a_write_that_a_demoted_writer_refuses_leads_to_the_new_one_on,
    )
    .await;
}

async fn a_write_that_a_demoted_writer_refuses_leads_to_the_new_one_on(flavour: Flavour) {
    let cluster =
        cluster(flavour).dns_lag(Duration::from_secs(3600)).start().await.expect("the cluster starts");
    let admin = cluster.connect_app(cluster.writer()).await.expect("connected");
    admin.batch_execute("CREATE TABLE t (id int)").await.expect("created");
    let [to, _] = cluster.readers();
    let record = cluster.planned_switchover(to).await.expect("switched");
    cluster.rejoin(record.old_writer).await.expect("back as a reader");

    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).set("plugins", "failover").build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(node_of(&cluster, &client).await, record.old_writer, "the name lags");
    let error =
        within("the write", client.execute("INSERT INTO t VALUES (1)", &[])).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "{error}");
    within("the write", client.execute("INSERT INTO t VALUES (1)", &[])).await.expect("written");
    assert_eq!(node_of(&cluster, &client).await, to);

    let mut client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(node_of(&cluster, &client).await, record.old_writer, "the name lags");
    let transaction = client.transaction().await.expect("begun");
    let error =
        within("the write", transaction.execute("INSERT INTO t VALUES (2)", &[])).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error}");
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "{error}");
    drop(transaction);
    within("the write", client.execute("INSERT INTO t VALUES (3)", &[])).await.expect("written");
    let ids: Vec<i32> = client.query_scalar("SELECT id FROM t ORDER BY id", &[]).await.expect("read");
    assert_eq!(ids, [1, 3]);
    end(connector).await;
}

/// Scenario 16: a write in the user's own READ ONLY transaction on a healthy writer passes unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_a_read_only_transaction_is_the_users_own_error() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        a_write_in_a_read_only_transaction_is_the_users_own_error_on,
    )
    .await;
}

async fn a_write_in_a_read_only_transaction_is_the_users_own_error_on(flavour: Flavour) {
    let cluster = cluster(flavour).start().await.expect("the cluster starts");
    let events = Events::default();
    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).observer(events.clone()).build().expect("valid");
    let mut client = within("the connect", connector.connect()).await.expect("connected");
    client.batch_execute("CREATE TABLE t (id int)").await.expect("created");
    let searches = events.searches();

    let transaction = client.build_transaction().read_only(true).start().await.expect("begun");
    let error =
        within("the write", transaction.execute("INSERT INTO t VALUES (1)", &[])).await.expect_err("refused");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Statement, Some("25006")), "{error}");
    transaction.rollback().await.expect("rolled back");

    client.batch_execute("SET default_transaction_read_only = on").await.expect("set");
    let error =
        within("the write", client.execute("INSERT INTO t VALUES (1)", &[])).await.expect_err("refused");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Statement, Some("25006")), "{error}");
    client.batch_execute("SET default_transaction_read_only = off").await.expect("set");
    client.execute("INSERT INTO t VALUES (1)", &[]).await.expect("written");
    assert_eq!((client.generation(), connector.reports().len()), (1, 0), "no failover");
    assert_eq!(events.searches(), searches, "not even a search");
    end(connector).await;
}

/// A healthy cluster without faults: nothing is switched, nothing is searched after the start.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_statements_switch_nothing() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    for (sql, state) in [
        ("SELECT 1/0", "22012"),
        ("SELEC", "42601"),
        ("SELECT * FROM missing", "42P01"),
        ("DO $$ BEGIN RAISE SQLSTATE '57014'; END $$", "57014"),
        ("DO $$ BEGIN RAISE SQLSTATE 'XX000'; END $$", "XX000"),
        ("DO $$ BEGIN RAISE SQLSTATE '08006'; END $$", "08006"),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", "40001"),
    ] {
        let error = within("the call", client.batch_execute(sql)).await.expect_err("refused");
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Statement, Some(state)), "{error}");
    }
    assert_eq!((client.generation(), connector.reports().len()), (1, 0));
    end(connector).await;
}
