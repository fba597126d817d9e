//! Transactions and single writes that a failure hits: scenarios 22 to 27 of the catalogue.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod common;
mod support;

use std::sync::Arc;
use std::time::Duration;

use common::{connector, on_each, within};
use integration_tests::{Cut, Flavour};
use support::{aurora, ended, failed, polled, rows, rows_on, started, until, watchful};
use wrapper_pg::{Client, Error, ErrorKind, RetryAdvice, SimpleQueryMessage, TransactionOutcome};

const STEP: Duration = Duration::from_secs(20);

#[track_caller]
fn assert_lost(error: &Error, outcome: TransactionOutcome) {
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    assert_eq!(error.sqlstate(), Some("08007"), "{error:?}");
    assert_eq!(error.retry_advice(), RetryAdvice::WholeTransaction, "{error:?}");
    assert_eq!(error.outcome(), outcome, "{error:?}");
}

/// Scenarios 22 and 24: a transaction hit by a crash is unknown (08007) and rolled back, its object is dead, the
/// client goes on; after the switch nothing of the transaction is remembered, so that the next failover, outside a
/// transaction, is an ordinary one.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_object_dies_with_its_connection_and_the_client_goes_on() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        a_transaction_object_dies_with_its_connection_and_the_client_goes_on_on,
    )
    .await;
}

async fn a_transaction_object_dies_with_its_connection_and_the_client_goes_on_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    let connector = connector(&cluster);
    let mut client = within("the connect", connector.connect()).await.expect("connected");

    let mut tx = within("begin", client.transaction()).await.expect("begun");
    tx.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
    cluster.fail_over().await.expect("failed over");
    let lost = within("the insert", tx.execute("INSERT INTO t VALUES (2)", &[])).await;
    assert_lost(&failed(lost, "the insert"), TransactionOutcome::RolledBack);
    let again = within("the next insert", tx.execute("INSERT INTO t VALUES (3)", &[])).await;
    assert_lost(&failed(again, "an insert of a dead transaction"), TransactionOutcome::RolledBack);
    let nested = within("the savepoint", tx.transaction()).await.map(|_| ());
    assert_lost(&failed(nested, "a savepoint of a dead transaction"), TransactionOutcome::RolledBack);
    let commit = within("the commit", tx.commit()).await;
    assert_lost(&failed(commit, "the commit of a dead transaction"), TransactionOutcome::RolledBack);

    for id in 1..=3 {
        assert_eq!(rows(&cluster, id).await, 0, "row {id} of the lost transaction");
    }
    assert_eq!(connector.reports().len(), 1, "one switch");
    let tx = within("begin", client.transaction()).await.expect("begun on the new writer");
    tx.execute("INSERT INTO t VALUES (4)", &[]).await.expect("inserted");
    within("the commit", tx.commit()).await.expect("committed on the new writer");
    assert_eq!(rows(&cluster, 4).await, 1);

    cluster.wait_until_healthy(STEP).await.expect("healthy again");
    cluster.fail_over().await.expect("failed over again");
    let error = failed(within("the call", client.execute("INSERT INTO t VALUES (5)", &[])).await, "the call");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    assert!(error.outcome().is_not_applied(), "{error:?}");
    within("the call", client.execute("INSERT INTO t VALUES (5)", &[])).await.expect("inserted");

    // A transaction that is to begin on a lost connection was never begun.
    cluster.wait_until_healthy(STEP).await.expect("healthy again");
    cluster.fail_over().await.expect("failed over a third time");
    let error = failed(within("begin", client.transaction()).await.map(|_| ()), "begin");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    assert!(error.outcome().is_not_applied(), "{error:?}");
    drop(within("begin", client.transaction()).await.expect("begun"));
    ended(&connector).await;
}

/// Scenarios 23 and 25: what a client said in text decides whether it stood in a transaction when the writer died,
/// however BEGIN was written and whatever followed it.
#[tokio::test(flavor = "multi_thread")]
async fn the_transaction_status_follows_the_server_however_it_was_begun() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        the_transaction_status_follows_the_server_however_it_was_begun_on,
    )
    .await;
}

async fn the_transaction_status_follows_the_server_however_it_was_begun_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    let connector = connector(&cluster);
    // The text, whether it fails, and whether a transaction is open after it.
    let cases: &[(&str, bool, bool)] = &[
        ("BEGIN; INSERT INTO t VALUES (100)", false, true),
        ("-- note\nBEGIN", false, true),
        ("/* a /* nested */ comment */ start transaction read write", false, true),
        ("SELECT 1; BEGIN", false, true),
        ("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (100); ROLLBACK TO a", false, true),
        ("BEGIN; SAVEPOINT a; RELEASE a", false, true),
        ("BEGIN; INSERT INTO t VALUES (100); COMMIT AND CHAIN", false, true),
        ("BEGIN; SELECT 1/0", true, true),
        ("BEGIN; SELECT 1; COMMIT", false, false),
        ("BEGIN; INSERT INTO t VALUES (100); ROLLBACK", false, false),
        ("/* BEGIN */ SELECT 1", false, false),
        ("SELECT 'BEGIN;'; SELECT ';BEGIN'", false, false),
        ("DO $$ BEGIN PERFORM 1; COMMIT; END $$", false, false),
        ("INSERT INTO t VALUES (100); SELECT 1/0", true, false),
    ];
    let mut clients = Vec::new();
    for (text, fails, _) in cases {
        let client = within("the connect", connector.connect()).await.expect("connected");
        let result = within(text, client.batch_execute(text)).await;
        assert_eq!(result.is_err(), *fails, "{text}: {result:?}");
        clients.push(client);
    }
    // The extended protocol begins transactions too.
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.execute("BEGIN", &[]).await.expect("begun");
    clients.push(client);
    let expected = cases.iter().map(|(text, _, open)| (*text, *open)).chain([("BEGIN as execute", true)]);

    cluster.fail_over().await.expect("failed over");
    for (client, (text, open)) in clients.iter().zip(expected) {
        let error = failed(within(text, client.execute("INSERT INTO t VALUES (7)", &[])).await, text);
        let kind = if open { ErrorKind::TransactionStateUnknown } else { ErrorKind::FailoverSucceeded };
        assert_eq!(error.kind(), kind, "{text}: {error:?}");
        let outcome = if open { TransactionOutcome::RolledBack } else { TransactionOutcome::NotSent };
        assert_eq!(error.outcome(), outcome, "{text}: {error:?}");
        within(text, client.execute("INSERT INTO t VALUES (8)", &[])).await.expect("the session works");
    }
    assert_eq!(rows(&cluster, 7).await, 0);
    let clients = i64::try_from(clients.len()).expect("few");
    assert_eq!(rows(&cluster, 8).await, clients, "each is committed at once: no transaction is left open");
    ended(&connector).await;
}

/// Scenarios 26 and 27: COMMIT and single writes whose answers do not come back may have been applied (and were);
/// a statement inside a transaction was rolled back; a call that was never sent says so.
#[tokio::test(flavor = "multi_thread")]
async fn work_in_flight_may_have_been_applied_and_work_not_sent_was_not() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        work_in_flight_may_have_been_applied_and_work_not_sent_was_not_on,
    )
    .await;
}

async fn work_in_flight_may_have_been_applied_and_work_not_sent_was_not_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    let connector = watchful(&cluster).build().expect("valid");
    let connect = || async { within("the connect", connector.connect()).await.expect("connected") };
    let (mut committing, mut working) = (connect().await, connect().await);
    let (writing, batching, streaming, idle) =
        (connect().await, connect().await, connect().await, connect().await);
    let old = cluster.writer();

    let tx = committing.transaction().await.expect("begun");
    tx.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
    let open = working.transaction().await.expect("begun");
    cluster.cut(old, Cut::Stall).await.expect("answers are held back");
    let no_parameters: [i64; 0] = [];
    let insert_1 = async { failed(tx.commit().await, "the commit") };
    let insert_2 = async { failed(writing.execute("INSERT INTO t VALUES (2)", &[]).await, "the write") };
    let insert_3 = async {
        let sql = "BEGIN; INSERT INTO t VALUES (3); COMMIT";
        failed(batching.batch_execute(sql).await, "the batch")
    };
    let insert_4 = async {
        let sql = "INSERT INTO t VALUES (4) RETURNING id";
        failed(streaming.query_raw(sql, no_parameters).await, "the stream")
    };
    let insert_5 = async { failed(open.execute("INSERT INTO t VALUES (5)", &[]).await, "the insert") };
    let fault = async {
        // Prepared first, over a round trip that is held back: it never comes to the write itself.
        for id in [1, 3] {
            until("the server has the work", || async { rows_on(&cluster, old, id).await == 1 }).await;
        }
        cluster.promote(cluster.readers()[0]).await.expect("promoted");
    };
    let (commit, write, batch, stream, inside, ()) =
        within("the calls", async { tokio::join!(insert_1, insert_2, insert_3, insert_4, insert_5, fault) })
            .await;
    assert_lost(&commit, TransactionOutcome::MayHaveApplied);
    assert_lost(&inside, TransactionOutcome::RolledBack);
    assert_eq!(batch.outcome(), TransactionOutcome::MayHaveApplied, "{batch:?}");
    for error in [&write, &stream] {
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
        assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied, "{error:?}");
    }
    let unsent = failed(within("the call", idle.execute("INSERT INTO t VALUES (6)", &[])).await, "the call");
    assert_eq!(unsent.kind(), ErrorKind::FailoverSucceeded, "{unsent:?}");
    assert_eq!(unsent.outcome(), TransactionOutcome::NotSent, "{unsent:?}");
    for (id, count) in [(1, 1), (3, 1), (5, 0), (6, 0)] {
        assert_eq!(rows(&cluster, id).await, count, "row {id} on the new writer");
    }
    for client in [&writing, &batching, &streaming, &idle] {
        within("the next call", client.execute("INSERT INTO t VALUES (9)", &[])).await.expect("inserted");
    }
    assert_eq!(rows(&cluster, 9).await, 4);
    ended(&connector).await;
}

/// Scenario 26: the COMMIT of a failed transaction is an error with the outcome *rolled back*, also as text.
#[tokio::test(flavor = "multi_thread")]
async fn the_commit_of_a_failed_transaction_is_no_success() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let mut client = within("the connect", connector.connect()).await.expect("connected");
    let check = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Statement, "{error:?}");
        assert_eq!(error.sqlstate(), Some("25P02"), "{error:?}");
        assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "{error:?}");
    };
    let tx = client.transaction().await.expect("begun");
    tx.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
    failed(tx.execute("INSERT INTO absent VALUES (1)", &[]).await, "an insert into no table");
    check(failed(tx.commit().await, "the commit"));

    for (simple, end) in [(true, "COMMIT"), (true, "/* x */ end"), (false, "COMMIT")] {
        client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.expect("begun");
        failed(client.execute("SELECT 1/0", &[]).await, "a division by zero");
        let result =
            if simple { client.batch_execute(end).await } else { client.execute(end, &[]).await.map(|_| ()) };
        check(failed(result, end));
    }
    // What the user asked for is no error.
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.expect("begun");
    failed(client.execute("SELECT 1/0", &[]).await, "a division by zero");
    client.batch_execute("ROLLBACK").await.expect("rolled back");
    assert_eq!(rows(&cluster, 1).await, 0);
    client.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.expect("begun");
    client.batch_execute("COMMIT").await.expect("committed");
    assert_eq!(rows(&cluster, 2).await, 1);
    assert_eq!(client.generation(), 1, "no switch");
    ended(&connector).await;
}

/// R6: a transaction, or the future that begins it, dropped after any number of polls leaves the server idle and
/// nothing in the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_dropped_after_any_poll_leaves_the_server_idle() {
    async fn work(client: &mut Client, reached: &std::cell::Cell<bool>) {
        let mut tx = client.transaction().await.expect("begun");
        tx.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
        let inner = tx.transaction().await.expect("a savepoint");
        inner.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
        inner.commit().await.expect("released");
        reached.set(true);
        std::future::pending::<()>().await;
    }
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let mut client = within("the connect", connector.connect()).await.expect("connected");
    let direct = Arc::new(cluster.connect_superuser(cluster.writer()).await.expect("connected"));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let reached = std::cell::Cell::new(false);
            let mut polls = 0;
            while !reached.get() {
                polls += 1;
                assert!(polls < 200, "the work never ends");
                assert!(within("the polls", polled(work(&mut client, &reached), polls)).await.is_none());
                until("no transaction is open", || async {
                    let sql =
                        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
                    direct.query_one(sql, &[]).await.expect("counted").get::<_, i64>(0) == 0
                })
                .await;
                assert_eq!(rows(&cluster, 1).await, 0, "after {polls} polls");
                let messages =
                    client.simple_query("SELECT now() = statement_timestamp()").await.expect("answered");
                let alone = messages.iter().any(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
                    _ => false,
                });
                assert!(alone, "after {polls} polls the client stands in a transaction");
            }
            println!("dropped after each of {polls} polls");
        })
        .await;
    assert_eq!(client.generation(), 1);
    ended(&connector).await;
}
