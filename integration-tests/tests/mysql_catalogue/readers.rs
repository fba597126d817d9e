//! A session on a reader, or one that may stand on a reader, loses its host; sessions are spread over readers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::local::Truth;
use integration_tests::{Cut, Flavour, MySqlCluster, NodeId};
use wrapper_mysql::{Connector, ErrorKind};

use crate::common::within;
use crate::faults::SLACK;
use crate::support::{builder, cluster, connect, end, failed, moved, node_of, truth_of, watchful};

fn in_mode(cluster: &MySqlCluster, host: &str, mode: &str) -> Connector {
    watchful(cluster, host).set("failover_mode", mode).build().expect("valid")
}

/// Scenario 17: readers fall silent one after the other: the session moves to the other reader, then to the writer,
/// which is all that is left; when readers are back it stays where it is until it must move.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reader_is_replaced_by_a_reader_and_then_by_the_writer() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let connector = watchful(&cluster, &cluster.reader_endpoint()).build().expect("valid");
    let mut session = connect(&connector).await;
    let mut lost = Vec::new();
    for expected in [Truth::Reader, Truth::Writer] {
        let node = node_of(&cluster, &mut session).await;
        assert_ne!(node, cluster.writer());
        cluster.cut(node, Cut::StallBothWays).await.expect("cut");
        lost.push(node);
        moved(&mut session).await;
        assert_eq!(truth_of(&cluster, &mut session).await, expected);
    }
    assert_eq!((node_of(&cluster, &mut session).await, session.generation()), (cluster.writer(), 3));
    for node in lost {
        cluster.heal(node).await.expect("healed");
    }
    session.query_drop("SELECT 1").await.expect("answered");
    assert_eq!(session.generation(), 3);
    end(connector).await;
}

/// Scenario 18: `reader-or-writer` on the writer endpoint: any live host, while nobody is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn reader_or_writer_takes_any_live_host() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let connector = in_mode(&cluster, &cluster.cluster_endpoint(), "reader-or-writer");
    let mut session = connect(&connector).await;
    let writer = cluster.writer();
    assert_eq!(node_of(&cluster, &mut session).await, writer);
    cluster.cut(writer, Cut::StallBothWays).await.expect("cut");
    moved(&mut session).await;
    assert_ne!(node_of(&cluster, &mut session).await, writer);
    end(connector).await;
}

/// Scenario 19: `strict-reader`: after a crash of the writer with a promotion the session ends on a reader by its
/// own word, whichever node was promoted. Scenario 20: also when nobody is promoted and the writer returns.
#[tokio::test(flavor = "multi_thread")]
async fn strict_reader_ends_on_a_reader() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let connector = in_mode(&cluster, &cluster.cluster_endpoint(), "strict-reader");
    let (mut first, mut second) = (connect(&connector).await, connect(&connector).await);
    let writer = cluster.writer();
    cluster.crash(writer).await.expect("crashed");
    cluster.restart(writer).await.expect("restarted");
    moved(&mut first).await;
    assert_eq!(cluster.writer(), writer);
    assert_eq!(truth_of(&cluster, &mut first).await, Truth::Reader);

    let record = cluster.fail_over().await.expect("failed over");
    moved(&mut second).await;
    assert_ne!(node_of(&cluster, &mut second).await, record.new_writer);
    assert_eq!(truth_of(&cluster, &mut second).await, Truth::Reader);
    end(connector).await;
}

/// Scenario 19: `strict-reader` does not settle for the writer: with no reader left the call fails in its time, and the
/// session is taken up again when a reader is back.
#[tokio::test(flavor = "multi_thread")]
async fn strict_reader_never_takes_the_writer() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let connector = builder(&cluster, &cluster.reader_endpoint())
        .set("failover_mode", "strict_reader")
        .set("failover_timeout", "2s")
        .build()
        .expect("valid");
    let mut session = connect(&connector).await;
    let [first, second] = cluster.readers();
    cluster.crash(first).await.expect("crashed");
    cluster.crash(second).await.expect("crashed");
    let began = Instant::now();
    let error =
        failed(within("the call", session.query_drop("SELECT 1")).await, "a call with no reader left");
    assert_eq!(error.kind(), ErrorKind::FailoverFailed, "{error}");
    assert!(began.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", began.elapsed());

    cluster.restart(first).await.expect("restarted");
    moved(&mut session).await;
    assert_eq!(node_of(&cluster, &mut session).await, first);
    end(connector).await;
}

/// Scenario 74: connections opened at the same time are spread over the readers as the setting says, and never end on
/// the writer.
#[tokio::test(flavor = "multi_thread")]
async fn connects_to_the_reader_endpoint_are_spread() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    for strategy in ["random", "round_robin"] {
        let connector = builder(&cluster, &cluster.reader_endpoint())
            .set("reader_host_selector_strategy", strategy)
            .build()
            .expect("valid");
        // The first connect learns the topology.
        drop(connect(&connector).await);
        let mut nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
        for mut session in join_all((0..24).map(|_| connect(&connector))).await {
            *nodes.entry(node_of(&cluster, &mut session).await).or_default() += 1;
        }
        assert_eq!(nodes.keys().copied().collect::<Vec<_>>(), cluster.readers(), "{strategy}: {nodes:?}");
        if strategy == "round_robin" {
            assert!(nodes.values().all(|count| *count == 12), "{strategy}: {nodes:?}");
        }
        end(connector).await;
    }
}
