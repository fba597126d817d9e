//! Many callers, many clients, many failovers: one switch a session, one search a cluster, the budget of R7.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{builder, connector, within};
use futures_util::future::join_all;
use integration_tests::local::ConnectionFilter;
use integration_tests::{Flavour, LocalCluster};
use support::{Events, aurora, aurora_promoting_after, ended, failed, rows, until};
use wrapper_core::host::HostRole;
use wrapper_pg::{Client, ErrorKind};

const STEP: Duration = Duration::from_secs(30);
const MONITOR: &str = "aws-advanced-rust-wrapper-monitor";

/// The library's monitoring connections on each node; `None` for a node that does not answer.
async fn monitors(cluster: &LocalCluster) -> Vec<Option<u64>> {
    let filter = ConnectionFilter::all().application(MONITOR);
    let filter = &filter;
    join_all(cluster.nodes().map(|node| async move { cluster.count_connections(node, filter).await.ok() }))
        .await
}

async fn name(client: &Client) -> String {
    client.query_one_scalar("SELECT aurora_db_instance_identifier()", &[]).await.expect("answered")
}

/// Scenario 80: failovers one after another, and two before the client says anything: each time the client ends on the writer.
#[tokio::test(flavor = "multi_thread")]
async fn failovers_in_a_row() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    for round in 1..=2 {
        let record = cluster.fail_over().await.expect("failed over");
        let error =
            failed(within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await, "a call");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "round {round}: {error:?}");
        within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await.expect("inserted");
        assert_eq!(name(&client).await, cluster.instance(record.new_writer), "round {round}");
        cluster.wait_until_healthy(STEP).await.expect("healthy again");
    }
    // Two that the client has not heard of.
    cluster.fail_over().await.expect("failed over");
    cluster.wait_until_healthy(STEP).await.expect("healthy again");
    let record = cluster.fail_over().await.expect("failed over");
    let error = failed(within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await, "a call");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    assert_eq!(name(&client).await, cluster.instance(record.new_writer));
    cluster.wait_until_healthy(STEP).await.expect("healthy again");
    drop(client);
    ended(&connector).await;
}

/// Two failovers at once: the next writer dies as soon as it accepts writes, while the client looks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_dies_as_soon_as_it_was_promoted_is_left_too() {
    // With two of three nodes gone no standby is left that a commit could wait for.
    let cluster = LocalCluster::builder()
        .flavour(Flavour::Aurora)
        .rejoin_after(None)
        .server_setting("synchronous_standby_names", "")
        .start()
        .await
        .expect("the cluster starts");
    support::sql(&cluster, "CREATE TABLE t (id bigint); GRANT ALL ON t TO PUBLIC").await;
    cluster.wait_until_caught_up(cluster.readers()[0], STEP).await.expect("caught up");
    cluster.wait_until_caught_up(cluster.readers()[1], STEP).await.expect("caught up");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    let stop = AtomicBool::new(false);
    let write = async {
        let mut errors = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = client.execute("INSERT INTO t VALUES (2)", &[]).await {
                errors.push(error);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        errors
    };
    let fault = async {
        cluster.fail_over().await.expect("failed over");
        let record = cluster.fail_over().await.expect("failed over at once");
        let written = rows(&cluster, 2).await;
        until("a write on the last writer", || async { rows(&cluster, 2).await > written }).await;
        stop.store(true, Ordering::Relaxed);
        record
    };
    let (errors, record) = within("the failovers", async { tokio::join!(write, fault) }).await;
    for error in &errors {
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    }
    assert!((1..=2).contains(&errors.len()), "{errors:?}");
    assert_eq!(name(&client).await, cluster.instance(record.new_writer));
    drop(client);
    ended(&connector).await;
}

/// A hundred callers of one client during a crash share one switch: each gets its answer or a finished failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_of_one_client_share_one_switch() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let client = Arc::new(within("the connect", connector.connect()).await.expect("connected"));
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut errors = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = client.query("SELECT 1", &[]).await {
                        errors.push(error);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                errors
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.fail_over().await.expect("failed over");
    until("the switch", || async { client.generation() == 2 }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let mut told = 0;
    for caller in callers {
        let errors = within("a caller", caller).await.expect("no panic");
        assert!(errors.len() <= 1, "a caller was told twice: {errors:?}");
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
            told += 1;
        }
    }
    assert!(told > 0, "nobody called during the crash");
    let reports = connector.reports();
    assert_eq!(reports.len(), 1, "one switch for {told} callers");
    assert!(reports[0].succeeded());
    println!("{told} callers were told\n{}", reports[0]);
    assert_eq!(client.generation(), 2);
    drop(client);
    ended(&connector).await;
}

/// A hundred clients of one connector: one search, at most one monitoring connection at rest and one a host while
/// the writer is searched, counted on the servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_share_one_search_within_the_budget() {
    let cluster = aurora_promoting_after(Duration::from_secs(1)).await;
    let events = Events::default();
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .observer(events.clone())
        .build()
        .expect("the configuration is valid");
    let mut clients = Vec::new();
    for batch in 0..4 {
        let connects = join_all((0..25).map(|_| connector.connect()));
        for client in within("the connects", connects).await {
            clients.push(client.unwrap_or_else(|error| panic!("batch {batch}: {error}")));
        }
    }
    // The search at the start ends with the first topology.
    until("the monitor is at rest", || async {
        monitors(&cluster).await.into_iter().flatten().sum::<u64>() == 1
    })
    .await;
    for _ in 0..10 {
        let at_rest = monitors(&cluster).await;
        assert!(at_rest.iter().flatten().sum::<u64>() <= 1, "at rest: {at_rest:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let before = events.searches();

    let stop = AtomicBool::new(false);
    let count = async {
        let mut most = vec![0; 3];
        let mut samples = 0;
        while !stop.load(Ordering::Relaxed) {
            for (most, now) in most.iter_mut().zip(monitors(&cluster).await) {
                *most = u64::max(*most, now.unwrap_or(0));
            }
            samples += 1;
        }
        (most, samples)
    };
    let calls = async {
        let fail_over = cluster.fail_over();
        let calls = join_all(clients.iter().map(|client| async {
            loop {
                if let Err(error) = client.execute("INSERT INTO t VALUES (1)", &[]).await {
                    break error;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        let (record, errors) = tokio::join!(fail_over, calls);
        stop.store(true, Ordering::Relaxed);
        (record.expect("failed over"), errors)
    };
    let ((most, samples), (record, errors)) =
        within("the failover", async { tokio::join!(count, calls) }).await;
    println!("most monitoring connections a host: {most:?} in {samples} samples");
    for error in &errors {
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    }
    assert!(most.iter().all(|most| *most <= 1), "{most:?}");
    assert_eq!(events.searches() - before, 1, "one search for all");
    let reports = connector.reports();
    assert!(reports.iter().all(|report| report.succeeded()), "{reports:?}");
    for client in &clients {
        assert_eq!((client.host().role, client.generation()), (HostRole::Writer, 2));
    }
    let again = join_all(clients.iter().map(|client| client.execute("INSERT INTO t VALUES (2)", &[])));
    for result in within("the next calls", again).await {
        result.expect("inserted on the new writer");
    }
    assert_eq!(rows(&cluster, 2).await, 100);
    assert_eq!(name(&clients[0]).await, cluster.instance(record.new_writer));
    until("the monitor is at rest again", || async {
        monitors(&cluster).await.into_iter().flatten().sum::<u64>() <= 1
    })
    .await;
    drop(clients);
    ended(&connector).await;
    until("no monitoring connection is left", || async {
        monitors(&cluster).await.into_iter().flatten().sum::<u64>() == 0
    })
    .await;
}

/// R5: the caller that started the switch may go away; the switch goes on, and the next call finds it done.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_goes_on_when_its_caller_is_gone() {
    let cluster = aurora_promoting_after(Duration::from_secs(1)).await;
    let events = Events::default();
    let connector = builder(&cluster, &cluster.cluster_endpoint())
        .observer(events.clone())
        .build()
        .expect("the configuration is valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    let fail_over = cluster.fail_over();
    let calls = async {
        let begun = until("the failover begins", || async { events.failing_over() });
        let call = async {
            while client.execute("SELECT 1", &[]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            biased;
            () = call => panic!("the call was answered before it could be dropped"),
            () = begun => {}
        }
    };
    let (record, ()) = within("the failover", async { tokio::join!(fail_over, calls) }).await;
    let record = record.expect("failed over");
    // Nobody calls: the session moves all the same.
    until("the switch without a caller", || async { connector.reports().len() == 1 }).await;
    assert!(connector.reports()[0].succeeded(), "{}", connector.reports()[0]);
    assert_eq!(client.generation(), 2);
    assert_eq!(connector.reports()[0].callers_held, 0);
    within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await.expect("the session has moved");
    assert_eq!(name(&client).await, cluster.instance(record.new_writer));
    drop(client);
    ended(&connector).await;
}
