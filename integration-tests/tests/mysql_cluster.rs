//! The real cluster of MariaDB or MySQL servers does what its verbs say, loses no acknowledged write, and leaves nothing behind.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "drives real servers in real time")]

#[path = "mysql_support/mod.rs"]
mod mysql_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::local::{ConnectionFilter, Error, Truth};
use integration_tests::{Cut, Fault, Flavour, FreezeScope, MySqlCluster};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use mysql_support::{LONG, N1, N2, N3, Writer, assert_nothing_lost, code, rows};

#[tokio::test(flavor = "multi_thread")]
async fn starts_replicates_and_stops() {
    let begin = Instant::now();
    let cluster = MySqlCluster::builder().start().await.unwrap();
    eprintln!("{} started in {:?}", cluster.server_version(), begin.elapsed());
    assert!(begin.elapsed() < LONG, "{:?}", begin.elapsed());
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

    let mut writer = cluster.connect_app(N1).await.unwrap();
    writer.query_drop("CREATE TABLE t (n int)").await.unwrap();
    writer.query_drop("INSERT INTO t VALUES (7)").await.unwrap();
    cluster.wait_until_caught_up(N3, LONG).await.unwrap();
    let mut reader = cluster.connect_app(N3).await.unwrap();
    assert_eq!(reader.query_first("SELECT n FROM t").await.unwrap(), Some(7));
    assert_eq!(code(reader.query_drop("INSERT INTO t VALUES (8)").await), Some(1290));
    let wrong = Conn::new(cluster.app_config(N1).pass(Some("wrong"))).await.map(drop);
    assert_eq!(code(wrong), Some(1045));

    let filter = ConnectionFilter::all().user("app");
    assert_eq!(cluster.count_connections(N1, &filter).await.unwrap(), 1);
    assert_eq!(cluster.count_connections(N1, &filter.clone().application("probe")).await.unwrap(), 0);
    let named = cluster.app_config(N1).connect_attribute("program_name", "probe");
    let _named = Conn::new(named).await.unwrap();
    assert_eq!(cluster.count_connections(N1, &filter.clone().application("probe")).await.unwrap(), 1);
    assert_eq!(cluster.count_connections(N1, &filter).await.unwrap(), 2);

    let (folder, address) = (cluster.folder().to_owned(), cluster.address(N1));
    let begin = Instant::now();
    cluster.stop().await;
    eprintln!("stopped in {:?}", begin.elapsed());
    assert!(!folder.exists());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_lose_no_acknowledged_write_and_old_writers_return() {
    let time = Duration::from_millis(50)..=Duration::from_millis(150);
    let cluster = MySqlCluster::builder().promotion_time(time).dns_lag(Duration::from_millis(50)).seed(7);
    let cluster = Arc::new(cluster.rejoin_after(Some(Duration::ZERO)).start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let old = cluster.writer();
        let record = cluster.fail_over().await.unwrap();
        eprintln!("round {round}: {record}");
        assert_eq!((record.old_writer, record.new_writer), (old, cluster.writer()));
        assert_ne!(record.new_writer, old);
        assert!(record.promotion_time >= Duration::from_millis(50), "{record:?}");
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

#[tokio::test(flavor = "multi_thread")]
async fn planned_switchovers_lose_no_acknowledged_write() {
    let cluster = MySqlCluster::builder().rejoin_after(Some(Duration::ZERO)).start().await.unwrap();
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
    let cluster = Arc::new(MySqlCluster::builder().start().await.unwrap());
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
    cluster.wait_until_healthy(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_writer_that_was_not_replaced_is_the_writer_again() {
    let cluster = Arc::new(MySqlCluster::builder().start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.crash(N1).await.unwrap();
    assert_eq!(cluster.truth().await, [Truth::Silent, Truth::Reader, Truth::Reader]);
    assert!(tokio::net::TcpStream::connect(cluster.address(N1)).await.is_err(), "refused while it is down");
    let unhealthy = cluster.wait_until_healthy(Duration::from_millis(50)).await.unwrap_err();
    assert!(unhealthy.to_string().contains("node 1 does not run"), "{unhealthy}");
    cluster.restart(N1).await.unwrap();
    cluster.wait_until_writer(N1, LONG).await.unwrap();
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_nothing_lost(&cluster, &writer.acknowledged().await).await;

    // A writer that is down already is replaced as well.
    cluster.crash(N1).await.unwrap();
    let record = cluster.fail_over().await.unwrap();
    assert_eq!(record.old_writer, N1);
    let overtaken = cluster.restart(N1).await.unwrap_err();
    assert!(matches!(overtaken, Error::WrongState { .. }), "{overtaken}");
    cluster.wait_until_healthy(LONG).await.unwrap();

    // A reader that crashed comes back as one.
    let [reader, _] = cluster.readers();
    cluster.crash(reader).await.unwrap();
    cluster.restart(reader).await.unwrap();
    cluster.wait_until_reader(reader, LONG).await.unwrap();
    cluster.wait_until_healthy(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_is_silent_and_replaced_and_returns_as_a_reader() {
    let cluster = Arc::new(MySqlCluster::builder().start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    let mut client = cluster.connect_app(N1).await.unwrap();
    let part = cluster.freeze(N1, FreezeScope::PostmasterOnly).await.unwrap_err();
    assert!(part.to_string().contains("one process"), "{part}");

    let record = cluster.fail_over_after(Fault::Freeze(FreezeScope::AllProcesses)).await.unwrap();
    eprintln!("{record}");
    assert_eq!(cluster.writer(), record.new_writer);
    assert_eq!(cluster.truth().await[N1.index()], Truth::Silent);
    cluster.thaw(N1).await.unwrap();
    client.query_drop("SELECT 1").await.unwrap();
    assert_eq!(cluster.truth().await[N1.index()], Truth::Writer, "it has not heard of the other");
    let late = client.query_drop("INSERT INTO w VALUES (-1)");
    let late = tokio::time::timeout(Duration::from_millis(500), late).await;
    assert!(late.is_err(), "a write on the old writer is never acknowledged: {late:?}");

    tokio::time::sleep(Duration::from_millis(300)).await;
    let acknowledged = writer.acknowledged().await;
    cluster.rejoin(N1).await.unwrap();
    let log = std::fs::read_to_string(cluster.log_file(N1)).unwrap();
    assert!(log.contains("harness: built anew: it has transactions that the new writer lacks"), "{log}");
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_nothing_lost(&cluster, &acknowledged).await;
    let kept = rows(&cluster, N1).await;
    assert!(!kept.contains(&-1), "the late write went away with the old history");
    assert_eq!(kept, rows(&cluster, cluster.writer()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_writer_with_a_tail_that_nobody_received_returns_without_it() {
    let cluster = Arc::new(MySqlCluster::builder().rejoin_after(None).start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let acknowledged = writer.acknowledged().await;
    // A replica that is killed loses what it has received and not applied.
    for node in [N2, N3] {
        let begin = Instant::now();
        while acknowledged.last() > rows(&cluster, node).await.last() {
            assert!(begin.elapsed() < LONG, "{node:?} lags");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Nobody receives this: it is in the writer's log, waits for a replica, and dies with the writer.
    cluster.freeze(N2, FreezeScope::AllProcesses).await.unwrap();
    cluster.freeze(N3, FreezeScope::AllProcesses).await.unwrap();
    let mut client = cluster.connect_app(N1).await.unwrap();
    let tail = client.query_drop("INSERT INTO w VALUES (-2)");
    assert!(tokio::time::timeout(Duration::from_millis(300), tail).await.is_err());
    cluster.crash(N1).await.unwrap();
    // What the kernel holds for the replicas would still reach them: so they lose it, too.
    for node in [N2, N3] {
        cluster.crash(node).await.unwrap();
        cluster.restart(node).await.unwrap();
    }
    let record = cluster.fail_over().await.unwrap();
    cluster.rejoin(N1).await.unwrap();
    let log = std::fs::read_to_string(cluster.log_file(N1)).unwrap();
    assert!(log.contains("harness: built anew"), "{log}");
    cluster.wait_until_healthy(LONG).await.unwrap();
    let kept = rows(&cluster, N1).await;
    assert_eq!(kept, rows(&cluster, record.new_writer).await);
    assert!(!kept.contains(&-2));
    assert_nothing_lost(&cluster, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_refuse_cut_and_heal() {
    let cluster = MySqlCluster::builder().with_proxy(true).start().await.unwrap();
    assert_ne!(cluster.address(N1), cluster.server_address(N1));
    let mut client = cluster.connect_app(N1).await.unwrap();
    let quick = Duration::from_millis(300);

    cluster.refuse(N1).await.unwrap();
    client.query_drop("SELECT 1").await.unwrap();
    let refused = tokio::net::TcpStream::connect(cluster.address(N1)).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(cluster.truth().await[N1.index()], Truth::Writer, "the server lives");

    cluster.cut(N1, Cut::StallBothWays).await.unwrap();
    assert!(tokio::time::timeout(quick, client.query_drop("SELECT 2")).await.is_err());
    assert!(tokio::time::timeout(quick, cluster.connect_app(N1)).await.is_err());
    cluster.heal(N1).await.unwrap();
    let mut client = cluster.connect_app(N1).await.unwrap();

    cluster.cut(N1, Cut::Delay(Duration::from_millis(100))).await.unwrap();
    let begin = Instant::now();
    client.query_drop("SELECT 4").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());

    cluster.cut(N1, Cut::Reset).await.unwrap();
    assert!(client.query_drop("SELECT 5").await.is_err());
    cluster.heal(N1).await.unwrap();
    assert!(cluster.proxy(N1).unwrap().stats().accepted >= 3);

    // A write goes through while its answer is kept back.
    let mut client = cluster.connect_app(N1).await.unwrap();
    client.query_drop("CREATE TABLE t (n int)").await.unwrap();
    cluster.cut(N1, Cut::Stall).await.unwrap();
    assert!(tokio::time::timeout(quick, client.query_drop("INSERT INTO t VALUES (1)")).await.is_err());
    let mut direct = cluster.connect_superuser(N1).await.unwrap();
    assert_eq!(direct.query_first("SELECT COUNT(*) FROM t").await.unwrap(), Some(1));

    let bare = MySqlCluster::builder().start().await.unwrap();
    let refused = bare.refuse(N1).await.unwrap_err();
    assert!(refused.to_string().contains("with_proxy(true)"), "{refused}");
}

/// Whether the connections of the promoted node and of the other reader live on.
async fn survivors(restart: bool) -> (bool, bool) {
    let builder = MySqlCluster::builder().restart_on_promote(restart).restart_readers(restart);
    let cluster = Arc::new(builder.start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    let (two, three) = (cluster.connect_app(N2).await.unwrap(), cluster.connect_app(N3).await.unwrap());
    let record = cluster.fail_over().await.unwrap();
    eprintln!("restart {restart}: outage {:?}", record.outage());
    let [mut promoted, mut other] = if record.new_writer == N2 { [two, three] } else { [three, two] };
    let alive = (promoted.query_drop("SELECT 1").await.is_ok(), other.query_drop("SELECT 1").await.is_ok());
    if alive.0 {
        promoted.query_drop("CREATE TABLE kept (n int)").await.unwrap();
    }
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_nothing_lost(&cluster, &writer.acknowledged().await).await;
    alive
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_server_keeps_its_connections_or_restarts() {
    assert_eq!(survivors(false).await, (true, true));
    assert_eq!(survivors(true).await, (false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_stand_side_by_side() {
    let (one, two) =
        tokio::try_join!(MySqlCluster::builder().start(), MySqlCluster::builder().name("orders").start())
            .unwrap();
    let record = one.fail_over().await.unwrap();
    assert_eq!(two.truth().await, [Truth::Writer, Truth::Reader, Truth::Reader]);
    two.wait_until_healthy(LONG).await.unwrap();
    assert_eq!(two.instance(N2), "orders-2");
    assert_ne!(one.cluster_endpoint(), two.cluster_endpoint());
    one.wait_until_writer(record.new_writer, LONG).await.unwrap();
    let bad = MySqlCluster::builder().name("Or'ders").start().await.unwrap_err();
    assert!(matches!(bad, Error::Setting { setting: "name", .. }), "{bad}");
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
        .args(["mysql", "aurora"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folder = lines.find_map(|line| line.strip_prefix("folder ").map(std::path::PathBuf::from)).unwrap();
    assert_eq!(processes_in(&folder), 3);
    // A frozen server and a crashed one must go, too.
    child.stdin.as_mut().unwrap().write_all(b"freeze 2\ncrash 3\n").unwrap();
    assert_eq!(lines.filter(|line| line == "done").take(2).count(), 2);
    assert!(folder.exists() && processes_in(&folder) == 2, "{}", processes_in(&folder));

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
    let parent = std::env::temp_dir().join(format!("dropped-mysql-start-{}", std::process::id()));
    std::fs::create_dir(&parent).unwrap();
    // The servers' account must pass.
    std::fs::set_permissions(&parent, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let start = MySqlCluster::builder().folder(&parent).start();
    assert!(tokio::time::timeout(Duration::from_millis(150), start).await.is_err(), "starts within 0.15 s?");
    assert_eq!(std::fs::read_dir(&parent).unwrap().count(), 0);
    std::fs::remove_dir(&parent).unwrap();

    let cluster = MySqlCluster::builder().flavour(Flavour::MultiAz).start().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1), cluster.fail_over()).await.is_err());
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_ne!(cluster.writer(), N1);
}

async fn text(client: &mut Conn, sql: &str) -> Option<String> {
    client.query_first::<Option<String>, _>(sql).await.unwrap().flatten()
}

/// The value of a variable as `SHOW VARIABLES` gives it.
async fn shown(client: &mut Conn, name: &str) -> Option<String> {
    let sql = format!("SHOW VARIABLES LIKE '{name}'");
    client.query_first::<(String, String), _>(sql).await.unwrap().map(|(_, value)| value)
}

const AURORA_WRITER: &str = "SELECT server_id FROM information_schema.replica_host_status \
                             WHERE session_id = 'MASTER_SESSION_ID'";

#[tokio::test(flavor = "multi_thread")]
async fn aurora_answers_on_each_node_and_late_where_told() {
    let cluster = MySqlCluster::builder().flavour(Flavour::Aurora).with_proxy(true).start().await.unwrap();
    for node in cluster.nodes() {
        let mut client = cluster.connect_app(node).await.unwrap();
        assert_eq!(client.server_version(), (8, 0, 39));
        assert!(shown(&mut client, "aurora_version").await.is_some());
        assert_eq!(shown(&mut client, "version_comment").await.as_deref(), Some("Source distribution"));
        assert_eq!(
            text(&mut client, "SELECT @@aurora_server_id").await.as_deref(),
            Some(cluster.instance(node))
        );
        let read_only: Option<u8> = client.query_first("SELECT @@innodb_read_only").await.unwrap();
        assert_eq!(read_only, Some(u8::from(node != N1)));
        // By a prepared statement, too, and with a condition of the user's own.
        let sql = "SELECT s.SERVER_ID FROM information_schema.replica_host_status AS s \
                   WHERE s.SERVER_ID <> ? AND s.LAST_UPDATE_TIMESTAMP > NOW() - INTERVAL 300 SECOND ORDER BY 1";
        let others: Vec<String> = client.exec(sql, ("shop-2",)).await.unwrap();
        assert_eq!(others, ["shop-1", "shop-3"]);
        assert_eq!(text(&mut client, AURORA_WRITER).await.as_deref(), Some("shop-1"));
        // What is not the flavour's own is the server's.
        client.query_drop("CREATE TEMPORARY TABLE x (v text)").await.unwrap();
        client.exec_drop("INSERT INTO x VALUES (?)", ("@@aurora_server_id ä",)).await.unwrap();
        assert_eq!(text(&mut client, "SELECT v FROM x").await.as_deref(), Some("@@aurora_server_id ä"));
        assert_eq!(code(client.query_drop("SELECT @@no_such_variable").await), Some(1193));
    }
    // A big packet passes, and so does its answer.
    let mut client = cluster.connect_app(N1).await.unwrap();
    let big = "x".repeat(9_000_000);
    let length: Option<(u64, String)> = client.exec_first("SELECT LENGTH(?), ?", (&big, &big)).await.unwrap();
    assert!(length.is_some_and(|(length, text)| length == 9_000_000 && text == big));

    // One reader stays behind; the other two know at once.
    cluster.freeze_topology(&[N2]);
    let record = cluster.planned_switchover(N3).await.unwrap();
    assert_eq!(record.new_writer, N3);
    for (node, expected) in [(N2, "shop-1"), (N3, "shop-3")] {
        let mut client = cluster.connect_app(node).await.unwrap();
        assert_eq!(text(&mut client, AURORA_WRITER).await.as_deref(), Some(expected), "{node}");
    }
    cluster.update_topology(&[N2]);
    let mut client = cluster.connect_app(N2).await.unwrap();
    assert_eq!(text(&mut client, AURORA_WRITER).await.as_deref(), Some("shop-3"));
    assert!(
        tokio::net::TcpStream::connect(cluster.server_address(N1)).await.is_err(),
        "refused while it is down"
    );

    // And late by a time.
    cluster.wait_until_healthy(LONG).await.unwrap();
    cluster.delay_topology(&[N2], Duration::from_millis(600));
    cluster.planned_switchover(N1).await.unwrap();
    let switched = Instant::now();
    assert_eq!(text(&mut client, AURORA_WRITER).await.as_deref(), Some("shop-3"));
    while text(&mut client, AURORA_WRITER).await.as_deref() != Some("shop-1") {
        assert!(switched.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(switched.elapsed() >= Duration::from_millis(500), "{:?}", switched.elapsed());

    // A crash ends the connections through the front, and the front refuses new ones.
    let mut client = cluster.connect_app(N1).await.unwrap();
    cluster.crash(N1).await.unwrap();
    assert!(client.query_drop("SELECT 1").await.is_err());
    assert!(cluster.connect_app(N1).await.is_err());
}

/// The writer's id as a node has it: its source's, or its own when it has no source.
async fn source(client: &mut Conn) -> u32 {
    let row: Option<mysql_async::Row> = client.query_first("SHOW REPLICA STATUS").await.unwrap();
    match row {
        Some(row) => row.get::<Option<u32>, _>("Source_Server_Id").flatten().unwrap(),
        None => client.query_first("SELECT @@server_id").await.unwrap().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn multi_az_answers_on_each_node_and_asks_for_grants() {
    let cluster = MySqlCluster::builder().flavour(Flavour::MultiAz).start().await.unwrap();
    for node in cluster.nodes() {
        let mut client = cluster.connect_app(node).await.unwrap();
        assert_eq!(text(&mut client, "SELECT VERSION()").await.as_deref(), Some("8.0.39"));
        assert_eq!(shown(&mut client, "version_comment").await.as_deref(), Some("Source distribution"));
        assert_eq!(shown(&mut client, "aurora_version").await, None);
        assert_eq!(shown(&mut client, "report_host").await, Some(cluster.address(node).ip().to_string()));
        let own: Option<(String, u16)> = client
            .query_first("SELECT endpoint, port FROM mysql.rds_topology WHERE id = @@server_id")
            .await
            .unwrap();
        assert_eq!(own, Some((cluster.instance_endpoint(node), cluster.port())));
        assert_eq!(source(&mut client).await, cluster.server_id(N1), "{node}");
        assert_eq!(client.query_first("SELECT @@read_only").await.unwrap(), Some(u8::from(node != N1)));
    }
    cluster.freeze_topology(&[N3]);
    let new = cluster.planned_switchover(N2).await.unwrap().new_writer;
    let mut late = cluster.connect_app(N3).await.unwrap();
    assert_eq!(source(&mut late).await, cluster.server_id(N1), "the old one, as told");
    cluster.update_topology(&[N3]);
    for node in [N2, N3] {
        let mut client = cluster.connect_app(node).await.unwrap();
        assert_eq!(source(&mut client).await, cluster.server_id(new), "{node}");
    }
    let (mut admin, mut app) =
        (cluster.connect_superuser(new).await.unwrap(), cluster.connect_app(new).await.unwrap());
    admin.query_drop("REVOKE SELECT ON mysql.rds_topology FROM app").await.unwrap();
    assert_eq!(code(app.query_drop("SELECT id FROM mysql.rds_topology").await), Some(1142));
    let rights = cluster.kind().replication_rights();
    admin.query_drop(format!("REVOKE {rights} ON *.* FROM app")).await.unwrap();
    let mut app = cluster.connect_app(new).await.unwrap();
    assert_eq!(code(app.query_drop("SHOW REPLICA STATUS").await), Some(1227));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_ends_at_the_front_and_begins_anew() {
    // The driver takes the process's; a build with several has none by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let names = ["*.cxyz.us-east-2.rds.amazonaws.com", "shop.cluster-cxyz.us-east-2.rds.amazonaws.com"];
    let certificate = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
    let (pem, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
    for flavour in [Flavour::Plain, Flavour::Aurora] {
        let builder = MySqlCluster::builder().hash("cxyz").flavour(flavour).tls(&pem, &key);
        let cluster = builder.start().await.unwrap();
        let tls = mysql_async::SslOpts::default()
            .with_root_certs(vec![pem.clone().into_bytes().into()])
            .with_disable_built_in_roots(true)
            .with_danger_tls_hostname_override(Some(cluster.instance_endpoint(N2)));
        let mut client = Conn::new(cluster.app_config(N2).ssl_opts(tls)).await.unwrap();
        let cipher: Option<(String, String)> =
            client.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.unwrap();
        assert!(cipher.is_some_and(|(_, cipher)| !cipher.is_empty()), "{flavour:?}");
        if flavour == Flavour::Aurora {
            assert_eq!(text(&mut client, AURORA_WRITER).await.as_deref(), Some("shop-1"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_node_is_promoted_when_another_comes_back_to_acknowledge() {
    let cluster = Arc::new(MySqlCluster::builder().rejoin_after(None).start().await.unwrap());
    let writer = Writer::start(&cluster).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.crash(N3).await.unwrap();
    let alone = cluster.fail_over().await.unwrap_err();
    assert!(
        matches!(&alone, Error::WrongState { node: N2, reason, .. } if reason.contains("alone")),
        "{alone}"
    );
    assert_eq!(cluster.truth().await, [Truth::Writer, Truth::Reader, Truth::Silent], "nothing was done");

    cluster.set_rejoin_after(Some(Duration::from_millis(200)));
    let record = cluster.fail_over().await.unwrap();
    assert_eq!(record.new_writer, N2);
    assert_eq!(cluster.truth().await, [Truth::Reader, Truth::Writer, Truth::Silent]);
    cluster.rejoin(N3).await.unwrap();
    cluster.wait_until_healthy(LONG).await.unwrap();
    assert_nothing_lost(&cluster, &writer.acknowledged().await).await;
}
