//! The writer is lost and another one takes over, or it comes back itself.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::local::Truth;
use integration_tests::{Cut, Fault, Flavour, FreezeScope};
use wrapper_mysql::{Conn, TransactionOutcome};

use crate::common::within;
use crate::support::{
    STEP, builder, cluster, connect, connector, end, moved, node_of, sql, truth_of, watchful,
};

/// Scenario 9: one connector, many sessions, as a pool holds them: each is switched, each is valid again.
/// Scenario 13: what the session was opened with holds on the new connection.
#[tokio::test(flavor = "multi_thread")]
async fn every_session_of_a_connector_is_switched_and_keeps_its_properties() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id int) AS SELECT 1 AS id").await;
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .set("client_found_rows", "true")
        .build()
        .expect("valid");
    let mut sessions = join_all((0..20).map(|_| connect(&connector))).await;

    let record = cluster.fail_over().await.expect("failed over");
    join_all(sessions.iter_mut().map(moved)).await;
    for session in &mut sessions {
        within("the check", session.ping()).await.expect("valid");
        assert!(!session.is_disconnected());
        assert_eq!(node_of(&cluster, session).await, record.new_writer);
        let database: Option<String> = session.query_first("SELECT DATABASE()").await.expect("answered");
        assert_eq!(database, Some(cluster.app().database));
        // Without the option the server counts what was changed, not what was found.
        session.query_drop("UPDATE t SET id = 1 WHERE id = 1").await.expect("updated");
        assert_eq!(session.affected_rows(), 1);
    }
    let mut fresh = connect(&connector).await;
    assert_eq!(node_of(&cluster, &mut fresh).await, record.new_writer);
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
    let mut session = connect(&old_process).await;
    let record = cluster.fail_over().await.expect("failed over");
    moved(&mut session).await;
    assert_eq!(node_of(&cluster, &mut session).await, record.new_writer);

    cluster.rejoin(record.old_writer).await.expect("the old writer is back");
    let named = cluster.names().lookup(&cluster.cluster_endpoint()).expect("a name");
    assert_eq!(named, cluster.address(record.old_writer).ip(), "the name lags");
    assert_eq!(cluster.truth().await[record.old_writer.index()], Truth::Reader);
    let fresh_process = connector(&cluster);
    for connector in [&old_process, &fresh_process] {
        let mut session = connect(connector).await;
        assert_eq!(node_of(&cluster, &mut session).await, record.new_writer);
        assert_eq!(truth_of(&cluster, &mut session).await, Truth::Writer);
        session.query_drop("CREATE TABLE IF NOT EXISTS t (id int)").await.expect("it takes writes");
    }
    end(old_process).await;
    end(fresh_process).await;
}

/// Scenario 11: nobody is promoted and the same instance returns: after a silence of five seconds, and after a crash
/// and restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_returns_is_taken_again() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let connector = watchful(&cluster, &cluster.cluster_endpoint()).build().expect("valid");
    let mut session = connect(&connector).await;
    let writer = cluster.writer();

    cluster.cut(writer, Cut::StallBothWays).await.expect("cut");
    let (healed, _) = tokio::join!(
        async {
            // The length of the outage, not a wait for something.
            tokio::time::sleep(Duration::from_secs(5)).await;
            cluster.heal(writer).await
        },
        moved(&mut session)
    );
    healed.expect("healed");
    assert_eq!((node_of(&cluster, &mut session).await, session.generation()), (writer, 2));

    cluster.crash(writer).await.expect("crashed");
    let (restarted, _) = tokio::join!(cluster.restart(writer), moved(&mut session));
    restarted.expect("restarted");
    assert_eq!((node_of(&cluster, &mut session).await, session.generation()), (writer, 3));
    assert_eq!(cluster.truth().await[writer.index()], Truth::Writer);
    end(connector).await;
}

/// Scenario 12: idle connections to a demoted writer, whose sockets are open still: closed once the demotion is
/// known, not before; the next call sends no statement to the old writer.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_a_demoted_writer_are_refused_before_use() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let connector = watchful(&cluster, &cluster.cluster_endpoint()).build().expect("valid");
    let mut busy = connect(&connector).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut session = connect(&connector).await;
        session.query_drop("SELECT 1").await.expect("answered");
        idle.push(session);
    }
    let readers = connector.derive(&cluster.reader_endpoint()).expect("derived");
    let reader = connect(&readers).await;

    let silent = Fault::Freeze(FreezeScope::AllProcesses);
    let record = cluster.fail_over_after(silent).await.expect("failed over");
    assert!(idle.iter().all(|session| !session.is_disconnected()), "nobody knows of the failover yet");
    moved(&mut busy).await;
    assert!(!busy.is_disconnected());
    assert!(idle.iter().all(Conn::is_disconnected), "the demotion is known");

    let sent = |node| cluster.proxy(node).expect("a proxy").stats().bytes_up;
    let before = sent(record.old_writer);
    for session in &mut idle {
        let error = moved(session).await;
        assert_eq!(error.outcome(), TransactionOutcome::NotSent, "{error}");
        assert!(!session.is_disconnected());
        assert_eq!(node_of(&cluster, session).await, record.new_writer);
    }
    let goodbyes = 5 * idle.len() as u64;
    assert!(sent(record.old_writer) <= before + goodbyes, "the demoted writer got more than COM_QUITs");
    assert_eq!((reader.is_disconnected(), reader.generation()), (false, 1), "readers' connections stay");
    end(connector).await;
}

/// Scenario 7, twice: the writer moves away and back, as Aurora does it: promoted servers and readers restart, names
/// lag. What was demoted once is a writer like any other when it has the role again.
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
    let mut session = connect(&connector).await;
    let first = cluster.writer();
    let [other, _] = cluster.readers();
    for (generation, to) in [(2, other), (3, first)] {
        let mut idle = connect(&connector).await;
        let record = cluster.planned_switchover(to).await.expect("switched");
        for session in [&mut session, &mut idle] {
            moved(session).await;
            assert_eq!(node_of(&cluster, session).await, to);
        }
        assert_eq!(session.generation(), generation);
        cluster.rejoin(record.old_writer).await.expect("back as a reader");
        cluster.wait_until_healthy(STEP).await.expect("healthy again");
        assert!(
            !session.is_disconnected() && !idle.is_disconnected(),
            "the present writer's connections are trusted"
        );
        let mut fresh = connect(&connector).await;
        assert_eq!(node_of(&cluster, &mut fresh).await, to);
    }
    end(connector).await;
}
