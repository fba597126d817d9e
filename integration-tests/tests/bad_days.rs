//! Bad days: topologies that contradict or say nothing, a password changed at the wrong moment, a server that never
//! answers, a proxy's name, two clusters in one.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, reason = "helpers of tests")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::{Duration, Instant};

use common::{builder, connector, within};
use faults::{Events, SLACK, cluster, end, node_of, truth_of, until};
use integration_tests::local::Truth;
use integration_tests::{Flavour, FreezeScope, LocalCluster};
use wrapper_core::host::HostRole;
use wrapper_core::observe::Event;
use wrapper_pg::{Error, ErrorKind};

/// Runs SQL as the superuser on the writer, in the application's database, and waits until both readers have it.
async fn on_the_writer(cluster: &LocalCluster, sql: &str) {
    let admin = cluster.connect_superuser(cluster.writer()).await.expect("connected");
    admin.batch_execute(sql).await.expect("done");
    for node in cluster.readers() {
        cluster.wait_until_caught_up(node, Duration::from_secs(20)).await.expect("caught up");
    }
}

/// Lets the metadata function of Aurora answer with other rows.
async fn let_aurora_say(cluster: &LocalCluster, condition: &str, session: &str) {
    let sql = format!(
        "ALTER FUNCTION pg_catalog.aurora_replica_status() RENAME TO true_replica_status;
         CREATE FUNCTION pg_catalog.aurora_replica_status() RETURNS TABLE (
           server_id text, session_id text, durable_lsn bigint, highest_lsn_rcvd bigint, current_read_lsn bigint,
           cur_replay_latency_in_usec bigint, active_txns bigint, is_current boolean, last_transport_error bigint,
           last_error_timestamp timestamptz, last_update_timestamp timestamptz, feedback_xmin bigint,
           feedback_epoch bigint, replica_lag_in_msec double precision,
           log_stream_speed_in_kib_per_second double precision, log_buffer_sequence_number bigint,
           oldest_read_view_trx_id bigint, oldest_read_view_lsn bigint, pending_read_ios bigint, read_ios bigint,
           iops bigint, cpu double precision)
         LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
           SELECT server_id, {session}, durable_lsn, highest_lsn_rcvd, current_read_lsn, cur_replay_latency_in_usec,
                  active_txns, is_current, last_transport_error, last_error_timestamp, last_update_timestamp,
                  feedback_xmin, feedback_epoch, replica_lag_in_msec, log_stream_speed_in_kib_per_second,
                  log_buffer_sequence_number, oldest_read_view_trx_id, oldest_read_view_lsn, pending_read_ios,
                  read_ios, iops, cpu
           FROM true_replica_status() WHERE {condition} $$"
    );
    on_the_writer(cluster, &sql).await;
}

/// Every host claims to be the writer: the hosts are asked themselves, and one that is in recovery is none.
#[tokio::test(flavor = "multi_thread")]
async fn of_hosts_that_all_claim_to_be_the_writer_the_true_one_is_taken() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let_aurora_say(&cluster, "true", "'MASTER_SESSION_ID'").await;
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
    let record = cluster.fail_over().await.expect("failed over");
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("the writer is gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(node_of(&cluster, &client).await, record.new_writer);
    let again = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(node_of(&cluster, &again).await, record.new_writer);
    end(connector).await;
}

/// The topology has no rows at all: a typed error that says so, at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_topology_is_a_typed_error() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let_aurora_say(&cluster, "false", "session_id").await;
    let connector = connector(&cluster);
    let began = Instant::now();
    let error = within("the connect", connector.connect()).await.expect_err("no topology");
    assert_eq!(error.kind(), ErrorKind::Topology, "{error}");
    assert!(error.to_string().contains("no rows"), "{error}");
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    end(connector).await;
}

/// The topology goes empty under way: sessions that are open fail over, new ones are opened, and the monitor does not
/// search again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_goes_empty_under_way_stops_nobody() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let events = Events::default();
    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).observer(events.clone()).build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    let_aurora_say(&cluster, "false", "session_id").await;
    let record = cluster.fail_over().await.expect("failed over");
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("the writer is gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(node_of(&cluster, &client).await, record.new_writer);
    let fresh = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(node_of(&cluster, &fresh).await, record.new_writer);
    // At the high rate the monitor asks ten times in this second.
    let searches = events.searches();
    let asked = || connector.cluster().topology().map_or(0, |known| known.sequence);
    let before = asked();
    until("the monitor has asked several times", async || asked() > before + 8).await;
    assert_eq!(events.searches(), searches, "a search for a writer that is known and answers");
    end(connector).await;
}

/// The topology never names a writer: the true one is found by asking the hosts; when none accepts writes, the
/// search ends with `failover_timeout` and says what is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_no_writer_answers_ends_in_its_time() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let_aurora_say(&cluster, "true", "md5(server_id)::uuid::text").await;
    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).set("failover_timeout", "2s").build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
    let writer = cluster.writer();
    cluster.crash(writer).await.expect("crashed");
    let began = Instant::now();
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("nobody is promoted");
    assert!(began.elapsed() < Duration::from_secs(2) + SLACK, "{:?}: {error}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::FailoverFailed, "{error}");
    let text = error.to_string();
    assert!(text.contains("failover_timeout") && text.contains(cluster.instance(writer)), "{text}");
    end(connector).await;
}

/// A grant is missing on a Multi-AZ DB cluster: the error holds the statement that mends it, and the statement does.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_grant_is_named_with_the_statement_that_mends_it() {
    let cluster = cluster(Flavour::MultiAz).start().await.expect("the cluster starts");
    let rows = [
        ("REVOKE USAGE ON SCHEMA rds_tools FROM app", "GRANT USAGE ON SCHEMA rds_tools TO app"),
        (
            "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools FROM app",
            "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools TO app",
        ),
    ];
    for (revoke, grant) in rows {
        on_the_writer(&cluster, revoke).await;
        let connector = connector(&cluster);
        let began = Instant::now();
        let error = within("the connect", connector.connect()).await.expect_err("a right is missing");
        assert_eq!(error.kind(), ErrorKind::Grant, "{error}");
        let text = error.to_string().replace('"', "");
        assert!(text.contains(grant), "{text}");
        assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
        on_the_writer(&cluster, grant).await;
        let client = within("the connect", connector.connect()).await.expect("connected");
        assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
        end(connector).await;
    }
}

/// The password is changed right before the crash: no attempt can succeed, and the call says so soon.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_refused_ends_the_failover_soon() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    on_the_writer(&cluster, "ALTER ROLE app PASSWORD 'another-one'").await;
    cluster.fail_over().await.expect("failed over");
    let began = Instant::now();
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("no login");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {error}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::FailoverFailed, "{error}");
    let login = error.find_source::<Error>().expect("a cause");
    let login = std::iter::successors(Some(login), |error| error.find_source::<Error>());
    assert!(login.into_iter().any(|error| error.kind() == ErrorKind::Login), "{error:?}");
    assert!(!error.to_string().contains("correct-horse"), "{error}");
    let error = within("the connect", connector.connect()).await.expect_err("no login");
    assert!(!error.to_string().contains("correct-horse"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Login, "{error}");
    end(connector).await;
}

/// A server that accepts connections and says nothing: the connect ends within `connect_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_ends_the_connect_in_its_time() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let writer = cluster.writer();
    cluster.freeze(writer, FreezeScope::PostmasterOnly).await.expect("frozen");
    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).set("connect_timeout", "1s").build().expect("valid");
    let began = Instant::now();
    let error = within("the connect", connector.connect()).await.expect_err("nothing answers");
    assert!(began.elapsed() < Duration::from_secs(1) + SLACK, "{:?}: {error}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("connect_timeout"), "{error}");
    cluster.thaw(writer).await.expect("thawed");
    within("the connect", connector.connect()).await.expect("connected");
    end(connector).await;
}

/// On the name of an RDS Proxy the plugins are off, one warning names them, and calls work.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_proxys_name_the_plugins_are_off_and_calls_work() {
    let cluster = cluster(Flavour::Aurora).hash("cxyz").start().await.expect("the cluster starts");
    let proxy = "shop.proxy-cxyz.us-east-2.rds.amazonaws.com";
    cluster.names().insert(proxy, cluster.address(cluster.writer()).ip());
    let events = Events::default();
    let connector = builder(&cluster, proxy).observer(events.clone()).build().expect("valid");
    for _ in 0..2 {
        let client = within("the connect", connector.connect()).await.expect("connected");
        let one: i32 = client.query_one_scalar("SELECT 1", &[]).await.expect("answered");
        assert_eq!(one, 1);
        client.execute("SELECT pg_sleep(0.1)", &[]).await.expect("answered");
        // The tasks are those of the connection: nothing watches the cluster.
        assert_eq!(connector.cluster().topology().map(|known| known.topology.hosts().len()), None);
    }
    let warnings = events.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for named in [proxy, "initial_connection", "connection_tracker", "failover", "efm", "topology monitor"] {
        assert!(warnings[0].contains(named), "{named} in {warnings:?}");
    }
    assert_eq!(events.count(|event| matches!(event, Event::SearchStarted | Event::Topology(_))), 0);
    end(connector).await;
}

/// One connector is asked for the endpoints of two clusters: a typed error that names the setting, whichever kind of
/// endpoint leads to the other cluster.
#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_in_one_are_told_apart() {
    let (one, other) = tokio::join!(
        cluster(Flavour::Aurora).name("shop").start(),
        cluster(Flavour::Aurora).name("stock").start()
    );
    let (one, other) = (one.expect("the cluster starts"), other.expect("the cluster starts"));
    // Both on one port number each; the names of the other cluster lead to its nodes through the first one's table.
    let connector =
        builder(&one, &one.cluster_endpoint()).set("cluster_id", "everything").build().expect("valid");
    within("the connect", connector.connect()).await.expect("connected");
    let hosts = [other.cluster_endpoint(), other.reader_endpoint(), other.instance_endpoint(other.writer())];
    for host in hosts {
        let address = other.names().lookup(&host).expect("a name");
        let forward = one.port();
        let proxy = integration_tests::proxy::FaultProxy::start(
            std::net::SocketAddr::new(address, forward),
            std::net::SocketAddr::new(address, other.port()),
        );
        // The derived endpoint takes the first cluster's port; where both have one port nothing is to be forwarded.
        let _forwarding = if forward == other.port() { None } else { Some(proxy.await.expect("forwarding")) };
        one.names().insert(&host, address);
        let derived = connector.derive(&host).expect("derived");
        let error = within("the connect", derived.connect()).await.expect_err("another cluster");
        assert_eq!(error.kind(), ErrorKind::Topology, "{host}: {error}");
        assert!(error.to_string().contains("cluster_id"), "{error}");
    }
    let client = within("the connect", connector.connect()).await.expect("the first cluster is as it was");
    assert_eq!(node_of(&one, &client).await, one.writer());
    end(connector).await;
}

/// While the topology of the hosts is late by minutes, the switch does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_topology_holds_no_failover_up() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(client.host().role, HostRole::Writer);
    cluster.freeze_topology(&cluster.nodes()).expect("frozen");
    let record = cluster.fail_over().await.expect("failed over");
    let began = Instant::now();
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("the writer is gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    assert_eq!(node_of(&cluster, &client).await, record.new_writer);
    until("the writer is known", async || {
        let known = connector.cluster().topology();
        known.is_some_and(|known| {
            known.topology.writer().is_some_and(|w| w.host() == cluster.instance_endpoint(record.new_writer))
        })
    })
    .await;

    // The new writer's own topology still names the old one. A second loss is mended all the same.
    let admin = cluster.connect_superuser(record.new_writer).await.expect("connected");
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
    admin.execute(sql, &[]).await.expect("terminated");
    let began = Instant::now();
    let error = within("the call", client.execute("SELECT 1", &[])).await.expect_err("terminated");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    assert_eq!(node_of(&cluster, &client).await, record.new_writer);
    end(connector).await;
}
