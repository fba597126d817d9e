//! The real cluster does what its verbs say, loses no acknowledged write, and leaves nothing behind.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "drives real servers in real time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::local::{ConnectionFilter, Error, Truth};
use integration_tests::{Cut, Fault, Flavour, FreezeScope, LocalCluster, NodeId};

const LONG: Duration = Duration::from_secs(30);
const N1: NodeId = NodeId::ALL[0];
const N2: NodeId = NodeId::ALL[1];
const N3: NodeId = NodeId::ALL[2];

/// Writes numbers one after another at whichever node accepts them; remembers those acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<i32>>,
}

impl Writer {
    async fn start(cluster: &Arc<LocalCluster>) -> Self {
        let client = cluster.connect_app(cluster.writer()).await.unwrap();
        client.batch_execute("CREATE TABLE IF NOT EXISTS w (n int PRIMARY KEY)").await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (cluster, stopped) = (Arc::clone(cluster), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (mut acknowledged, mut client, mut number) = (Vec::new(), Some(client), 0);
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let Some(connected) = &client else {
                    client = cluster.connect_app(cluster.writer()).await.ok();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let insert = async { connected.execute("INSERT INTO w VALUES ($1)", &[&number]).await };
                match tokio::time::timeout(Duration::from_secs(1), insert).await {
                    Ok(Ok(_)) => acknowledged.push(number),
                    _ => client = None,
                }
            }
            acknowledged
        });
        Self { stop, task }
    }

    async fn acknowledged(self) -> Vec<i32> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn rows(cluster: &LocalCluster, node: NodeId) -> Vec<i32> {
    let client = cluster.connect_app(node).await.unwrap();
    client.query("SELECT n FROM w ORDER BY n", &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn assert_nothing_lost(cluster: &LocalCluster, acknowledged: &[i32]) {
    let kept = rows(cluster, cluster.writer()).await;
    let lost: Vec<_> = acknowledged.iter().filter(|number| kept.binary_search(number).is_err()).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged writes are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_replicates_and_stops() {
    let begin = Instant::now();
    let cluster = LocalCluster::builder().start().await.unwrap();
    eprintln!("started in {:?}", begin.elapsed());
    assert_eq!(cluster.truth().await, [Truth::Writer, Truth::Reader, Truth::Reader]);
    cluster.wait_until_healthy(LONG).await.unwrap();

    let ports: Vec<u16> = cluster.nodes().map(|node| cluster.address(node).port()).into();
    assert_eq!(ports, [cluster.port(); 3]);
    let names = cluster.names();
    for node in cluster.nodes() {
        assert_eq!(names.lookup(&cluster.instance_endpoint(node)), Some(cluster.address(node).ip()));
    }
    assert_eq!(names.lookup(&cluster.cluster_endpoint()), Some(cluster.address(N1).ip()));
    assert_eq!(names.lookup(&cluster.reader_endpoint()), Some(cluster.address(N2).ip()));

    let writer = cluster.connect_app(N1).await.unwrap();
    writer.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").await.unwrap();
    cluster.wait_until_caught_up(N3, LONG).await.unwrap();
    let reader = cluster.connect_app(N3).await.unwrap();
    let row = reader.query_one("SELECT n FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    let refused = reader.execute("INSERT INTO t VALUES (8)", &[]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("25006"));
    let wrong = cluster.app_config(N1).password("wrong").connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(wrong.code().map(|code| code.code()), Some("28P01"));

    let filter = ConnectionFilter::all().user("app");
    assert_eq!(cluster.count_connections(N1, &filter).await.unwrap(), 1);
    assert_eq!(cluster.count_connections(N1, &filter.application("another")).await.unwrap(), 0);

    let (folder, address) = (cluster.folder().to_owned(), cluster.address(N1));
    cluster.stop().await;
    assert!(!folder.exists());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_lose_no_acknowledged_write_and_old_writers_return() {
    let time = Duration::from_millis(100)..=Duration::from_millis(300);
    let cluster = LocalCluster::builder().promotion_time(time).dns_lag(Duration::from_millis(50)).seed(7);
    let cluster = Arc::new(cluster.start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let old = cluster.writer();
        let record = cluster.fail_over().await.unwrap();
        eprintln!("round {round}: {record}");
        assert_eq!((record.old_writer, record.new_writer), (old, cluster.writer()));
        assert_ne!(record.new_writer, old);
        assert!(record.promotion_time >= Duration::from_millis(100), "{record:?}");
        assert!(record.outage() >= record.promotion_time && record.outage() < LONG, "{record:?}");
        tokio::time::sleep(Duration::from_millis(60)).await;
        let named = cluster.names().lookup(&cluster.cluster_endpoint());
        assert_eq!(named, Some(cluster.address(record.new_writer).ip()));
        cluster.wait_until_healthy(LONG).await.unwrap();
        assert_eq!(cluster.truth().await[old.index()], Truth::Reader);
    }
    let acknowledged = writer.acknowledged().await;
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_nothing_lost(&cluster, &acknowledged).await;
    // The old writers hold the same history.
    for node in cluster.readers() {
        cluster.wait_until_caught_up(node, LONG).await.unwrap();
        assert_eq!(rows(&cluster, node).await, rows(&cluster, cluster.writer()).await);
    }
}

/// The second failover leaves one node: its commits wait for the first old writer, which was still on its way back.
#[tokio::test(flavor = "multi_thread")]
async fn two_failovers_in_a_row_wait_for_the_old_writer_that_is_coming_back() {
    let cluster = LocalCluster::builder().rejoin_after(Some(Duration::from_millis(500)));
    let cluster = Arc::new(cluster.start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut writers = vec![cluster.writer()];
    for _ in 0..2 {
        let record = cluster.fail_over().await.unwrap();
        assert!(record.outage() < Duration::from_secs(20), "{record:?}");
        writers.push(record.new_writer);
    }
    let different: std::collections::BTreeSet<_> = writers.iter().copied().collect();
    assert_eq!(different.len(), 3, "{writers:?}");
    cluster.wait_until_healthy(LONG).await.unwrap();
    let acknowledged = writer.acknowledged().await;
    assert_nothing_lost(&cluster, &acknowledged).await;
    // Back and forth in one go: the node that comes back is the one that has just been lost.
    let [to, other] = cluster.readers();
    cluster.crash(other).await.unwrap();
    let record = cluster.planned_switchover(to).await.unwrap();
    assert_eq!(record.new_writer, to);
    cluster.rejoin(other).await.unwrap();
    cluster.wait_until_healthy(LONG).await.unwrap();
}

/// Old writers stay away: a promotion that would leave a writer alone is refused before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_node_is_not_promoted_alone() {
    let cluster = LocalCluster::builder().rejoin_after(None).start().await.unwrap();
    let first = cluster.fail_over().await.unwrap();
    let started = Instant::now();
    let left = cluster.readers().into_iter().find(|node| *node != first.old_writer).unwrap();
    let mut refused = vec![cluster.fail_over().await.unwrap_err()];
    refused.push(cluster.planned_switchover(left).await.unwrap_err());
    refused.push(cluster.promote(left).await.unwrap_err());
    for error in refused {
        assert!(matches!(&error, Error::NoStandby { left: node, .. } if *node == left), "{error}");
        assert!(error.to_string().contains("`rejoin`"), "{error}");
    }
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    assert_eq!(cluster.writer(), first.new_writer, "nothing was done");
    let client = cluster.connect_app(cluster.writer()).await.unwrap();
    client.batch_execute("CREATE TABLE still_writable (id int)").await.unwrap();

    cluster.rejoin(first.old_writer).await.unwrap();
    cluster.fail_over().await.unwrap();
    // Two are down now, and nobody comes back.
    for node in cluster.readers() {
        if cluster.truth().await[node.index()] == Truth::Reader {
            cluster.crash(node).await.unwrap();
        }
    }
    let error = cluster.fail_over().await.unwrap_err();
    assert!(matches!(error, Error::NoCandidate { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_switchovers_lose_no_acknowledged_write() {
    let cluster = LocalCluster::builder().rejoin_after(Some(Duration::ZERO)).start().await.unwrap();
    let cluster = Arc::new(cluster);
    let writer = Writer::start(&cluster).await;
    for to in [N3, N1] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let record = cluster.planned_switchover(to).await.unwrap();
        eprintln!("{record}");
        assert_eq!(record.new_writer, to);
        let reader = cluster.names().lookup(&cluster.reader_endpoint());
        assert_ne!(reader, Some(cluster.address(to).ip()), "the reader endpoint leaves the new writer");
        cluster.wait_until_healthy(LONG).await.unwrap();
    }
    let again = cluster.planned_switchover(N1).await.unwrap_err();
    assert!(matches!(again, Error::WrongState { node: N1, .. }), "{again}");
    assert_nothing_lost(&cluster, &writer.acknowledged().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_node_receives_what_the_others_have_before_it_is_promoted() {
    let cluster = Arc::new(LocalCluster::builder().start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Node 3 falls behind: commits wait for node 2 alone.
    cluster.freeze(N3, FreezeScope::AllProcesses).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = cluster.promote(N3).await.unwrap_err();
    assert!(
        matches!(&refused, Error::WrongState { node: N3, reason, .. } if reason.contains("frozen")),
        "{refused}"
    );
    cluster.crash(N1).await.unwrap();
    cluster.thaw(N3).await.unwrap();
    let record = cluster.promote(N3).await.unwrap();
    assert_eq!((record.old_writer, record.new_writer, cluster.writer()), (N1, N3, N3));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let acknowledged = writer.acknowledged().await;
    assert_nothing_lost(&cluster, &acknowledged).await;

    // A standby that was down during the promotion is rewound or follows, too.
    let restart = cluster.restart(N1).await;
    assert!(restart.is_err() || cluster.truth().await[N1.index()] == Truth::Reader, "{restart:?}");
    cluster.wait_until_healthy(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_writer_that_was_not_replaced_is_the_writer_again() {
    let cluster = LocalCluster::builder().start().await.unwrap();
    let client = cluster.connect_app(N1).await.unwrap();
    cluster.crash(N1).await.unwrap();
    assert!(client.simple_query("SELECT 1").await.is_err());
    assert_eq!(cluster.truth().await, [Truth::Silent, Truth::Reader, Truth::Reader]);
    assert!(tokio::net::TcpStream::connect(cluster.address(N1)).await.is_err(), "refused while it is down");
    let unhealthy = cluster.wait_until_healthy(Duration::from_millis(50)).await.unwrap_err();
    assert!(unhealthy.to_string().contains("node 1 does not run"), "{unhealthy}");
    cluster.restart(N1).await.unwrap();
    cluster.wait_until_writer(N1, LONG).await.unwrap();
    cluster.wait_until_healthy(LONG).await.unwrap();

    // A writer that is down already is replaced as well.
    cluster.crash(N1).await.unwrap();
    let record = cluster.fail_over().await.unwrap();
    assert_eq!(record.old_writer, N1);
    cluster.wait_until_healthy(LONG).await.unwrap();
    let overtaken = cluster.restart(N1).await.unwrap_err();
    assert!(matches!(overtaken, Error::WrongState { .. }), "{overtaken}");

    // A reader that crashed comes back as one.
    let [reader, _] = cluster.readers();
    cluster.crash(reader).await.unwrap();
    cluster.restart(reader).await.unwrap();
    cluster.wait_until_reader(reader, LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_is_silent_and_replaced_and_returns_as_a_reader() {
    let cluster = Arc::new(LocalCluster::builder().start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    let client = cluster.connect_app(N1).await.unwrap();

    cluster.freeze(N1, FreezeScope::PostmasterOnly).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let connect = tokio::time::timeout(Duration::from_millis(300), cluster.connect_app(N1)).await;
    assert!(connect.is_err(), "a new connection gets no answer");
    cluster.thaw(N1).await.unwrap();
    cluster.connect_app(N1).await.unwrap();

    let record = cluster.fail_over_after(Fault::Freeze(FreezeScope::AllProcesses)).await.unwrap();
    assert_eq!(cluster.writer(), record.new_writer);
    let query = tokio::time::timeout(Duration::from_millis(300), client.simple_query("SELECT 1")).await;
    assert!(query.is_err(), "an open connection gets no answer");
    assert_eq!(cluster.truth().await[N1.index()], Truth::Silent);

    cluster.thaw(N1).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    assert_eq!(cluster.truth().await[N1.index()], Truth::Writer, "it has not heard of the other");
    let late =
        tokio::time::timeout(Duration::from_millis(500), client.execute("INSERT INTO w VALUES (-1)", &[]))
            .await;
    assert!(late.is_err(), "a write on the old writer is never acknowledged: {late:?}");

    tokio::time::sleep(Duration::from_millis(300)).await;
    let acknowledged = writer.acknowledged().await;
    cluster.rejoin(N1).await.unwrap();
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_nothing_lost(&cluster, &acknowledged).await;
    assert!(!rows(&cluster, N1).await.contains(&-1), "the late write went away with the old history");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_refuse_cut_and_heal() {
    let cluster = LocalCluster::builder().with_proxy(true).start().await.unwrap();
    assert_ne!(cluster.address(N1), cluster.server_address(N1));
    let client = cluster.connect_app(N1).await.unwrap();
    let quick = Duration::from_millis(300);

    cluster.refuse(N1).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let refused = tokio::net::TcpStream::connect(cluster.address(N1)).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(cluster.truth().await[N1.index()], Truth::Writer, "the server lives");

    cluster.cut(N1, Cut::StallBothWays).await.unwrap();
    assert!(tokio::time::timeout(quick, client.simple_query("SELECT 2")).await.is_err());
    assert!(tokio::time::timeout(quick, cluster.connect_app(N1)).await.is_err());
    cluster.heal(N1).await.unwrap();
    client.simple_query("SELECT 3").await.unwrap();

    cluster.cut(N1, Cut::Delay(Duration::from_millis(100))).await.unwrap();
    let begin = Instant::now();
    client.simple_query("SELECT 4").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());

    cluster.cut(N1, Cut::Reset).await.unwrap();
    assert!(client.simple_query("SELECT 5").await.is_err());
    cluster.heal(N1).await.unwrap();
    cluster.connect_app(N1).await.unwrap();
    assert!(cluster.proxy(N1).unwrap().stats().accepted >= 3);

    // A write goes through while its answer is kept back.
    let client = cluster.connect_app(N1).await.unwrap();
    client.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    cluster.cut(N1, Cut::Stall).await.unwrap();
    assert!(tokio::time::timeout(quick, client.batch_execute("INSERT INTO t VALUES (1)")).await.is_err());
    let direct = cluster.connect_superuser(N1).await.unwrap();
    let count: i64 = direct.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);

    let bare = LocalCluster::builder().start().await.unwrap();
    let refused = bare.refuse(N1).await.unwrap_err();
    assert!(refused.to_string().contains("with_proxy(true)"), "{refused}");
}

/// All connections of the promoted node, whether it restarts, and of the other reader.
async fn survivors(restart: bool) -> (bool, bool) {
    let builder = LocalCluster::builder().restart_on_promote(restart).restart_readers(restart);
    let cluster = Arc::new(builder.start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    let (two, three) = (cluster.connect_app(N2).await.unwrap(), cluster.connect_app(N3).await.unwrap());
    let record = cluster.fail_over().await.unwrap();
    eprintln!("restart {restart}: outage {:?}", record.outage());
    let clients = if record.new_writer == N2 { [two, three] } else { [three, two] };
    let [promoted, other] =
        [clients[0].simple_query("SELECT 1").await, clients[1].simple_query("SELECT 1").await];
    if promoted.is_ok() {
        clients[0].batch_execute("CREATE TABLE kept (n int)").await.unwrap();
    }
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_nothing_lost(&cluster, &writer.acknowledged().await).await;
    (promoted.is_ok(), other.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_server_keeps_its_connections_or_restarts() {
    assert_eq!(survivors(false).await, (true, true));
    assert_eq!(survivors(true).await, (false, false));
}

async fn texts(client: &tokio_postgres::Client, sql: &str) -> Vec<Option<String>> {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    rows.collect()
}

async fn text(client: &tokio_postgres::Client, sql: &str) -> Option<String> {
    texts(client, sql).await.into_iter().next().flatten()
}

const AURORA_WRITER: &str =
    "SELECT server_id FROM pg_catalog.aurora_replica_status() WHERE session_id = 'MASTER_SESSION_ID'";
const EXTENSIONS: &str = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'rds.extensions'";

#[tokio::test(flavor = "multi_thread")]
async fn aurora_answers_on_each_node_and_late_where_told() {
    let cluster = LocalCluster::builder().flavour(Flavour::Aurora).start().await.unwrap();
    let all = ["shop-1", "shop-2", "shop-3"].map(|id| Some(id.to_owned()));
    for node in cluster.nodes() {
        // As an ordinary user, with a search path that hides nothing of pg_catalog.
        let client = cluster.connect_app(node).await.unwrap();
        assert!(text(&client, EXTENSIONS).await.unwrap().contains("aurora_stat_utils"));
        let own = text(&client, "SELECT aurora_db_instance_identifier()").await;
        assert_eq!(own.as_deref(), Some(cluster.instance(node)));
        assert!(text(&client, "SELECT aurora_version()").await.is_some_and(|v| v.contains('.')));
        assert_eq!(texts(&client, "SELECT server_id FROM aurora_replica_status() ORDER BY 1").await, all);
        assert_eq!(texts(&client, AURORA_WRITER).await, [Some("shop-1".to_owned())]);
        let fresh = "SELECT count(*) FROM aurora_replica_status() \
                     WHERE extract(epoch FROM now() - last_update_timestamp) <= 300 AND cpu > 0 \
                     AND coalesce(replica_lag_in_msec, 0) >= 0";
        assert_eq!(text(&client, fresh).await.as_deref(), Some("3"));
    }

    // One reader stays behind; the other two know at once.
    cluster.freeze_topology(&[N2]).unwrap();
    let record = cluster.planned_switchover(N3).await.unwrap();
    assert_eq!(record.new_writer, N3);
    for (node, expected) in [(N2, "shop-1"), (N3, "shop-3")] {
        let client = cluster.connect_app(node).await.unwrap();
        assert_eq!(text(&client, AURORA_WRITER).await.as_deref(), Some(expected), "{node}");
    }
    cluster.update_topology(&[N2]).unwrap();
    let client = cluster.connect_app(N2).await.unwrap();
    assert_eq!(text(&client, AURORA_WRITER).await.as_deref(), Some("shop-3"));

    // And late by a time.
    cluster.wait_until_healthy(LONG).await.unwrap();
    cluster.delay_topology(&[N2], Duration::from_millis(600)).unwrap();
    let begin = Instant::now();
    cluster.planned_switchover(N1).await.unwrap();
    let switched = Instant::now();
    assert_eq!(text(&client, AURORA_WRITER).await.as_deref(), Some("shop-3"));
    while text(&client, AURORA_WRITER).await.as_deref() != Some("shop-1") {
        assert!(switched.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(600), "{:?}", begin.elapsed());
}

const SOURCE: &str = "SELECT multi_az_db_cluster_source_dbi_resource_id \
                      FROM rds_tools.multi_az_db_cluster_source_dbi_resource_id()";

#[tokio::test(flavor = "multi_thread")]
async fn multi_az_answers_on_each_node_and_asks_for_grants() {
    let cluster = LocalCluster::builder().flavour(Flavour::MultiAz).start().await.unwrap();
    let mut ids = Vec::new();
    for node in cluster.nodes() {
        let client = cluster.connect_app(node).await.unwrap();
        let extensions = text(&client, EXTENSIONS).await.unwrap();
        assert!(
            extensions.contains("rds_tools") && !extensions.contains("aurora_stat_utils"),
            "{extensions}"
        );
        let extension = "SELECT extversion FROM pg_extension WHERE extname = 'rds_tools'";
        assert!(text(&client, extension).await.is_some());
        let own = text(&client, "SELECT dbi_resource_id FROM rds_tools.dbi_resource_id()").await.unwrap();
        assert!(own.starts_with("db-") && own.len() == 29, "{own}");
        let by_id = format!("SELECT endpoint FROM rds_tools.show_topology('test') WHERE id = '{own}'");
        assert_eq!(text(&client, &by_id).await, Some(cluster.instance_endpoint(node)));
        let ports = texts(&client, "SELECT DISTINCT port FROM rds_tools.show_topology()").await;
        assert_eq!(ports, [Some(cluster.port().to_string())]);
        ids.push(own);
        assert_eq!(text(&client, SOURCE).await.as_deref(), ids.first().map(String::as_str));
    }
    let new = cluster.fail_over().await.unwrap().new_writer;
    for node in [N2, N3] {
        let client = cluster.connect_app(node).await.unwrap();
        assert_eq!(text(&client, SOURCE).await.as_deref(), Some(ids[new.index()].as_str()), "{node}");
    }

    let code = |error: tokio_postgres::Error| error.code().map(|code| code.code().to_owned());
    let (admin, app) =
        (cluster.connect_superuser(new).await.unwrap(), cluster.connect_app(new).await.unwrap());
    admin.batch_execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools FROM app").await.unwrap();
    assert_eq!(code(app.simple_query(SOURCE).await.unwrap_err()).as_deref(), Some("42501"));
    admin.batch_execute("DROP EXTENSION rds_tools").await.unwrap();
    let absent = "SELECT to_regproc('rds_tools.show_topology')";
    assert_eq!(text(&app, absent).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_offer_tls_with_the_given_certificate() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let names = ["*.cxyz.us-east-2.rds.amazonaws.com", "shop.cluster-cxyz.us-east-2.rds.amazonaws.com"];
    let certificate = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
    let (pem, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
    let cluster = LocalCluster::builder().hash("cxyz").tls(pem, key).start().await.unwrap();
    assert_eq!(cluster.cluster_endpoint(), names[1]);
    for node in cluster.nodes() {
        let mut stream = tokio::net::TcpStream::connect(cluster.address(node)).await.unwrap();
        // SSLRequest: length 8, code 80877103.
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_has_no_metadata_functions() {
    let cluster = LocalCluster::builder().name("orders").database("books").start().await.unwrap();
    let client = cluster.connect_app(N2).await.unwrap();
    assert_eq!(text(&client, "SELECT current_setting('cluster_name')").await.as_deref(), Some("orders-2"));
    assert_eq!(text(&client, "SELECT to_regproc('aurora_replica_status')").await, None);
    assert_eq!(texts(&client, EXTENSIONS).await, []);
    let bad = LocalCluster::builder().name("Or'ders").start().await.unwrap_err();
    assert!(matches!(bad, Error::Setting { setting: "name", .. }), "{bad}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_rewound_is_copied_anew() {
    let cluster = LocalCluster::builder().rejoin_after(None).start().await.unwrap();
    cluster.fail_over().await.unwrap();
    std::fs::remove_file(cluster.folder().join("node-1/data/global/pg_control")).unwrap();
    cluster.rejoin(N1).await.unwrap();
    cluster.wait_until_healthy(LONG).await.unwrap();
    let log = std::fs::read_to_string(cluster.log_file(N1)).unwrap();
    assert!(log.contains("harness: pg_rewind failed"), "{log}");
}

/// Processes that run in a folder of this cluster, as `/proc` has it.
fn processes_in(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
        .count()
}

#[test]
fn a_killed_process_leaves_nothing_behind() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_local-cluster"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folder = lines.find_map(|line| line.strip_prefix("folder ").map(std::path::PathBuf::from)).unwrap();
    // A frozen server and a crashed one must go, too.
    child.stdin.as_mut().unwrap().write_all(b"freeze 2\ncrash 3\n").unwrap();
    assert_eq!(lines.filter(|line| line == "done").take(2).count(), 2);
    assert!(folder.exists() && processes_in(&folder) > 5, "{}", processes_in(&folder));

    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(15);
    while folder.exists() || processes_in(&folder) > 0 {
        assert!(Instant::now() < end, "{} processes in {}", processes_in(&folder), folder.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_start_and_a_dropped_verb_leave_nothing_half_done() {
    let parent = std::env::temp_dir().join(format!("dropped-start-{}", std::process::id()));
    std::fs::create_dir(&parent).unwrap();
    // The servers' account must pass.
    std::fs::set_permissions(&parent, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let start = LocalCluster::builder().folder(&parent).start();
    assert!(tokio::time::timeout(Duration::from_millis(150), start).await.is_err(), "starts within 0.15 s?");
    assert_eq!(std::fs::read_dir(&parent).unwrap().count(), 0);
    std::fs::remove_dir(&parent).unwrap();

    let cluster = LocalCluster::builder().start().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1), cluster.fail_over()).await.is_err());
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_ne!(cluster.writer(), N1);
}
