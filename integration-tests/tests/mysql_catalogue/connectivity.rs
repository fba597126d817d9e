//! Connecting and calling on a healthy cluster.

use std::time::{Duration, Instant};

use integration_tests::local::Truth;
use integration_tests::{Cut, Flavour};
use mysql_async::prelude::Queryable;
use wrapper_core::host::HostRole;
use wrapper_mysql::{Connector, ErrorKind};

use crate::common::within;
use crate::faults::{Events, SLACK};
use crate::support::{builder, cluster, connect, connector, end, failed, node_of, truth_of};

/// Scenario 1: the bare driver and the library give the same rows.
/// Scenario 3: each endpoint leads to a server of its role.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_the_drivers_and_endpoints_lead_to_their_roles() {
    for flavour in [Flavour::Plain, Flavour::Aurora, Flavour::MultiAz] {
        let cluster = cluster(flavour).start().await.expect("the cluster starts");
        let connector = connector(&cluster);
        let mut session = connect(&connector).await;
        let mut bare = cluster.connect_app(cluster.writer()).await.expect("the bare driver connects");
        let sql = "SELECT 1 AS n, 'x' AS s, NULL AS nothing, 1.50 AS d UNION ALL SELECT 2, 'ü', NULL, -0.01";
        let ours: Vec<mysql_async::Row> = session.query(sql).await.expect("rows");
        let theirs: Vec<mysql_async::Row> = bare.query(sql).await.expect("rows");
        let values = |rows: &[mysql_async::Row]| -> Vec<Vec<mysql_async::Value>> {
            rows.iter().map(|row| row.clone().unwrap()).collect()
        };
        assert_eq!(values(&ours), values(&theirs), "{flavour:?}");
        assert_eq!(ours[0].columns_ref().len(), theirs[0].columns_ref().len());

        assert_eq!(truth_of(&cluster, &mut session).await, Truth::Writer, "{flavour:?}");
        assert_eq!(session.host().role, HostRole::Writer);
        let readers = connector.derive(&cluster.reader_endpoint()).expect("derived");
        let mut reader = connect(&readers).await;
        assert_eq!(truth_of(&cluster, &mut reader).await, Truth::Reader, "{flavour:?}");
        assert_eq!(reader.host().role, HostRole::Reader);
        for node in cluster.nodes() {
            let instance = connector.derive(&cluster.instance_endpoint(node)).expect("derived");
            let mut session = connect(&instance).await;
            assert_eq!(node_of(&cluster, &mut session).await, node, "{flavour:?}");
        }
        end(connector).await;
    }
}

/// Scenario 2: through a proxy; a proxy that lets nothing through ends the connect within its time limit, all attempts
/// together, on a connector that knows the cluster and on one that does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_nothing_answers_ends_within_its_limit() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let limit = |time: &str| {
        builder(&cluster, &cluster.cluster_endpoint()).set("connect_timeout", time).build().expect("valid")
    };
    let warm = limit("4s");
    connect(&warm).await.query_drop("SELECT 1").await.expect("answered");
    for node in cluster.nodes() {
        cluster.cut(node, Cut::StallBothWays).await.expect("cut");
    }
    let cold = limit("1s");
    // A server that accepts TCP and never answers: the backlog of a listener that nobody asks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = silent.local_addr().expect("an address").port();
    let alone = Connector::from_url(&format!("mysql://app@127.0.0.1:{port}/shop?connect_timeout=1s"));
    let alone = alone.expect("valid");
    for (connector, limit) in [(&cold, 1), (&alone, 1), (&warm, 4)] {
        let began = Instant::now();
        let error =
            failed(within("the connect", connector.connect()).await, "a connect that nothing answers");
        let (took, limit) = (began.elapsed(), Duration::from_secs(limit));
        println!("with {limit:?}: {took:?}: {error}");
        assert!(took < limit + SLACK && took > limit.mul_f64(0.9), "{took:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("connect_timeout"), "{error}");
    }
    for node in cluster.nodes() {
        cluster.heal(node).await.expect("healed");
    }
    connect(&cold).await;
    for connector in [cold, alone, warm] {
        end(connector).await;
    }
}

/// Scenario 4: a URL without a port.
#[tokio::test]
async fn the_port_has_a_default() {
    let url = "mysql://app@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop";
    let connector = Connector::from_url(url).expect("valid");
    let host = ("db.cluster-xyz.us-east-2.rds.amazonaws.com".to_owned(), 3306);
    assert_eq!(connector.settings().hosts(), [host]);
}

/// Scenario 5: on the reader endpoint, with host monitoring at its shortest, slow calls are not given up.
/// Scenario 6: values are bound, statements are used again.
#[tokio::test(flavor = "multi_thread")]
async fn host_monitoring_gives_no_slow_call_on_a_reader_up() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let events = Events::default();
    let connector = builder(&cluster, &cluster.reader_endpoint())
        .set("failure_detection_time", "100ms")
        .set("failure_detection_interval", "100ms")
        .set("failure_detection_count", "2")
        .observer(events.clone())
        .build()
        .expect("valid");
    let mut session = connect(&connector).await;
    assert_eq!(truth_of(&cluster, &mut session).await, Truth::Reader);
    let slow = session.prep("SELECT SLEEP(1), ?").await.expect("prepared");
    for text in ["a", "'; DROP TABLE t; --", "ü"] {
        let answer: Option<(i32, String)> =
            within("the slow call", session.exec_first(&slow, (text,))).await.expect("not given up");
        assert_eq!(answer, Some((0, text.to_owned())));
    }
    assert_eq!((events.silences(), connector.reports().len(), session.generation()), (0, 0, 1));
    assert!(!session.is_disconnected());
    end(connector).await;
}
