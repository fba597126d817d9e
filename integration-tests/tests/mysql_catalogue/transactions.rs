//! Transactions and single writes that a failure hits.

use integration_tests::Cut;
use mysql_async::prelude::Queryable;
use wrapper_mysql::{Error, ErrorKind, RetryAdvice, TransactionOutcome};

use crate::common::within;
use crate::faults::until;
use crate::support::{aurora, connect, connector, end, failed, rows, rows_on, watchful};

#[track_caller]
fn assert_lost(error: &Error, outcome: TransactionOutcome) {
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    assert_eq!(error.sqlstate(), Some("08007"), "{error:?}");
    assert_eq!(error.retry_advice(), RetryAdvice::WholeTransaction, "{error:?}");
    assert_eq!(error.outcome(), outcome, "{error:?}");
}

/// Scenarios 22, 23 and 25: what a client said in text decides whether it stood in a transaction when the writer died,
/// however it was begun and whatever followed it.
#[tokio::test(flavor = "multi_thread")]
async fn the_transaction_status_follows_the_server_however_it_was_begun() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    // The text, whether it fails, and whether a transaction is open after it.
    let cases: &[(&str, bool, bool)] = &[
        ("BEGIN; INSERT INTO t VALUES (100)", false, true),
        ("-- note\nBEGIN", false, true),
        ("# note\nSTART TRANSACTION", false, true),
        ("/* a comment */ start transaction read write", false, true),
        ("/*! START TRANSACTION */", false, true),
        ("SELECT 1; BEGIN", false, true),
        ("SET autocommit = 0; INSERT INTO t VALUES (100)", false, true),
        ("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (100); ROLLBACK TO a", false, true),
        ("BEGIN; INSERT INTO t VALUES (100); COMMIT AND CHAIN", false, true),
        ("BEGIN; SELECT * FROM missing", true, true),
        ("BEGIN; SELECT 1; COMMIT", false, false),
        ("BEGIN; INSERT INTO t VALUES (100); ROLLBACK", false, false),
        ("BEGIN; INSERT INTO t VALUES (100); CREATE TABLE IF NOT EXISTS d (id int)", false, false),
        ("/* BEGIN */ SELECT 1", false, false),
        ("SELECT 'BEGIN;'; SELECT ';BEGIN'", false, false),
        ("INSERT INTO t VALUES (100); SELECT * FROM missing", true, false),
    ];
    let mut sessions = Vec::new();
    for (text, fails, _) in cases {
        let mut session = connect(&connector).await;
        let result = within(text, session.query_drop(*text)).await;
        assert_eq!(result.is_err(), *fails, "{text}: {result:?}");
        sessions.push(session);
    }
    cluster.fail_over().await.expect("failed over");
    for (session, (text, _, open)) in sessions.iter_mut().zip(cases) {
        let error = failed(within(text, session.query_drop("INSERT INTO t VALUES (7)")).await, text);
        let kind = if *open { ErrorKind::TransactionStateUnknown } else { ErrorKind::FailoverSucceeded };
        assert_eq!(error.kind(), kind, "{text}: {error:?}");
        if *open {
            assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "{text}: {error:?}");
        }
        within(text, session.query_drop("INSERT INTO t VALUES (8)")).await.expect("the session works");
    }
    assert_eq!(rows(&cluster, 7).await, 0);
    // Each is committed at once, but that of the session which has set autocommit off, and keeps it so.
    assert_eq!(rows(&cluster, 8).await, cases.len() as u64 - 1);
    for (session, _) in sessions.iter_mut().zip(cases).filter(|(_, (text, ..))| text.contains("autocommit")) {
        session.query_drop("COMMIT").await.expect("committed");
    }
    assert_eq!(rows(&cluster, 8).await, cases.len() as u64);
    end(connector).await;
}

/// Scenarios 26 and 27: COMMIT and single writes whose answers do not come back may have been applied (and were); so may
/// statements that commit by themselves; a statement inside a transaction was rolled back.
#[tokio::test(flavor = "multi_thread")]
async fn work_in_flight_may_have_been_applied() {
    let cluster = aurora().await;
    let connector = watchful(&cluster, &cluster.cluster_endpoint()).build().expect("valid");
    let (mut committing, mut working) = (connect(&connector).await, connect(&connector).await);
    let (mut writing, mut batching, mut defining) =
        (connect(&connector).await, connect(&connector).await, connect(&connector).await);
    let old = cluster.writer();

    let mut commit = committing.start_transaction(Default::default()).await.expect("begun");
    commit.query_drop("INSERT INTO t VALUES (1)").await.expect("inserted");
    let mut open = working.start_transaction(Default::default()).await.expect("begun");
    defining.query_drop("BEGIN; INSERT INTO t VALUES (4)").await.expect("begun");
    cluster.cut(old, Cut::Stall).await.expect("answers are held back");
    let insert_1 = async { failed(commit.commit().await, "the commit") };
    let insert_2 = async { failed(writing.query_drop("INSERT INTO t VALUES (2)").await, "the write") };
    let insert_3 = async {
        let sql = "BEGIN; INSERT INTO t VALUES (3); COMMIT";
        failed(batching.query_drop(sql).await, "the batch")
    };
    // Commits what was open before it.
    let insert_4 = async { failed(defining.query_drop("CREATE TABLE d (id int)").await, "the definition") };
    let insert_5 = async { failed(open.query_drop("INSERT INTO t VALUES (5)").await, "the insert") };
    let fault = async {
        for id in 1..=4 {
            until("the server has the work", async || rows_on(&cluster, old, id).await == 1).await;
        }
        cluster.promote(cluster.readers()[0]).await.expect("promoted");
    };
    let (commit, write, batch, definition, inside, ()) =
        within("the calls", async { tokio::join!(insert_1, insert_2, insert_3, insert_4, insert_5, fault) })
            .await;
    assert_lost(&commit, TransactionOutcome::MayHaveApplied);
    assert_lost(&inside, TransactionOutcome::RolledBack);
    assert_lost(&definition, TransactionOutcome::MayHaveApplied);
    assert_eq!(batch.outcome(), TransactionOutcome::MayHaveApplied, "{batch:?}");
    assert_eq!(write.kind(), ErrorKind::FailoverSucceeded, "{write:?}");
    assert_eq!(write.outcome(), TransactionOutcome::MayHaveApplied, "{write:?}");
    for (id, count) in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 0)] {
        assert_eq!(rows(&cluster, id).await, count, "row {id} on the new writer");
    }
    for session in [&mut writing, &mut batching, &mut defining] {
        within("the next call", session.query_drop("INSERT INTO t VALUES (9)")).await.expect("inserted");
    }
    assert_eq!(rows(&cluster, 9).await, 3);
    end(connector).await;
}

/// Scenario 28: an XA transaction that is open when the writer dies fails fast and leaves no row; the session goes on.
/// One that was prepared is there on the new writer, where somebody may commit it.
#[tokio::test(flavor = "multi_thread")]
async fn an_xa_transaction_fails_fast_and_a_prepared_one_is_there() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let (mut open, mut prepared) = (connect(&connector).await, connect(&connector).await);
    for text in ["XA START 'open'", "INSERT INTO t VALUES (1)"] {
        open.query_drop(text).await.expect("run");
    }
    for text in ["XA START 'kept'", "INSERT INTO t VALUES (2)", "XA END 'kept'", "XA PREPARE 'kept'"] {
        prepared.query_drop(text).await.expect("run");
    }
    cluster.fail_over().await.expect("failed over");
    let error = failed(within("the call", open.query_drop("XA END 'open'")).await, "a call in a lost XA");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    within("the call", open.query_drop("INSERT INTO t VALUES (3)")).await.expect("the session goes on");
    let error =
        failed(within("the call", prepared.query_drop("XA COMMIT 'kept'")).await, "a call on a lost host");
    assert!(
        matches!(error.kind(), ErrorKind::TransactionStateUnknown | ErrorKind::FailoverSucceeded),
        "{error:?}"
    );
    assert_eq!((rows(&cluster, 1).await, rows(&cluster, 2).await, rows(&cluster, 3).await), (0, 0, 1));
    let mut direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    direct.query_drop("XA COMMIT 'kept'").await.expect("it is there");
    assert_eq!(rows(&cluster, 2).await, 1);
    end(connector).await;
}
