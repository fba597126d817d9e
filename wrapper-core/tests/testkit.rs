//! The test kit itself: what a scripted cluster does, and that the same seed gives the same trace.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::config::Settings;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostRole;
use wrapper_core::session::SessionOptions;
use wrapper_core::testkit::{
    Abandon, FailoverPlan, FakeClient, FakeConnection, Health, ScriptedCluster, Statement, Trace, parts,
};
use wrapper_core::{ErrorClass, ErrorKind, TransactionOutcome};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5), "test")
}

async fn open(cluster: &ScriptedCluster, host: usize) -> wrapper_core::Result<Arc<FakeConnection>> {
    let target = ConnectTarget::session(cluster.host(host));
    let connection = cluster.driver().connect(&target, soon()).await?;
    Ok(wrapper_core::driver::downcast(connection).unwrap())
}

#[tokio::test(start_paused = true)]
async fn statements_are_answered_in_order_and_logged() {
    let cluster = ScriptedCluster::new(3, 1);
    let connection = open(&cluster, 0).await.unwrap();
    assert_eq!(connection.run(&Statement::append(1)).await.unwrap().statement, 1);
    assert_eq!(connection.run(&Statement::read(2)).await.unwrap().value.as_deref(), Some("1"));
    // A future that is dropped takes nothing back, and the next statement gets its own answer.
    let cancelled = tokio::time::timeout(Duration::from_micros(10), async {
        let statement = Statement::append(3);
        connection.run(&statement).await.map(|_| ())
    });
    assert!(cancelled.await.is_err());
    assert_eq!(connection.run(&Statement::read(4)).await.unwrap().value.as_deref(), Some("2"));
    let numbers: Vec<u64> = cluster.executed().iter().map(|executed| executed.statement).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(cluster.sessions().open, 1);
    drop(connection);
    assert_eq!(cluster.sessions().open, 0);
    assert_eq!(cluster.sessions().most, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_refuses_writes_and_health_decides_over_connects() {
    let cluster = ScriptedCluster::new(2, 1);
    let reader = open(&cluster, 1).await.unwrap();
    assert_eq!(reader.run(&Statement::append(1)).await.unwrap_err().class(), ErrorClass::ReadOnly);
    for (health, kind) in [
        (Health::Down, ErrorKind::Network),
        (Health::Starting, ErrorKind::Busy),
        (Health::Locked, ErrorKind::Login),
    ] {
        cluster.set_health(1, health);
        assert_eq!(open(&cluster, 1).await.unwrap_err().kind(), kind);
    }
    cluster.set_health(1, Health::Up);
    cluster.freeze(1);
    assert_eq!(open(&cluster, 1).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(reader.ping(soon()).await.unwrap_err().kind(), ErrorKind::Timeout);
    cluster.thaw(1);
    reader.ping(soon()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_in_flight_says_what_became_of_it() {
    let cluster = ScriptedCluster::new(2, 1);
    let connection = open(&cluster, 0).await.unwrap();
    connection.run(&Statement::new(1, wrapper_core::testkit::What::Begin)).await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Open);
    cluster.freeze(0);
    let (in_transaction, ()) = tokio::join!(
        async {
            let statement = Statement::append(2);
            connection.run(&statement).await.unwrap_err().outcome()
        },
        async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            cluster.crash(0);
        }
    );
    assert_eq!(in_transaction, TransactionOutcome::RolledBack);
    assert!(connection.is_closed());
    let later = connection.run(&Statement::append(3)).await.unwrap_err();
    assert_eq!(later.outcome(), TransactionOutcome::RolledBack);
    assert!(cluster.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_know_that_it_was_demoted_loses_what_it_accepts() {
    let cluster = ScriptedCluster::new(3, 1);
    let old = open(&cluster, 0).await.unwrap();
    old.run(&Statement::append(1)).await.unwrap();
    let mut plan = FailoverPlan::crash(1).old(Abandon::Unaware);
    plan.stale_dns = Duration::from_secs(5);
    cluster.fail_over(plan).await;
    old.run(&Statement::append(2)).await.unwrap();
    let new = open(&cluster, 1).await.unwrap();
    new.run(&Statement::append(3)).await.unwrap();
    let numbers = |written: Vec<wrapper_core::testkit::Written>| -> Vec<u64> {
        written.iter().map(|written| written.statement).collect()
    };
    assert_eq!(numbers(cluster.log()), [1, 3]);
    assert_eq!(numbers(cluster.lost()), [2]);
    let ask = || cluster.env().resolver().resolve("db.cluster-xyz.us-east-2.rds.amazonaws.com", 5432);
    assert_eq!(ask().await.unwrap()[0].to_string(), "10.0.0.1:5432");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(ask().await.unwrap()[0].to_string(), "10.0.0.2:5432");
    cluster.rejoin(0);
    assert_eq!(cluster.role(0), HostRole::Reader);
    assert!(old.is_closed());
}

async fn connector_run(seed: u64) -> String {
    let cluster = ScriptedCluster::new(3, seed);
    let trace = Trace::new(&cluster);
    let core = ConnectorCore::new(
        parts(&cluster, Settings::builder(), Vec::new(), vec![Arc::new(trace.clone())]).unwrap(),
    )
    .unwrap();
    let session = core.open::<FakeConnection>(SessionOptions::default()).await.unwrap();
    core.cluster()
        .core()
        .learn_topology(&(Arc::clone(&session.load().connection) as Arc<dyn DriverConnection>), soon())
        .await
        .unwrap();
    let client = FakeClient::new(session);
    let transaction = client.begin(1).await.unwrap();
    transaction.run(&Statement::add(2, 1, -5)).await.unwrap();
    transaction.run(&Statement::add(3, 2, 5)).await.unwrap();
    transaction.commit(4).await.unwrap();
    let dropped = client.begin(5).await.unwrap();
    dropped.run(&Statement::append(6)).await.unwrap();
    drop(dropped);
    client.run(&Statement::append(7)).await.unwrap();
    let written: Vec<u64> = cluster.log().iter().map(|written| written.statement).collect();
    assert_eq!(written, [2, 3, 7], "a dropped transaction leaves nothing");
    cluster.fail_over(FailoverPlan::crash(1)).await;
    let found = core.cluster().core().search_writer(soon()).await.unwrap();
    assert_eq!(found.topology.writer().unwrap().short_name(), "instance-2");
    cluster.env().sleep(Duration::from_secs(2)).await;
    core.shutdown().await;
    assert_eq!(cluster.monitors().open, 0);
    assert_eq!(core.cluster().task_count(), 0);
    trace.to_string()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_trace() {
    let first = connector_run(5).await;
    assert!(first.contains("writer instance-1 -> instance-2"), "{first}");
    assert_eq!(first, connector_run(5).await);
}
