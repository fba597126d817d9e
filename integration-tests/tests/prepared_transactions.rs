//! Two-phase commit when the writer dies: scenario 28 of the catalogue.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
mod support;

use common::{on_each, within};
use integration_tests::{Cut, Flavour, LocalCluster};
use support::{aurora, ended, failed, rows, rows_on, started, until, watchful};
use wrapper_pg::{ErrorKind, TransactionOutcome};

/// The transactions that the writer holds prepared.
async fn prepared(cluster: &LocalCluster) -> Vec<String> {
    let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected");
    let rows = direct.query("SELECT gid FROM pg_prepared_xacts ORDER BY gid", &[]).await.expect("asked");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Scenario 28: a transaction that was prepared outlives its session and the writer: it is committed on the new one.
/// One that was open and not yet prepared is rolled back.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_there_on_the_new_writer() {
    on_each([Flavour::Aurora, Flavour::MultiAz], a_prepared_transaction_is_there_on_the_new_writer_on).await;
}

async fn a_prepared_transaction_is_there_on_the_new_writer_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    let connector = watchful(&cluster).build().expect("valid");
    let preparing = within("the connect", connector.connect()).await.expect("connected");
    let open = within("the connect", connector.connect()).await.expect("connected");
    for sql in ["BEGIN", "INSERT INTO t VALUES (1)", "PREPARE TRANSACTION 'one'"] {
        within(sql, preparing.batch_execute(sql)).await.expect(sql);
    }
    for sql in ["BEGIN", "INSERT INTO t VALUES (2)"] {
        within(sql, open.batch_execute(sql)).await.expect(sql);
    }
    assert_eq!(prepared(&cluster).await, ["one"]);
    cluster.fail_over().await.expect("failed over");

    // Nothing is open in this session any more: its next call is an ordinary one.
    let error = failed(within("a call", preparing.batch_execute("SELECT 1")).await, "a call");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    let error = failed(within("a call", open.batch_execute("PREPARE TRANSACTION 'two'")).await, "a prepare");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack, "it was never sent: {error:?}");

    assert_eq!(prepared(&cluster).await, ["one"]);
    assert_eq!(rows(&cluster, 1).await, 0, "not committed yet");
    within("the commit", preparing.batch_execute("COMMIT PREPARED 'one'")).await.expect("committed");
    assert_eq!((rows(&cluster, 1).await, rows(&cluster, 2).await), (1, 0));
    drop((preparing, open));
    ended(&connector).await;
}

/// Scenario 28, in flight: what becomes of PREPARE TRANSACTION and of COMMIT PREPARED is not known without asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_or_a_second_phase_in_flight_may_have_been_applied() {
    let cluster = aurora().await;
    let connector = watchful(&cluster).build().expect("valid");
    let first = within("the connect", connector.connect()).await.expect("connected");
    let second = within("the connect", connector.connect()).await.expect("connected");
    for sql in ["BEGIN", "INSERT INTO t VALUES (1)"] {
        within(sql, first.batch_execute(sql)).await.expect(sql);
    }
    for sql in ["BEGIN", "INSERT INTO t VALUES (2)", "PREPARE TRANSACTION 'two'"] {
        within(sql, second.batch_execute(sql)).await.expect(sql);
    }
    let old = cluster.writer();
    cluster.cut(old, Cut::Stall).await.expect("answers are held back");
    let fault = async {
        until("both are done on the server", || async {
            prepared(&cluster).await == ["one"] && rows_on(&cluster, old, 2).await == 1
        })
        .await;
        cluster.promote(cluster.readers()[0]).await.expect("promoted");
    };
    let (prepare, commit, ()) = within("the calls", async {
        tokio::join!(
            first.batch_execute("PREPARE TRANSACTION 'one'"),
            second.batch_execute("COMMIT PREPARED 'two'"),
            fault
        )
    })
    .await;
    for error in [failed(prepare, "the prepare"), failed(commit, "the commit")] {
        assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied, "{error:?}");
    }
    assert_eq!(prepared(&cluster).await, ["one"], "as the outcome says, it was applied");
    within("the rollback", first.batch_execute("ROLLBACK PREPARED 'one'")).await.expect("rolled back");
    assert_eq!((rows(&cluster, 1).await, rows(&cluster, 2).await), (0, 1));
    drop((first, second));
    ended(&connector).await;
}
