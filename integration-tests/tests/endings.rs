//! Endings on bad days: shutdown, drop and the end of the runtime, in the middle of a failover and on frozen hosts.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{LIMIT, builder, connector, within};
use integration_tests::{Cut, LocalCluster};
use support::{END, Events, aurora, aurora_promoting_after, ended, failed, until};
use wrapper_core::observe::Event;
use wrapper_pg::{Client, Connector, Error, ErrorKind};

/// Nobody is promoted within the test.
const NEVER: Duration = Duration::from_secs(3600);

/// A cluster without a writer, and a client whose call waits in the middle of a failover.
async fn in_mid_failover(
    cluster: &LocalCluster,
) -> (Connector, Arc<Client>, tokio::task::JoinHandle<Result<u64, Error>>) {
    let connector = connector(cluster);
    let client = Arc::new(within("the connect", connector.connect()).await.expect("connected"));
    cluster.crash(cluster.writer()).await.expect("crashed");
    let caller = Arc::clone(&client);
    let call = tokio::spawn(async move { caller.execute("INSERT INTO t VALUES (1)", &[]).await });
    until("a caller is held", || async {
        // The session's connection, the monitor and its probes, the switch.
        connector.cluster().task_count() >= 4
    })
    .await;
    assert!(!call.is_finished());
    (connector, client, call)
}

/// Scenario 80: `shutdown` in the middle of a failover ends it: the caller gets *closed*, nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_in_the_middle_of_a_failover_ends_it() {
    let cluster = aurora_promoting_after(NEVER).await;
    let (connector, client, call) = in_mid_failover(&cluster).await;
    ended(&connector).await;
    let error = failed(within("the call", call).await.expect("no panic"), "the call");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    let error = failed(within("the next call", client.execute("SELECT 1", &[])).await, "the next call");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    let error = failed(within("the next connect", connector.connect()).await, "the next connect");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    // What a call starts on a connector that was shut down ends at its first poll.
    until("no task is left", || async { connector.cluster().task_count() == 0 }).await;
}

/// Everything of a connector dropped in the middle of a failover: its tasks end, its memory is given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_connector_dropped_in_the_middle_of_a_failover_leaves_nothing() {
    let cluster = aurora_promoting_after(NEVER).await;
    let (connector, client, call) = in_mid_failover(&cluster).await;
    let core = Arc::clone(connector.cluster().core());
    drop(connector);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!call.is_finished(), "clients keep the cluster alive");
    call.abort();
    drop(client);
    let begin = Instant::now();
    until("the tasks end", || async { core.task_count() == 0 }).await;
    assert!(begin.elapsed() < END + Duration::from_millis(500), "{:?}", begin.elapsed());
}

/// A connector that is dropped gives its memory back, its observers included.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connector_gives_its_memory_back() {
    let cluster = aurora().await;
    let events = Events::default();
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .observer(events.clone())
        .build()
        .expect("the configuration is valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.query("SELECT 1", &[]).await.expect("answered");
    ended(&connector).await;
    drop((client, connector));
    until("the cluster's memory is given back", || async { events.handles() == 1 }).await;
}

/// Nothing comes through in either direction, for ever: whatever the client does, `shutdown` and drop end in their
/// bound, the call in flight ends with a typed error, and no task is left.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_both_ways_everything_ends_in_its_bound() {
    let cluster = aurora().await;
    for shut_down in [true, false] {
        let connector = connector(&cluster);
        let idle = within("the connect", connector.connect()).await.expect("connected");
        let querying = within("the connect", connector.connect()).await.expect("connected");
        let mut working = within("the connect", connector.connect()).await.expect("connected");
        let core = Arc::clone(connector.cluster().core());
        let tx = working.transaction().await.expect("begun");
        tx.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
        for node in cluster.nodes() {
            cluster.cut(node, Cut::StallBothWays).await.expect("cut");
        }
        let querying = tokio::spawn(async move { querying.query("SELECT 1", &[]).await.map(|_| ()) });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!querying.is_finished());
        let begin = Instant::now();
        if shut_down {
            ended(&connector).await;
            let error = failed(within("the query", querying).await.expect("no panic"), "the query");
            assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
            let error = failed(within("the insert", tx.execute("SELECT 1", &[])).await, "the insert");
            assert!(!error.to_string().is_empty());
            failed(within("the commit", tx.commit()).await, "the commit");
            drop((idle, working, connector));
        } else {
            querying.abort();
            drop(tx);
            drop((idle, working, connector));
            until("the tasks end", || async { core.task_count() == 0 }).await;
            assert!(begin.elapsed() < END + Duration::from_millis(500), "{:?}", begin.elapsed());
        }
        // What a call starts on a connector that was shut down ends at its first poll.
        until("no task is left", || async { core.task_count() == 0 }).await;
        for node in cluster.nodes() {
            cluster.heal(node).await.expect("healed");
        }
        until("the servers have undone the work", || async { support::rows(&cluster, 1).await == 0 }).await;
    }
}

/// Starts `work` on a runtime of its own in a thread, and ends that runtime: how long that took, and what `work` gave.
async fn on_a_runtime_that_ends<T: Send + 'static>(
    work: impl FnOnce(&tokio::runtime::Runtime) -> T + Send + 'static,
) -> (Duration, T) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let kept = work(&runtime);
        let begin = Instant::now();
        drop(runtime);
        sender.send((begin.elapsed(), kept)).expect("the test waits");
    });
    let received = tokio::task::spawn_blocking(move || receiver.recv_timeout(LIMIT)).await.expect("no panic");
    let ended = received.expect("the runtime ended");
    thread.join().expect("no panic");
    ended
}

/// Scenario 80: the runtime ends in the middle of a failover: that does not hang, and a client that outlives it answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_runtime_in_the_middle_of_a_failover_does_not_hang() {
    let cluster = Arc::new(aurora_promoting_after(NEVER).await);
    let inner = Arc::clone(&cluster);
    let outer = tokio::runtime::Handle::current();
    let (took, (connector, client)) = on_a_runtime_that_ends(move |runtime| {
        let connector = connector(&inner);
        let client = Arc::new(runtime.block_on(connector.connect()).expect("connected"));
        outer.block_on(inner.crash(inner.writer())).expect("crashed");
        let caller = Arc::clone(&client);
        runtime.spawn(async move { caller.execute("INSERT INTO t VALUES (1)", &[]).await });
        let end = Instant::now() + LIMIT;
        while connector.cluster().task_count() < 4 {
            assert!(Instant::now() < end, "no failover began");
            std::thread::sleep(Duration::from_millis(5));
        }
        (connector, client)
    })
    .await;
    assert!(took < END, "the end of the runtime took {took:?}");
    let error = failed(within("a call after it", client.execute("SELECT 1", &[])).await, "a call after it");
    println!("after the runtime's end: {error}");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    ended(&connector).await;
}

/// Scenario 80: the runtime ends while nothing comes through in either direction, with a query, a transaction and an idle client
/// open and host monitoring at work: a process that returns from its main function is gone at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_runtime_on_frozen_hosts_does_not_hang() {
    let cluster = Arc::new(aurora().await);
    let inner = Arc::clone(&cluster);
    let outer = tokio::runtime::Handle::current();
    let (took, core) = on_a_runtime_that_ends(move |runtime| {
        let events = Events::default();
        let connector = support::watchful(&inner).observer(events.clone()).build().expect("valid");
        let idle = runtime.block_on(connector.connect()).expect("connected");
        let querying = runtime.block_on(connector.connect()).expect("connected");
        let mut working = runtime.block_on(connector.connect()).expect("connected");
        let tx = runtime.block_on(working.transaction()).expect("begun");
        runtime.block_on(tx.execute("INSERT INTO t VALUES (1)", &[])).expect("inserted");
        for node in inner.nodes() {
            outer.block_on(inner.cut(node, Cut::StallBothWays)).expect("cut");
        }
        runtime.spawn(async move { querying.query("SELECT 1", &[]).await.map(|_| ()) });
        // Into the search for a host that answers.
        let end = Instant::now() + LIMIT;
        while events.count(|event| matches!(event, Event::HostSilent { .. })) == 0 {
            assert!(Instant::now() < end, "no failover began");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(tx);
        drop((idle, working));
        Arc::clone(connector.cluster().core())
    })
    .await;
    assert!(took < END, "the end of the runtime took {took:?}");
    assert_eq!(core.task_count(), 0, "tasks after the end of their runtime");
}
