//! Crashes, switchovers, freezes and cuts: what clients see, and what is kept.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::sim::{CommitFate, SimCluster, SimError};
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::{PATIENCE, Result, cluster, config, connect, connect_with, failed, one, state, text};

/// Writes 1, 2, 3, … until an error; the number of the last acknowledged write.
async fn write_until_error(client: Client) -> i64 {
    let mut done = 0;
    while client.execute("INSERT INTO w VALUES ($1)", &[&(done + 1)]).await.is_ok() {
        done += 1;
    }
    done
}

#[tokio::test]
async fn a_crash_loses_no_acknowledged_write_and_keeps_no_open_transaction() -> Result<()> {
    let promotion = Duration::from_millis(150);
    let cluster = SimCluster::builder().promotion_time(promotion..=promotion).start().await?;
    cluster.sql("CREATE TABLE w (id bigint PRIMARY KEY)").await?;
    let open = connect(&cluster, 0).await?;
    open.batch_execute("BEGIN; INSERT INTO w VALUES (-1)").await?;
    let writing = tokio::spawn(write_until_error(connect(&cluster, 0).await?));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let record = timeout(PATIENCE, cluster.fail_over()).await??;
    assert_eq!((record.old_writer, cluster.writer()), (Some(0), Some(record.new_writer)));
    assert_ne!(record.new_writer, 0);
    assert!(record.gap() >= promotion && record.gap() < promotion * 4, "{record:?}");

    let acknowledged = timeout(PATIENCE, writing).await??;
    assert!(acknowledged > 0);
    assert!(open.is_closed());
    let client = connect(&cluster, record.new_writer).await?;
    let row = client.query_one("SELECT count(*), max(id), min(id) FROM w", &[]).await?;
    let (count, max, min) = (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2));
    assert_eq!(min, 1, "the open transaction is gone");
    assert!(max == count && (acknowledged..=acknowledged + 1).contains(&max), "{acknowledged} {max} {count}");
    client.execute("INSERT INTO w VALUES ($1)", &[&(max + 1)]).await?;

    // The old writer is back as a reader that has everything.
    let deadline = Instant::now() + PATIENCE;
    let reader = loop {
        match connect(&cluster, 0).await {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(one(&reader, "SELECT pg_is_in_recovery()").await?.as_deref(), Some("t"));
    assert_eq!(one(&reader, "SELECT max(id) FROM w").await?, Some((max + 1).to_string()));
    Ok(())
}

/// Writes its own numbers, again and again on the present writer; those that were acknowledged.
async fn write_through(cluster: Arc<SimCluster>, first: i64, until: Instant) -> Vec<i64> {
    let (mut acknowledged, mut number) = (Vec::new(), first);
    while Instant::now() < until {
        let Some(writer) = cluster.writer() else {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        };
        let Ok(client) = connect(&cluster, writer).await else { continue };
        loop {
            number += 1;
            match client.execute("INSERT INTO w VALUES ($1)", &[&number]).await {
                Ok(_) if Instant::now() < until => acknowledged.push(number),
                Ok(_) => {
                    acknowledged.push(number);
                    break;
                }
                Err(_) => break,
            }
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_over_many_failovers_under_load() -> Result<()> {
    let millis = Duration::from_millis;
    let builder = SimCluster::builder().promotion_time(millis(10)..=millis(60)).rejoin_time(millis(10));
    let cluster = Arc::new(builder.restart_time(millis(5)).seed(7).start().await?);
    cluster.sql("CREATE TABLE w (id bigint PRIMARY KEY)").await?;
    let until = Instant::now() + Duration::from_secs(2);
    let writers = (1..=8).map(|n| tokio::spawn(write_through(Arc::clone(&cluster), n * 1_000_000, until)));
    let writers: Vec<_> = writers.collect();
    let mut failovers = 0;
    while Instant::now() < until {
        tokio::time::sleep(millis(60)).await;
        let done = match failovers % 3 {
            0 => cluster.fail_over().await,
            1 => cluster.planned_switchover((cluster.writer().unwrap_or(0) + 1) % 3).await,
            _ => cluster.promote((cluster.writer().unwrap_or(0) + 1) % 3).await,
        };
        // A node may not have come back yet.
        failovers += u32::from(done.is_ok());
    }
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(timeout(PATIENCE, writer).await??);
    }
    let stored = cluster.sql("SELECT id FROM w").await?;
    let stored: std::collections::HashSet<i64> =
        stored.into_iter().flatten().flatten().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let lost: Vec<_> = acknowledged.iter().filter(|number| !stored.contains(number)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(
        failovers >= 5 && acknowledged.len() > 100,
        "{failovers} failovers, {} writes",
        acknowledged.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_crash_resets_connections_and_refuses_new_ones() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 1).await?;
    assert_eq!(cluster.count_connections(1)?, 1);
    cluster.crash(1).await?;
    assert_eq!(cluster.count_connections(1)?, 0);
    let error = failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    assert!(error.code().is_none(), "no message of the server: {error:?}");
    let refused = failed(connect_with(&config(&cluster, 1)?).await);
    let cause = refused.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    assert_eq!(cause.map(std::io::Error::kind), Some(std::io::ErrorKind::ConnectionRefused));
    cluster.heal(1).await?;
    assert_eq!(one(&connect(&cluster, 1).await?, "SELECT 1").await?.as_deref(), Some("1"));
    assert!(matches!(cluster.crash(9).await, Err(SimError::NoSuchNode { node: 9, last: 2 })));
    Ok(())
}

#[tokio::test]
async fn a_planned_switchover_says_goodbye() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    let running = tokio::spawn(async move { client.query("SELECT pg_sleep(30)", &[]).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let record = timeout(PATIENCE, cluster.planned_switchover(2)).await??;
    assert_eq!((record.new_writer, cluster.writer()), (2, Some(2)));
    assert_eq!(state(&failed(timeout(PATIENCE, running).await??)), "57P01");
    assert!(matches!(cluster.planned_switchover(2).await, Err(SimError::AlreadyWriter { node: 2 })));
    Ok(())
}

#[tokio::test]
async fn a_promotion_restarts_the_reader_only_where_asked() -> Result<()> {
    for restart in [true, false] {
        let cluster = SimCluster::builder().restart_promoted(restart).start().await?;
        let client = connect(&cluster, 1).await?;
        cluster.fail_over().await?;
        assert_eq!(cluster.writer(), Some(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(client.is_closed(), restart);
        if !restart {
            client.batch_execute("CREATE TABLE t (id int)").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_frozen_node_accepts_and_never_answers() -> Result<()> {
    let cluster = cluster().await?;
    cluster.sql("CREATE TABLE t (id int)").await?;
    let client = connect(&cluster, 0).await?;
    cluster.freeze(0)?;
    let config = config(&cluster, 0)?;
    assert!(
        timeout(Duration::from_millis(100), connect_with(&config)).await.is_err(),
        "the login should hang"
    );
    tokio::net::TcpStream::connect(cluster.address(0)?).await?;
    let write = client.execute("INSERT INTO t VALUES (1)", &[]);
    tokio::pin!(write);
    assert!(timeout(Duration::from_millis(100), &mut write).await.is_err());

    cluster.thaw(0).await?;
    assert_eq!(timeout(PATIENCE, write).await??, 1);
    connect_with(&config).await?;

    // A writer that was replaced while it was frozen comes back as a reader; its sessions are lost.
    let record = cluster.fail_over_frozen().await?;
    assert!(timeout(Duration::from_millis(50), client.query("SELECT 1", &[])).await.is_err());
    cluster.sql("INSERT INTO t VALUES (2)").await?;
    cluster.thaw(0).await?;
    failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    let old = connect(&cluster, 0).await?;
    assert_eq!(text(&old, "SELECT pg_is_in_recovery(), count(*) FROM t").await?[0][1].as_deref(), Some("2"));
    assert_eq!(state(&failed(old.batch_execute("INSERT INTO t VALUES (3)").await)), "25006");
    assert_ne!(record.new_writer, 0);
    Ok(())
}

#[tokio::test]
async fn a_commit_can_be_lost_before_or_after_it_is_applied() -> Result<()> {
    let cluster = SimCluster::builder().nodes(1).start().await?;
    cluster.sql("CREATE TABLE t (id int)").await?;
    let mut expected = 0;
    for statement in ["INSERT INTO t VALUES (1)", "BEGIN; INSERT INTO t VALUES (1); COMMIT"] {
        for (fate, applied) in
            [(CommitFate::Lost, 0), (CommitFate::AppliedUnheard, 1), (CommitFate::Acknowledged, 1)]
        {
            let client = connect(&cluster, 0).await?;
            cluster.set_next_commit(0, fate)?;
            let outcome = timeout(PATIENCE, client.batch_execute(statement)).await?;
            assert_eq!(outcome.is_ok(), fate == CommitFate::Acknowledged, "{statement}: {outcome:?}");
            expected += applied;
            let count = cluster.sql("SELECT count(*) FROM t").await?;
            assert_eq!(count, [[Some(expected.to_string())]], "{statement} {fate:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_and_a_deaf_listener_leave_the_node_up() -> Result<()> {
    let cluster = SimCluster::builder().nodes(1).start().await?;
    let (client, config) = (connect(&cluster, 0).await?, config(&cluster, 0)?);
    cluster.freeze_logins(0)?;
    assert!(timeout(Duration::from_millis(100), connect_with(&config)).await.is_err());
    assert_eq!(one(&client, "SELECT 1").await?.as_deref(), Some("1"));
    cluster.cut(0)?;
    assert!(failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?).code().is_none());
    cluster.thaw(0).await?;
    let client = timeout(PATIENCE, connect_with(&config)).await??;
    client
        .batch_execute("START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE; COMMIT")
        .await?;
    assert_eq!(text(&client, "SELECT generate_series(1, 3) AS n").await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn endpoints_follow_a_failover_after_the_dns_lag() -> Result<()> {
    let cluster = SimCluster::builder().dns_lag(Duration::from_millis(300)).start().await?;
    let look_up = |name: &str| cluster.names().lookup(name);
    let ip = |node| cluster.address(node).map(|address| address.ip());
    assert_eq!(cluster.cluster_endpoint(), "shop.cluster-xyz.us-east-2.rds.amazonaws.com");
    assert_eq!(cluster.reader_endpoint(), "shop.cluster-ro-xyz.us-east-2.rds.amazonaws.com");
    assert_eq!(cluster.instance_endpoint(2)?, "shop-3.xyz.us-east-2.rds.amazonaws.com");
    assert_eq!(look_up(&cluster.instance_endpoint(2)?), Some(ip(2)?));
    assert_eq!(look_up(&cluster.cluster_endpoint()), Some(ip(0)?));
    assert_eq!(look_up(&cluster.reader_endpoint()), Some(ip(1)?));
    let record = cluster.fail_over().await?;
    assert_eq!(look_up(&cluster.cluster_endpoint()), Some(ip(0)?), "the old answer");
    tokio::time::sleep_until((record.accepting + Duration::from_millis(320)).into()).await;
    assert_eq!(look_up(&cluster.cluster_endpoint()), Some(ip(record.new_writer)?));
    assert_ne!(look_up(&cluster.reader_endpoint()), Some(ip(record.new_writer)?));
    Ok(())
}
