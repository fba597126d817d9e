//! The writer of a MySQL-family cluster is lost, moved or silenced, and another one takes over.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![cfg(target_os = "linux")]

mod mysql_kit;

use std::time::{Duration, Instant};

use integration_tests::{Cut, Flavour, FreezeScope};
use mysql_kit::{
    LIMIT, SLACK, builder, cluster, connected, connector, end, failed, node_of, rows, runs, until, within,
};
use wrapper_mysql::prelude::Queryable;
use wrapper_mysql::{ErrorKind, RetryAdvice, TransactionOutcome, TxOpts};

/// Scenarios 7, 8 and 30: on each flavour of MySQL a call in flight when the writer crashes ends with a finished failover; a
/// statement made before goes on to work on the new writer, and what the session had set holds there.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_writer_is_survived_with_statements_and_session_state() {
    for flavour in [Flavour::Aurora, Flavour::MultiAz] {
        let cluster = cluster(flavour).await;
        let connector = connector(&cluster);
        let mut conn = connected(&connector).await;
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.expect("set");
        conn.query_drop("SET time_zone = '+05:00', NAMES_NOT = 1").await.expect_err("no such variable");
        conn.query_drop("SET time_zone = '+05:00'").await.expect("set");
        conn.query_drop("SET NAMES latin1; USE information_schema").await.expect("set");
        conn.query_drop("SET autocommit = 0").await.expect("set");
        let insert = conn.prep("INSERT INTO shop.t VALUES (?)").await.expect("prepared");
        conn.exec_drop(&insert, (1,)).await.expect("inserted");
        conn.query_drop("COMMIT").await.expect("committed");

        let (record, slow) = within("the failover", async {
            tokio::join!(
                async {
                    until("the call runs", || runs(&cluster, "sleep(600)")).await;
                    cluster.fail_over().await.expect("failed over")
                },
                conn.query_drop("SELECT sleep(600)")
            )
        })
        .await;
        let error = failed(slow, "a call on a dead writer");
        // Without autocommit nothing was open yet, and nothing of it can be left.
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{flavour:?}: {error:?}");
        assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "{error:?}");
        assert_eq!((error.sqlstate(), error.retry_advice()), (Some("08S02"), RetryAdvice::SameConnection));
        assert_eq!(conn.generation(), 2);

        within("the insert", conn.exec_drop(&insert, (2,))).await.expect("inserted on the new writer");
        conn.query_drop("COMMIT").await.expect("committed");
        assert_eq!(node_of(&cluster, &mut conn).await, record.new_writer, "{flavour:?}");
        assert_eq!((rows(&cluster, 1).await, rows(&cluster, 2).await), (1, 1), "{flavour:?}");
        let state: Option<(String, String, String, bool)> = conn
            .query_first("SELECT DATABASE(), @@time_zone, @@character_set_client, @@autocommit")
            .await
            .expect("asked");
        let expected = ("information_schema".into(), "+05:00".into(), "latin1".into(), false);
        assert_eq!(state, Some(expected), "{flavour:?}");
        // Its name depends on the server's version.
        let isolation: Vec<(String, String)> = conn
            .query("SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')")
            .await
            .expect("asked");
        assert!(
            !isolation.is_empty() && isolation.iter().all(|(_, value)| value == "READ-COMMITTED"),
            "{isolation:?}"
        );
        drop(conn);
        end(connector).await;
        cluster.stop().await;
    }
}

/// A planned switchover of a MySQL cluster under load loses no acknowledged write, and the session follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switchover_loses_no_acknowledged_write() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let write = async {
        let (mut acknowledged, mut id, mut errors) = (Vec::new(), 0_u64, Vec::new());
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            id += 1;
            match conn.exec_drop("INSERT INTO t VALUES (?)", (id,)).await {
                Ok(()) => acknowledged.push(id),
                Err(error) => errors.push(error),
            }
        }
        (acknowledged, errors, id)
    };
    let switch = async {
        until("writes run", || async { rows(&cluster, 5).await > 0 }).await;
        let to = cluster.readers()[0];
        cluster.planned_switchover(to).await.expect("switched over");
        until("writes go on", || async {
            rows(&cluster, u64::MAX).await == 0 && connector.reports().len() == 1
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        to
    };
    let ((acknowledged, errors, last), to) = within("the load", async { tokio::join!(write, switch) }).await;
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::FailoverSucceeded), "{errors:?}");
    assert!(!errors.is_empty() && acknowledged.last() > Some(&(last - 5)), "{errors:?}");
    for id in acknowledged {
        assert_eq!(rows(&cluster, id).await, 1, "write {id}");
    }
    assert_eq!(node_of(&cluster, &mut conn).await, to);
    drop(conn);
    end(connector).await;
    cluster.stop().await;
}

/// Scenario 36: on MySQL a frozen writer and another one promoted: host monitoring gives the call in flight up, also
/// between two rows, and the downtime is detection plus one search.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_is_left_for_the_promoted_one() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    let mut reading = connected(&connector).await;
    let text = "WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 200) \
                SELECT seq, REPEAT('x', 1000), IF(seq > 100, sleep(600), 0) FROM s";
    let mut result = within("the rows", reading.query_iter(text)).await.expect("opened");
    within("a row", result.next()).await.expect("a row").expect("a row");

    let call = conn.query_drop("SELECT sleep(600)");
    let read = async {
        loop {
            match result.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        }
    };
    let fault = async {
        until("the call runs", || runs(&cluster, "sleep(600)")).await;
        let old = cluster.writer();
        cluster.freeze(old, FreezeScope::AllProcesses).await.expect("frozen");
        let frozen = Instant::now();
        cluster.promote(cluster.readers()[0]).await.expect("another one is promoted");
        (old, frozen)
    };
    let (called, broken, (old, frozen)) =
        within("the calls", async { tokio::join!(call, read, fault) }).await;
    let error = failed(called, "a call on a frozen writer");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    let cause = error.to_string();
    assert!(cause.contains("silent"), "{cause}");
    // Grace, then three probes, then the search.
    let limit = Duration::from_millis(400 + 3 * 200 + 50 + 200) + SLACK;
    assert!(frozen.elapsed() < limit, "{:?}", frozen.elapsed());
    let broken = failed(broken, "rows of a frozen writer");
    assert_eq!(broken.kind(), ErrorKind::HostSilent, "{broken:?}");
    drop(result);
    within("the insert", conn.query_drop("INSERT INTO t VALUES (7)")).await.expect("inserted");
    let error = failed(within("the next call", reading.query_drop("DO 1")).await, "a call after lost rows");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::FailoverSucceeded, TransactionOutcome::NotSent));
    reading.query_drop("DO 1").await.expect("answered");
    drop((conn, reading));
    end(connector).await;
    cluster.thaw(old).await.expect("thawed");
    cluster.stop().await;
}

/// Scenarios 22, 23 and 24: on MySQL a transaction that a crash hits is unknown (08007) and rolled back, its object is dead,
/// the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_dies_with_its_connection_and_the_connection_goes_on() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    let mut tx = within("begin", conn.start_transaction(TxOpts::new())).await.expect("begun");
    tx.query_drop("INSERT INTO t VALUES (1)").await.expect("inserted");
    cluster.fail_over().await.expect("failed over");
    for _ in 0..2 {
        let lost = within("the insert", tx.query_drop("INSERT INTO t VALUES (1)")).await;
        let error = failed(lost, "an insert of a lost transaction");
        assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
        assert_eq!((error.sqlstate(), error.outcome()), (Some("08007"), TransactionOutcome::RolledBack));
    }
    let error = failed(within("the commit", tx.commit()).await, "the commit of a lost transaction");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    assert!(error.outcome().is_not_applied(), "{error:?}");
    assert_eq!((rows(&cluster, 1).await, connector.reports().len()), (0, 1));

    let mut tx =
        within("begin", conn.start_transaction(TxOpts::new())).await.expect("begun on the new writer");
    tx.query_drop("INSERT INTO t VALUES (2)").await.expect("inserted");
    within("the commit", tx.commit()).await.expect("committed");
    // One that was begun by text, and is lost while nothing is in flight.
    cluster.wait_until_healthy(LIMIT).await.expect("healthy again");
    conn.query_drop("BEGIN; INSERT INTO t VALUES (3)").await.expect("begun");
    cluster.fail_over().await.expect("failed over again");
    let error = failed(within("the commit", conn.query_drop("COMMIT")).await, "the commit");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    assert_eq!((rows(&cluster, 2).await, rows(&cluster, 3).await), (1, 0));
    drop(conn);
    end(connector).await;
    cluster.stop().await;
}

/// Scenario 26: on MySQL the answer to a COMMIT is lost on the way: it may have applied, and has.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_may_have_applied() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    let mut tx = within("begin", conn.start_transaction(TxOpts::new())).await.expect("begun");
    tx.query_drop("INSERT INTO t VALUES (1)").await.expect("inserted");
    let writer = cluster.writer();
    // Towards the server all passes, back nothing.
    cluster.cut(writer, Cut::Stall).await.expect("cut");
    let fault = async {
        until("the row is committed", || async { rows(&cluster, 1).await == 1 }).await;
        cluster.fail_over().await.expect("failed over");
    };
    let (committed, ()) = within("the commit", async { tokio::join!(tx.commit(), fault) }).await;
    let error = failed(committed, "a commit without an answer");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied, "{error:?}");
    assert_eq!(rows(&cluster, 1).await, 1, "it has applied");
    cluster.heal(writer).await.expect("healed");
    within("the next call", conn.query_drop("INSERT INTO t VALUES (2)")).await.expect("inserted");
    drop(conn);
    end(connector).await;
    cluster.stop().await;
}

/// Scenario 16: on MySQL a write that a demoted writer refuses (1290) leads to the new one; one that the user's own
/// READ ONLY transaction refuses (1792) does not; with all hosts read-only the failover fails in its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_leads_to_the_writer_unless_it_is_the_users_own_wish() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    let mut options = TxOpts::new();
    options.with_readonly(true);
    let mut tx = within("begin", conn.start_transaction(options)).await.expect("begun");
    let error = failed(within("the write", tx.query_drop("INSERT INTO t VALUES (1)")).await, "a write");
    assert_eq!((error.server_code(), error.kind()), (Some(1792), ErrorKind::Statement), "{error:?}");
    tx.query_drop("SELECT 1").await.expect("the transaction goes on");
    drop(tx);
    assert_eq!((conn.generation(), connector.reports().len()), (1, 0));

    // A session on a reader, by a name that nobody verifies.
    let reader = cluster.instance_endpoint(cluster.readers()[0]);
    let astray = builder(&cluster, &reader).set("plugins", "failover").set("failover_mode", "strict-writer");
    let astray = astray.set("failover_timeout", "2s").build().expect("valid");
    let mut lost = connected(&astray).await;
    let error = failed(within("the write", lost.query_drop("INSERT INTO t VALUES (2)")).await, "a write");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    assert!(error.outcome().is_not_applied(), "{error:?}");
    within("the write", lost.query_drop("INSERT INTO t VALUES (2)")).await.expect("inserted");

    mysql_kit::sql(&cluster, "SET GLOBAL read_only = 1").await;
    let began = Instant::now();
    let error = failed(within("the write", lost.query_drop("INSERT INTO t VALUES (3)")).await, "a write");
    assert_eq!(error.kind(), ErrorKind::FailoverFailed, "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", began.elapsed());
    mysql_kit::sql(&cluster, "SET GLOBAL read_only = 0").await;
    drop((conn, lost));
    end(connector).await;
    end(astray).await;
    cluster.stop().await;
}

/// Trap B3 closed: statements of the driver, prepared through its own trait, run as what they are on the new
/// connection, where their numbers mean something else; one of another connection is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_never_runs_as_another_one_after_a_failover() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    let a = Queryable::prep(&mut conn, "SELECT 'a'").await.expect("prepared");
    let b = Queryable::prep(&mut conn, "SELECT 'b', ?").await.expect("prepared");
    let own = conn.prep("SELECT 'own'").await.expect("prepared");
    cluster.fail_over().await.expect("failed over");
    failed(within("the call", conn.query_drop("DO 1")).await, "a call on a dead writer");

    // In another order than they were made in: number 1 of the new connection is b.
    let found: Option<(String, u8)> = Queryable::exec_first(&mut conn, &b, (5,)).await.expect("run");
    assert_eq!(found, Some(("b".to_owned(), 5)));
    let found: Option<String> = Queryable::exec_first(&mut conn, &a, ()).await.expect("run");
    assert_eq!(found.as_deref(), Some("a"));
    let found: Option<String> = conn.exec_first(a.clone(), ()).await.expect("run");
    assert_eq!(found.as_deref(), Some("a"));
    let found: Option<String> = conn.exec_first(&own, ()).await.expect("run");
    assert_eq!(found.as_deref(), Some("own"));
    {
        let mut rows = Queryable::exec_iter(&mut conn, &a, ()).await.expect("run");
        let rows: Vec<String> = rows.collect().await.expect("read");
        assert_eq!(rows, ["a"]);
    }
    let mut other = connected(&connector).await;
    other.prep("SELECT 'trap'").await.expect("prepared");
    let error = failed(other.exec_first::<String, _, _>(&a, ()).await, "a statement of another connection");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::StaleStatement, TransactionOutcome::NotSent));
    let found: Option<String> = other.exec_first(&own, ()).await.expect("ours goes everywhere");
    assert_eq!(found.as_deref(), Some("own"));
    // A reset of the session takes the server's statements away.
    other.reset().await.expect("reset");
    let found: Option<String> = other.exec_first(&own, ()).await.expect("prepared again");
    assert_eq!(found.as_deref(), Some("own"));
    drop((conn, other));
    end(connector).await;
    cluster.stop().await;
}
