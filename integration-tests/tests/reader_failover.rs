//! A session on a reader, or one that may stand on a reader, loses its host: scenarios 17 to 20 of the catalogue.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, reason = "helpers of tests")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::{Duration, Instant};

use common::{builder, on_each, within};
use faults::{SLACK, cluster, end, node_of, truth_of};
use integration_tests::local::Truth;
use integration_tests::{Cut, Flavour, LocalCluster};
use wrapper_pg::{Connector, ErrorKind, Message};

fn connector(cluster: &LocalCluster, host: &str, mode: Option<&str>) -> Connector {
    let mut builder = builder(cluster, host)
        .set("failure_detection_time", "300ms")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3");
    if let Some(mode) = mode {
        builder = builder.set("failover_mode", mode);
    }
    builder.build().expect("valid")
}

/// Scenario 17: readers fall silent one after the other: the session moves to the other reader, then to the writer,
/// which is all that is left; when readers are back it stays where it is until it must move.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reader_is_replaced_by_a_reader_and_then_by_the_writer() {
    on_each(
        [Flavour::Aurora, Flavour::MultiAz],
        a_lost_reader_is_replaced_by_a_reader_and_then_by_the_writer_on,
    )
    .await;
}

async fn a_lost_reader_is_replaced_by_a_reader_and_then_by_the_writer_on(flavour: Flavour) {
    let cluster = cluster(flavour).with_proxy(true).start().await.expect("the cluster starts");
    let connector = connector(&cluster, &cluster.reader_endpoint(), None);
    let client = within("the connect", connector.connect()).await.expect("connected");
    let mut lost = Vec::new();
    for expected in [Truth::Reader, Truth::Writer] {
        let node = node_of(&cluster, &client).await;
        assert_ne!(node, cluster.writer());
        cluster.cut(node, Cut::StallBothWays).await.expect("cut");
        lost.push(node);
        let error =
            within("the call", client.execute("SELECT 1", &[])).await.expect_err("the reader is silent");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
        assert_eq!(truth_of(&cluster, &client).await, expected);
    }
    assert_eq!(node_of(&cluster, &client).await, cluster.writer());
    assert_eq!(client.generation(), 3);
    for node in lost {
        cluster.heal(node).await.expect("healed");
    }
    client.execute("SELECT 1", &[]).await.expect("answered");
    assert_eq!(client.generation(), 3);
    end(connector).await;
}

/// A listener is switched to a reader, where PostgreSQL refuses LISTEN: the switch succeeds, the gap is told, the rest of
/// the state is carried over; the next switch, to the writer, takes the LISTENs up again.
#[tokio::test(flavor = "multi_thread")]
async fn listen_survives_a_stay_on_a_reader() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let connector = connector(&cluster, &cluster.cluster_endpoint(), Some("reader-or-writer"));
    let client = within("the connect", connector.connect()).await.expect("connected");
    let mut messages = client.notifications();
    client.batch_execute("LISTEN jobs; SET lock_timeout = '13s'; LISTEN given_up").await.expect("listening");
    let writer = cluster.writer();
    for expected in [Truth::Reader, Truth::Reader, Truth::Writer] {
        if expected == Truth::Writer {
            cluster.heal(writer).await.expect("healed");
        }
        let node = node_of(&cluster, &client).await;
        cluster.cut(node, Cut::StallBothWays).await.expect("cut");
        let error =
            within("the call", client.execute("SELECT 1", &[])).await.expect_err("the host is silent");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
        assert!(matches!(within("the gap", messages.recv()).await, Some(Message::Gap)));
        assert_eq!(truth_of(&cluster, &client).await, expected);
        let timeout: String = client.query_one_scalar("SHOW lock_timeout", &[]).await.expect("a setting");
        assert_eq!(timeout, "13s");
        if expected == Truth::Reader {
            let error = client.batch_execute("LISTEN jobs").await.expect_err("refused by the server");
            assert_eq!(error.sqlstate(), Some("25006"), "{error}");
        }
    }
    client.batch_execute("UNLISTEN given_up; NOTIFY given_up; NOTIFY jobs, 'again'").await.expect("notified");
    match within("a notification", messages.recv()).await {
        Some(Message::Notification(notification)) => assert_eq!(notification.payload(), "again"),
        other => panic!("{other:?}"),
    }
    end(connector).await;
}

/// Scenario 18: `reader-or-writer` on the writer endpoint: any live host, while nobody is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn reader_or_writer_takes_any_live_host() {
    on_each([Flavour::Aurora, Flavour::MultiAz], reader_or_writer_takes_any_live_host_on).await;
}

async fn reader_or_writer_takes_any_live_host_on(flavour: Flavour) {
    let cluster = cluster(flavour).with_proxy(true).start().await.expect("the cluster starts");
    let connector = connector(&cluster, &cluster.cluster_endpoint(), Some("reader-or-writer"));
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
    let writer = cluster.writer();
    cluster.cut(writer, Cut::StallBothWays).await.expect("cut");
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("the writer is silent");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_ne!(node_of(&cluster, &client).await, writer);
    end(connector).await;
}

/// Scenario 19: `strict-reader`: after a crash of the writer with a promotion the session ends on a reader by its
/// own word, whichever node was promoted: from the writer, and from a reader that may have become the writer.
#[tokio::test(flavor = "multi_thread")]
async fn strict_reader_ends_on_a_reader_after_a_promotion() {
    on_each([Flavour::Aurora, Flavour::MultiAz], strict_reader_ends_on_a_reader_after_a_promotion_on).await;
}

async fn strict_reader_ends_on_a_reader_after_a_promotion_on(flavour: Flavour) {
    for endpoint in [LocalCluster::cluster_endpoint, LocalCluster::reader_endpoint] {
        let cluster = cluster(flavour).start().await.expect("the cluster starts");
        let connector = connector(&cluster, &endpoint(&cluster), Some("strict-reader"));
        let client = within("the connect", connector.connect()).await.expect("connected");
        let stood_on = node_of(&cluster, &client).await;
        let from_a_reader = stood_on != cluster.writer();
        let record = cluster.fail_over().await.expect("failed over");
        if from_a_reader {
            cluster.rejoin(record.old_writer).await.expect("the old writer is back as a reader");
            if stood_on == record.new_writer {
                cluster.fail_over().await.expect("failed over");
            } else {
                cluster.crash(stood_on).await.expect("crashed");
            }
        }
        let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("the host is gone");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
        let node = node_of(&cluster, &client).await;
        assert_ne!(node, cluster.writer());
        assert_eq!(cluster.truth().await[node.index()], Truth::Reader);
        end(connector).await;
    }
}

/// Scenario 20: `strict-reader`, and the writer returns as the writer: the session ends on a reader.
#[tokio::test(flavor = "multi_thread")]
async fn strict_reader_ends_on_a_reader_when_the_writer_returns() {
    on_each([Flavour::Aurora, Flavour::MultiAz], strict_reader_ends_on_a_reader_when_the_writer_returns_on)
        .await;
}

async fn strict_reader_ends_on_a_reader_when_the_writer_returns_on(flavour: Flavour) {
    let cluster = cluster(flavour).start().await.expect("the cluster starts");
    let connector = connector(&cluster, &cluster.cluster_endpoint(), Some("strict-reader"));
    let client = within("the connect", connector.connect()).await.expect("connected");
    let writer = cluster.writer();
    cluster.crash(writer).await.expect("crashed");
    cluster.restart(writer).await.expect("restarted");
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("the writer was down");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_ne!(node_of(&cluster, &client).await, writer);
    assert_eq!(truth_of(&cluster, &client).await, Truth::Reader);
    end(connector).await;
}

/// `strict-reader` does not settle for the writer: with no reader left the call fails in its time, and the session is
/// taken up again when a reader is back.
#[tokio::test(flavor = "multi_thread")]
async fn strict_reader_never_takes_the_writer() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let connector = builder(&cluster, &cluster.reader_endpoint())
        .set("failover_mode", "strict_reader")
        .set("failover_timeout", "2s")
        .build()
        .expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    let [first, second] = cluster.readers();
    cluster.crash(first).await.expect("crashed");
    cluster.crash(second).await.expect("crashed");
    let began = Instant::now();
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("no reader is left");
    assert_eq!(error.kind(), ErrorKind::FailoverFailed, "{error}");
    assert!(began.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", began.elapsed());

    cluster.restart(first).await.expect("restarted");
    let error =
        within("the call", client.execute("SELECT 1", &[])).await.expect_err("the connection was lost");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(node_of(&cluster, &client).await, first);
    end(connector).await;
}
