//! When a failover cannot succeed, when it happens on connect, when a write is refused.

use std::time::{Duration, Instant};

use integration_tests::local::Truth;
use integration_tests::{Cut, Flavour};
use wrapper_core::host::HostRole;
use wrapper_mysql::{ErrorKind, RetryAdvice, TransactionOutcome};

use crate::common::within;
use crate::faults::{Events, SLACK, until};
use crate::support::{builder, cluster, connect, connector, end, failed, node_of, sql, truth_of, watchful};

/// Scenario 14: nothing is reachable, silent or refused: the call ends within `failover_timeout`; the session goes on
/// when the cluster is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_reaches_nothing_ends_in_its_time() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let connector =
        watchful(&cluster, &cluster.cluster_endpoint()).set("failover_timeout", "2s").build().expect("valid");
    let mut session = connect(&connector).await;
    for cut in [Cut::StallBothWays, Cut::Reset] {
        let generation = session.generation();
        for node in cluster.nodes() {
            cluster.cut(node, cut).await.expect("cut");
        }
        let began = Instant::now();
        let error = failed(within("the call", session.query_drop("SELECT 1")).await, "the call");
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
        until("the session goes on", async || match session.query_drop("SELECT 1").await {
            Ok(()) => true,
            Err(error) if switched.contains(&error.kind()) => false,
            Err(error) => panic!("{error}"),
        })
        .await;
        assert_eq!(session.generation(), generation + 1);
        assert_eq!(truth_of(&cluster, &mut session).await, Truth::Writer);
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
    let with = |on, mode| {
        builder(&cluster, &cluster.cluster_endpoint())
            .set("plugins", "failover")
            .set("enable_connect_failover", on)
            .set("failover_mode", mode)
            .build()
            .expect("valid")
    };
    let (on, off) = (with("true", "strict-writer"), with("false", "strict-writer"));
    let readers = with("true", "strict-reader");
    for connector in [&on, &off, &readers] {
        // They learn the topology, and let the session go.
        drop(connect(connector).await);
    }
    let record = cluster.fail_over().await.expect("failed over");
    let mut session = connect(&on).await;
    assert_eq!(node_of(&cluster, &mut session).await, record.new_writer);
    assert_eq!(session.host().role, HostRole::Writer);
    let mut session = connect(&readers).await;
    assert_eq!(truth_of(&cluster, &mut session).await, Truth::Reader);
    let error = failed(within("the connect", off.connect()).await, "a connect to the old writer's name");
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    for connector in [on, off, readers] {
        end(connector).await;
    }
}

/// Scenario 16: sessions that stand on a demoted writer (the name lags, and nothing verifies roles): the first write
/// leads to the new writer, outside and inside a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_demoted_writer_refuses_leads_to_the_new_one() {
    let cluster = cluster(Flavour::Aurora)
        .dns_lag(Duration::from_secs(3600))
        .start()
        .await
        .expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id int)").await;
    let [to, _] = cluster.readers();
    let record = cluster.planned_switchover(to).await.expect("switched");
    cluster.rejoin(record.old_writer).await.expect("back as a reader");

    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).set("plugins", "failover").build().expect("valid");
    let mut session = connect(&connector).await;
    assert_eq!(node_of(&cluster, &mut session).await, record.old_writer, "the name lags");
    let write = within("the write", session.query_drop("INSERT INTO t VALUES (1)")).await;
    let error = failed(write, "a write on a reader");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "{error}");
    within("the write", session.query_drop("INSERT INTO t VALUES (1)")).await.expect("written");
    assert_eq!(node_of(&cluster, &mut session).await, to);

    let mut session = connect(&connector).await;
    assert_eq!(node_of(&cluster, &mut session).await, record.old_writer, "the name lags");
    let mut transaction = session.start_transaction(Default::default()).await.expect("begun");
    let write = within("the write", transaction.query_drop("INSERT INTO t VALUES (2)")).await;
    let error = failed(write, "a write on a reader");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error}");
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "{error}");
    drop(transaction);
    within("the write", session.query_drop("INSERT INTO t VALUES (3)")).await.expect("written");
    let ids: Vec<i32> = session.query("SELECT id FROM t ORDER BY id").await.expect("read");
    assert_eq!(ids, [1, 3]);
    end(connector).await;
}

/// Scenario 16: what a user forbade himself is the user's own error on a healthy writer: a read-only session, and
/// errors of statements of all kinds; nothing is switched, nothing is searched.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_statements_switch_nothing() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let events = Events::default();
    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).observer(events.clone()).build().expect("valid");
    let mut session = connect(&connector).await;
    let searches = events.searches();
    session.query_drop("SET SESSION TRANSACTION READ ONLY").await.expect("set");
    let write = within("the write", session.query_drop("INSERT INTO t VALUES (1)")).await;
    let error = failed(write, "a write of a read-only session");
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Statement, Some(1792)), "{error}");
    session.query_drop("SET SESSION TRANSACTION READ WRITE").await.expect("set");
    session.query_drop("INSERT INTO t VALUES (1)").await.expect("written");
    for (sql, code) in [
        ("SELEC", 1064),
        ("SELECT * FROM missing", 1146),
        ("INSERT INTO t VALUES (1)", 1062),
        ("SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1644", 1644),
        ("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213", 1213),
        ("SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317", 1317),
    ] {
        let error = failed(within("the call", session.query_drop(sql)).await, sql);
        assert_eq!((error.kind(), error.server_code()), (ErrorKind::Statement, Some(code)), "{error}");
    }
    session.query_drop("SELECT 1").await.expect("the connection goes on");
    assert_eq!((session.generation(), connector.reports().len()), (1, 0), "no failover");
    assert_eq!(events.searches(), searches, "not even a search");
    end(connector).await;
}

/// Where the user may not read what tells the topology, the connect says which GRANT is missing; once it was given, the
/// same connector works.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_without_the_grant_says_which_one() {
    use mysql_async::prelude::Queryable;
    let cluster = cluster(Flavour::MultiAz).start().await.expect("the cluster starts");
    let mut admin = cluster.connect_superuser(cluster.writer()).await.expect("connected");
    admin.query_drop("REVOKE SELECT ON mysql.rds_topology FROM app").await.expect("revoked");
    let connector = connector(&cluster);
    let error = failed(within("the connect", connector.connect()).await, "a connect without the grant");
    assert_eq!(error.kind(), ErrorKind::Grant, "{error}");
    let grant = "GRANT SELECT ON mysql.rds_topology TO 'app'@'%'";
    assert!(error.to_string().contains(grant), "{error}");
    admin.query_drop(grant).await.expect("granted");
    let mut session = connect(&connector).await;
    assert_eq!(node_of(&cluster, &mut session).await, cluster.writer());
    end(connector).await;
}
