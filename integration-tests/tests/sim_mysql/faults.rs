//! Crashes, switchovers, freezes and cuts: what clients see, and what is kept.

use std::time::{Duration, Instant};

use integration_tests::sim::{CommitFate, SimCluster};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use crate::{PATIENCE, cluster, code, connect, mysql, numbers, options, with_table};

/// Writes 1, 2, 3, … until an error; the number of the last acknowledged write.
async fn write_until_error(mut conn: Conn) -> i64 {
    let mut done = 0;
    while conn.exec_drop("INSERT INTO w VALUES (?)", (done + 1,)).await.is_ok() {
        done += 1;
    }
    done
}

async fn connect_in_time(cluster: &SimCluster, node: usize) -> Conn {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Conn::new(options(cluster, node)).await {
            Ok(conn) => return conn,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_crash_loses_no_acknowledged_write_and_keeps_no_open_transaction() {
    let promotion = Duration::from_millis(150);
    let cluster = mysql().promotion_time(promotion..=promotion).start().await.unwrap();
    let mut open = with_table(&cluster).await;
    open.query_drop("BEGIN; INSERT INTO w VALUES (-1)").await.unwrap();
    let writing = tokio::spawn(write_until_error(connect(&cluster, 0).await));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let record = timeout(PATIENCE, cluster.fail_over()).await.unwrap().unwrap();
    assert!(record.gap() >= promotion && record.gap() < promotion * 4, "{record:?}");
    let acknowledged = timeout(PATIENCE, writing).await.unwrap().unwrap();
    assert!(acknowledged > 0);
    assert!(open.query_drop("COMMIT").await.is_err());

    let mut conn = connect(&cluster, record.new_writer).await;
    let kept = numbers(&mut conn).await;
    assert_eq!(kept.first(), Some(&1), "the open transaction is gone");
    assert!((acknowledged..=acknowledged + 1).contains(&(kept.len() as i64)), "{acknowledged} {kept:?}");
    conn.query_drop("INSERT INTO w VALUES (-2)").await.unwrap();
    // The old writer is back as a reader that has everything.
    let mut reader = connect_in_time(&cluster, 0).await;
    let read_only: Option<bool> = reader.query_first("SELECT @@innodb_read_only").await.unwrap();
    assert_eq!(read_only, Some(true));
    assert_eq!(numbers(&mut reader).await.len(), kept.len() + 1);
}

#[tokio::test]
async fn a_switchover_tells_statements_under_way_and_closes_idle_connections() {
    let cluster = cluster().await;
    let (mut idle, mut busy) = (connect(&cluster, 0).await, connect(&cluster, 0).await);
    let asleep = tokio::spawn(async move { code(busy.query_drop("SELECT SLEEP(600)").await) });
    // The statement has arrived once it can be seen that nothing else is to come: its session has not answered.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let record = timeout(PATIENCE, cluster.planned_switchover(1)).await.unwrap().unwrap();
    assert_eq!((record.old_writer, record.new_writer, cluster.writer()), (Some(0), 1, Some(1)));
    assert_eq!(timeout(PATIENCE, asleep).await.unwrap().unwrap(), 1053);
    let lost = idle.ping().await;
    assert!(matches!(lost, Err(mysql_async::Error::Io(_) | mysql_async::Error::Driver(_))), "{lost:?}");
    connect(&cluster, 1).await.query_drop("CREATE TABLE w (id INT)").await.unwrap();
}

#[tokio::test]
async fn a_frozen_server_is_silent_until_it_is_thawed() {
    let cluster = cluster().await;
    let mut conn = with_table(&cluster).await;
    cluster.freeze(0).unwrap();
    let short = Duration::from_millis(100);
    assert!(timeout(short, Conn::new(options(&cluster, 0))).await.is_err());
    let insert = tokio::spawn(async move { conn.query_drop("INSERT INTO w VALUES (1)").await });
    tokio::time::sleep(short).await;
    assert!(!insert.is_finished());
    cluster.thaw(0).await.unwrap();
    timeout(PATIENCE, insert).await.unwrap().unwrap().unwrap();
    // Frozen and failed over meanwhile, it comes back as a reader.
    let record = timeout(PATIENCE, cluster.fail_over_frozen()).await.unwrap().unwrap();
    cluster.thaw(0).await.unwrap();
    let mut old = connect_in_time(&cluster, 0).await;
    assert_eq!(code(old.query_drop("INSERT INTO w VALUES (2)").await), 1290);
    assert_eq!(numbers(&mut connect(&cluster, record.new_writer).await).await, [1]);
}

#[tokio::test]
async fn a_cut_resets_connections_and_a_refusal_stops_new_ones() {
    let cluster = cluster().await;
    let mut conn = connect(&cluster, 0).await;
    cluster.cut(0).unwrap();
    assert!(conn.ping().await.is_err());
    let mut conn = connect(&cluster, 0).await;
    cluster.refuse(0).await.unwrap();
    assert!(Conn::new(options(&cluster, 0)).await.is_err());
    conn.ping().await.unwrap();
    cluster.heal(0).await.unwrap();
    connect(&cluster, 0).await;
    cluster.crash(1).await.unwrap();
    assert!(Conn::new(options(&cluster, 1)).await.is_err());
    cluster.heal(1).await.unwrap();
    connect(&cluster, 1).await;
}

#[tokio::test]
async fn a_promotion_demotes_the_old_writer_at_once() {
    let cluster = cluster().await;
    let mut conn = with_table(&cluster).await;
    cluster.promote(2).await.unwrap();
    assert!(conn.ping().await.is_err());
    assert_eq!(code(connect(&cluster, 0).await.query_drop("INSERT INTO w VALUES (1)").await), 1290);
    connect(&cluster, 2).await.query_drop("INSERT INTO w VALUES (1)").await.unwrap();
}

#[tokio::test]
async fn names_follow_the_writer_late() {
    let cluster = cluster().await;
    cluster.set_dns_lag(Duration::from_secs(3600));
    let endpoint = cluster.cluster_endpoint();
    cluster.promote(1).await.unwrap();
    assert_eq!(cluster.names().lookup(&endpoint), Some(cluster.address(0).unwrap().ip()));
}

#[tokio::test]
async fn a_lagging_reader_sees_commits_late() {
    let cluster = cluster().await;
    let mut writer = with_table(&cluster).await;
    cluster.set_replica_lag(1, Duration::from_secs(3600)).unwrap();
    writer.query_drop("INSERT INTO w VALUES (1)").await.unwrap();
    assert_eq!(numbers(&mut connect(&cluster, 1).await).await, [0_i64; 0]);
    assert_eq!(numbers(&mut connect(&cluster, 2).await).await, [1]);
}

#[tokio::test]
async fn the_fate_of_a_commit_can_be_chosen() {
    let cluster = cluster().await;
    let mut conn = with_table(&cluster).await;
    for (number, fate) in [(1, CommitFate::AppliedUnheard), (2, CommitFate::Lost)] {
        cluster.set_next_commit(0, fate).unwrap();
        let lost = conn.query_drop(format!("INSERT INTO w VALUES ({number})")).await;
        assert!(matches!(lost, Err(mysql_async::Error::Io(_))), "{lost:?}");
        conn = connect(&cluster, 0).await;
    }
    conn.query_drop("BEGIN; INSERT INTO w VALUES (3)").await.unwrap();
    cluster.set_next_commit(0, CommitFate::AppliedUnheard).unwrap();
    assert!(conn.query_drop("COMMIT").await.is_err());
    assert_eq!(numbers(&mut connect(&cluster, 0).await).await, [1, 3]);
}

#[tokio::test]
async fn connections_are_counted_and_named() {
    let cluster = cluster().await;
    let conn = connect(&cluster, 1).await;
    let sessions = cluster.sessions(1).unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].user.as_str(), sessions[0].pid.map(|pid| pid as u32)), ("app", Some(conn.id())));
    conn.disconnect().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while cluster.count_connections(1).unwrap() > 0 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    cluster.shutdown().await;
}
