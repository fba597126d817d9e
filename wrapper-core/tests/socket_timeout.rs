//! A call that `socket_timeout` ends: its connection is closed, and it says what became of the work.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use wrapper_core::config::Settings;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::driver::DriverConnection;
use wrapper_core::session::SessionOptions;
use wrapper_core::testkit::{FakeClient, FakeConnection, ScriptedCluster, Statement, parts};
use wrapper_core::{ErrorClass, ErrorKind, TransactionOutcome};

async fn client(cluster: &ScriptedCluster) -> (ConnectorCore, FakeClient) {
    let parts = parts(cluster, Settings::builder(), Vec::new(), Vec::new()).unwrap();
    let core = ConnectorCore::new(parts).unwrap();
    let mut options = SessionOptions::default();
    options.socket_timeout = Some(Duration::from_secs(2));
    let session = core.open::<FakeConnection>(options).await.unwrap();
    (core, FakeClient::new(session))
}

// Found by the schedules (seed 317): inside a transaction it was reported as *may have applied*.
#[tokio::test(start_paused = true)]
async fn inside_a_transaction_it_is_rolled_back() {
    let cluster = ScriptedCluster::new(2, 1);
    let (_core, client) = client(&cluster).await;
    let transaction = client.begin(1).await.unwrap();
    cluster.freeze(0);
    let error = transaction.run(&Statement::append(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, ErrorClass::Network));
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack);
    assert!(client.session().load().connection.is_closed());
    cluster.thaw(0);
    drop(transaction);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(cluster.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_commit_or_a_single_write_may_have_applied() {
    let cluster = ScriptedCluster::new(2, 1);
    let (_core, first) = client(&cluster).await;
    let transaction = first.begin(1).await.unwrap();
    transaction.run(&Statement::append(2)).await.unwrap();
    cluster.freeze(0);
    assert_eq!(transaction.commit(3).await.unwrap_err().outcome(), TransactionOutcome::MayHaveApplied);
    cluster.thaw(0);
    let (_core, second) = client(&cluster).await;
    cluster.freeze(0);
    let error = second.run(&Statement::append(4)).await.unwrap_err();
    assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied);
    cluster.thaw(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.log().len(), 2, "both had reached the server");
}
