//! Connecting and calling on a healthy cluster: scenarios 1 to 6 of the catalogue.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, reason = "helpers of tests")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{builder, connector, within};
use faults::{Events, SLACK, cluster, end, node_of, truth_of};
use integration_tests::local::Truth;
use integration_tests::{Cut, Flavour, LocalCluster};
use wrapper_core::host::HostRole;
use wrapper_core::plugin::{BuildContext, Call, MethodSet, OrderClass, Plugin, PluginFactory};
use wrapper_pg::{Connector, ErrorKind};

/// Scenario 1: the bare driver and the library give the same rows.
/// Scenario 3: each endpoint leads to a server of its role.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_the_drivers_and_endpoints_lead_to_their_roles() {
    for flavour in [Flavour::Plain, Flavour::Aurora, Flavour::MultiAz] {
        let cluster = cluster(flavour).start().await.expect("the cluster starts");
        let connector = connector(&cluster);
        let client = within("the connect", connector.connect()).await.expect("connected");
        let bare = cluster.connect_app(cluster.writer()).await.expect("the bare driver connects");
        let sql = "SELECT n, n::text || 'x', NULL::date FROM generate_series(1, 100) AS n ORDER BY n";
        let (ours, theirs) =
            (client.query(sql, &[]).await.expect("rows"), bare.query(sql, &[]).await.expect("rows"));
        let values = |rows: &[wrapper_pg::Row]| -> Vec<(i32, String)> {
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        assert_eq!(values(&ours), values(&theirs), "{flavour:?}");
        assert_eq!(ours[0].columns().len(), theirs[0].columns().len());

        assert_eq!(truth_of(&cluster, &client).await, Truth::Writer, "{flavour:?}");
        assert_eq!(client.host().role, HostRole::Writer);
        let reader = connector.derive(&cluster.reader_endpoint()).expect("derived");
        let reader = within("the connect to a reader", reader.connect()).await.expect("connected");
        assert_eq!(truth_of(&cluster, &reader).await, Truth::Reader, "{flavour:?}");
        assert_eq!(reader.host().role, HostRole::Reader);
        for node in cluster.nodes() {
            let instance = connector.derive(&cluster.instance_endpoint(node)).expect("derived");
            let instance = within("the connect to an instance", instance.connect()).await.expect("connected");
            assert_eq!(node_of(&cluster, &instance).await, node, "{flavour:?}");
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
    let client = within("the connect", warm.connect()).await.expect("connected");
    let one: i32 = client.query_one_scalar("SELECT 1", &[]).await.expect("answered");
    assert_eq!(one, 1);

    for node in cluster.nodes() {
        cluster.cut(node, Cut::StallBothWays).await.expect("cut");
    }
    let cold = limit("1s");
    // A server that accepts TCP and never answers: the backlog of a listener that nobody asks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = silent.local_addr().expect("an address").port();
    let alone = Connector::from_url(&format!("postgres://app@127.0.0.1:{port}/shop?connect_timeout=1s"));
    let alone = alone.expect("valid");
    for (connector, limit) in [(&cold, 1), (&alone, 1), (&warm, 4)] {
        let began = Instant::now();
        let error = within("the connect", connector.connect()).await.expect_err("nothing answers");
        let (took, limit) = (began.elapsed(), Duration::from_secs(limit));
        println!("with {limit:?}: {took:?}: {error}");
        assert!(took < limit + SLACK && took > limit.mul_f64(0.9), "{took:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("connect_timeout"), "{error}");
    }
    for node in cluster.nodes() {
        cluster.heal(node).await.expect("healed");
    }
    within("the connect", cold.connect()).await.expect("connected after the cut");
    for connector in [cold, alone, warm] {
        end(connector).await;
    }
}

/// Scenario 4: a URL without a port; profiles by name.
#[tokio::test]
async fn ports_have_a_default_and_unknown_profiles_are_refused() {
    let connector =
        Connector::from_url("postgres://app@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop").expect("valid");
    let host = ("db.cluster-xyz.us-east-2.rds.amazonaws.com".to_owned(), 5432);
    assert_eq!(connector.settings().hosts(), [host]);
    let error =
        Connector::from_url("postgres://app@db.example.com/shop?profile_name=nowhere").expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("profile_name") && error.to_string().contains("nowhere"), "{error}");
}

/// Scenario 5: on the reader endpoint, with host monitoring at its shortest, slow calls are not given up.
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
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(truth_of(&cluster, &client).await, Truth::Reader);
    for _ in 0..3 {
        let slow = client.query_one_scalar("SELECT 7 FROM pg_sleep(1)", &[]);
        let answer: i32 = within("the slow call", slow).await.expect("not given up");
        assert_eq!(answer, 7);
    }
    assert_eq!((events.silences(), connector.reports().len(), client.generation()), (0, 0, 1));
    assert!(!client.is_closed());
    end(connector).await;
}

/// Writes down the text of every call.
#[derive(Clone, Debug, Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

impl PluginFactory for Listener {
    fn name(&self) -> &'static str {
        "listener"
    }

    fn build(&self, _: &BuildContext<'_>) -> wrapper_pg::Result<Arc<dyn Plugin>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Plugin for Listener {
    fn name(&self) -> &'static str {
        "listener"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::ENTER_LEAVE
    }

    fn enter(&self, call: &Call<'_>) {
        self.0.lock().expect("no panic").push(call.sql.unwrap_or_default().to_owned());
    }
}

/// Scenario 6: values are bound, statements are used again, a statement's time limit passes unchanged, plugins see
/// the text.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_bound_statements_are_reused_and_plugins_see_the_text() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let listener = Listener::default();
    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).plugin(listener.clone()).build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    let statement = client.prepare("SELECT $1::text || $2::int8").await.expect("prepared");
    for (text, number) in [("a", 1_i64), ("'; DROP TABLE t; --", 2), ("ü", i64::MAX)] {
        let bound: String = client.query_one_scalar(&statement, &[&text, &number]).await.expect("answered");
        assert_eq!(bound, format!("{text}{number}"));
    }
    let wrong = client.query(&statement, &[&"only one"]).await.expect_err("one value is missing");
    assert_eq!(wrong.kind(), ErrorKind::Driver, "{wrong}");

    client.batch_execute("SET statement_timeout = '50ms'").await.expect("set");
    let late = client.query("SELECT pg_sleep(10)", &[]);
    let error = within("the slow call", late).await.expect_err("over its time");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Statement, Some("57014")), "{error}");
    let one: i32 = client.query_one_scalar("SELECT 1", &[]).await.expect("the connection goes on");
    assert_eq!((one, client.generation()), (1, 1));

    let heard = listener.0.lock().expect("no panic").clone();
    assert_eq!(heard.iter().filter(|text| *text == "SELECT $1::text || $2::int8").count(), 5, "{heard:?}");
    assert!(heard.iter().any(|text| text == "SELECT pg_sleep(10)"), "{heard:?}");
    end(connector).await;
}

/// A cluster with no metadata of its own, named by all its hosts: the writer is found by asking.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_plain_hosts_the_writer_is_taken() {
    let cluster: LocalCluster = cluster(Flavour::Plain).start().await.expect("the cluster starts");
    let [first, second] = cluster.readers();
    let connector = builder(&cluster, &cluster.instance_endpoint(first))
        .host_and_port(&cluster.instance_endpoint(second), cluster.port())
        .host_and_port(&cluster.instance_endpoint(cluster.writer()), cluster.port())
        .build()
        .expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(node_of(&cluster, &client).await, cluster.writer());
    end(connector).await;
}
