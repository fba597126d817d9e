//! Plain sqlx pools that follow the writer of real MySQL-family clusters.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![cfg(target_os = "linux")]

mod sqlx_support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::gate::{MessageGate, Sender};
use integration_tests::{Fault, Flavour, FreezeScope, NodeId};
use sqlx::mysql::{MySqlDatabaseError, MySqlSslMode};
use sqlx::{Connection, MySqlConnection};
use sqlx_support::mysql::{cluster, known_writer, node_of, options, pool_of, pool_with, sized, sql};
use sqlx_support::{LIMIT, ended, load, site, until, within};
use wrapper_sqlx::ErrorKind;
use wrapper_sqlx::mysql::{PoolBuilder, PoolHandle};

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY)";

async fn end(handle: PoolHandle) {
    ended(handle.cluster(), handle.shutdown()).await;
}

/// Scenarios 59 and 64: the writer crashes under a pool of 20 with 50 tasks, on Aurora MySQL.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load_on_aurora() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, TABLE).await;
    let site = site::mysql::On::new(&cluster, pool_of(&cluster, sized(20))).await;
    load::under_load(site, &cluster, async || cluster.fail_over().await.expect("failed over")).await;
}

/// Scenarios 59 and 64, with sqlx 0.8, on an RDS Multi-AZ DB cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load_with_sqlx_0_8() {
    use wrapper_sqlx::v0_8::mysql::PoolBuilder;
    use wrapper_sqlx::v0_8::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
    let cluster = cluster(Flavour::MultiAz).start().await.expect("the cluster starts");
    sql(&cluster, TABLE).await;
    let app = cluster.app();
    let options = MySqlConnectOptions::new()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username(&app.user)
        .password(&app.password)
        .database(&app.database)
        .ssl_mode(MySqlSslMode::Disabled);
    let own = MySqlPoolOptions::new().max_connections(20).acquire_timeout(Duration::from_secs(20));
    let names = cluster.names();
    let builder = PoolBuilder::new(own, options)
        .reach(move |host, options| match names.lookup(host.host()) {
            Some(address) => options.host(&address.to_string()),
            None => options,
        })
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms");
    let site = site::mysql_0_8::On::new(&cluster, builder).await;
    load::under_load(site, &cluster, async || cluster.fail_over().await.expect("failed over")).await;
}

/// Scenario 59, planned, on an RDS Multi-AZ DB cluster: the old writer lives on as a reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switchover_under_load_on_multi_az() {
    let cluster = cluster(Flavour::MultiAz).rejoin_after(Some(Duration::from_millis(200)));
    let cluster = cluster.start().await.expect("the cluster starts");
    sql(&cluster, TABLE).await;
    let site = site::mysql::On::new(&cluster, pool_of(&cluster, sized(20))).await;
    load::under_load(site, &cluster, async || {
        let [to, _] = cluster.readers();
        cluster.planned_switchover(to).await.expect("switched")
    })
    .await;
}

/// Scenarios 12 and 59: the old writer falls silent, with TLS: idle connections are thrown out, no acquire waits on it once
/// it is known to be replaced, and connections held by calls which it will never answer are replaced when they come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_behind_tls_holds_no_acquire_up() {
    let (pem, key) = sqlx_support::certificate();
    let cluster = cluster(Flavour::Aurora).hash("cxyz").tls(pem.clone(), key);
    let cluster = cluster.start().await.expect("the cluster starts");
    let options = options(&cluster).ssl_mode(MySqlSslMode::VerifyCa).ssl_ca_from_pem(pem.into_bytes());
    let builder = pool_with(&cluster, sized(6), options);
    let (pool, handle) = within("the pool", builder.connect()).await.expect("a pool");
    // Three idle connections, three in the hands of callers.
    let mut held = join_all((0..6).map(|_| pool.acquire())).await;
    let idle = held.split_off(3);
    for connection in &mut held {
        let connection = connection.as_mut().expect("acquired");
        let (_, cipher): (String, String) = sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            .fetch_one(&mut **connection)
            .await
            .expect("asked");
        assert!(!cipher.is_empty());
    }
    drop(idle);
    until("three are idle", async || pool.num_idle() == 3).await;

    let silent = Fault::Freeze(FreezeScope::AllProcesses);
    let record = cluster.fail_over_after(silent).await.expect("failed over");
    until("the monitor knows", async || known_writer(&cluster, &handle) == Some(record.new_writer)).await;
    until("the pool was switched", async || handle.last_switch().is_some()).await;
    assert_eq!(handle.last_switch().expect("switched").dropped, 3);
    assert!(pool.try_acquire().is_none(), "no idle connection to the silent host is left");

    // While three places are held by callers, three are free.
    let fresh = join_all((0..3).map(|_| async {
        let began = Instant::now();
        let mut connection = within("an acquire", pool.acquire()).await.expect("acquired");
        let took = began.elapsed();
        (node_of(&cluster, &mut connection).await.expect("asked"), took, connection)
    }))
    .await;
    for (node, took, _) in &fresh {
        assert_eq!(*node, record.new_writer);
        // A wait for the silent host would last until the limit of the acquire, 20 s.
        assert!(*took < Duration::from_secs(10), "an acquire took {took:?}");
    }

    // Each of the others is asked something, and given up by its caller.
    for connection in &mut held {
        let connection = connection.as_mut().expect("acquired");
        let asked = sqlx::query("SELECT 1").execute(&mut **connection);
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err(), "the host is silent");
    }
    drop(held);
    let rest = join_all((0..3).map(|_| async {
        let mut connection = within("an acquire", pool.acquire()).await.expect("acquired");
        (node_of(&cluster, &mut connection).await.expect("asked"), connection)
    }))
    .await;
    assert!(rest.iter().all(|(node, _)| *node == record.new_writer));
    assert_eq!(pool.size(), 6);
    drop((fresh, rest));
    end(handle).await;
    within("the close", pool.close()).await;
}

/// A `begin` that is dropped between any two messages of the protocol, a statement that is dropped while it is prepared,
/// and a transaction that is dropped with work in it: the next borrower of the only connection finds no transaction and
/// no stale answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_begin_leaves_a_clean_session() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, TABLE).await;
    let gate = MessageGate::start_mysql(cluster.address(cluster.writer())).await.expect("the gate starts");
    let port = gate.address().port();
    // The monitor asks once: after that the messages at the gate are the pool's.
    let builder = PoolBuilder::new(sized(1), options(&cluster))
        .reach(move |_, options| options.host("127.0.0.1").port(port))
        .set("topology_refresh", "1h")
        .set("topology_high_refresh", "1h");
    let (pool, handle) = within("the pool", builder.connect()).await.expect("a pool");
    for sender in [Sender::Server, Sender::Client] {
        let mut messages = 0;
        loop {
            gate.hold_after(sender, messages);
            let work = async {
                let mut transaction = pool.begin().await.expect("begun");
                // With parameters: the answer to the prepare has several packets.
                let insert = sqlx::query("INSERT INTO t VALUES (?), (?)").bind(1).bind(2);
                insert.execute(&mut *transaction).await.expect("inserted");
                transaction.rollback().await.expect("rolled back");
            };
            let finished = within("the transaction", async {
                tokio::select! {
                    biased;
                    () = gate.held() => false,
                    () = work => true,
                }
            });
            let finished = finished.await;
            gate.open();
            let place = format!("{sender:?} held after {messages} messages");
            let mut next = within("the next borrower", pool.acquire()).await.expect("acquired");
            let answer: i32 = sqlx::query_scalar("SELECT 42").fetch_one(&mut *next).await.expect("asked");
            assert_eq!(answer, 42, "{place}");
            // sqlx itself says whether a transaction is open.
            let begun = next.begin_with("DO 0").await;
            assert!(matches!(begun, Err(sqlx::Error::BeginFailed)), "{place}: a transaction is open");
            drop(begun);
            let left: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&mut *next).await.expect("asked");
            assert_eq!(left, 0, "{place}");
            if finished {
                break;
            }
            messages += 1;
        }
        // BEGIN, INSERT and ROLLBACK are three messages at the least, and have more answers than that.
        assert!(messages >= 3, "the whole took {messages} messages of the {sender:?}");
    }
    end(handle).await;
}

/// 1040, the server has no place left: sqlx fails the acquire that meets it with the server's own error; the monitor sees
/// no failure, nothing is switched, and the pool goes on when there is a place. Before: wrong configurations and logins.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_an_error_and_no_failover() {
    let cluster = cluster(Flavour::Aurora).max_connections(30).start().await.expect("the cluster starts");
    let failed =
        async |builder: PoolBuilder| within("the pool", builder.connect()).await.expect_err("refused");
    let error = failed(pool_of(&cluster, sized(2)).set("plugins", "failover,efm")).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = failed(PoolBuilder::new(sized(2), options(&cluster).host("/tmp"))).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = failed(pool_with(&cluster, sized(2), options(&cluster).password("wrong"))).await;
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Login, Some(1045)), "{error}");

    let (pool, handle) = within("the pool", pool_of(&cluster, sized(8)).connect()).await.expect("a pool");
    // Somebody else takes every place that is left to the application.
    let direct = options(&cluster).host(&cluster.address(cluster.writer()).ip().to_string());
    let mut others: Vec<MySqlConnection> = Vec::new();
    let full = loop {
        match MySqlConnection::connect_with(&direct).await {
            Ok(connection) => others.push(connection),
            Err(error) => break error,
        }
    };
    let code = |error: &sqlx::Error| {
        let server = error.as_database_error()?;
        Some(server.try_downcast_ref::<MySqlDatabaseError>()?.number())
    };
    assert_eq!(code(&full), Some(1040), "{full}");
    let acquired = within("the acquires", join_all((0..8).map(|_| pool.acquire()))).await;
    let (held, refused): (Vec<_>, Vec<_>) = acquired.into_iter().partition(Result::is_ok);
    assert!(!held.is_empty(), "the pool had a connection");
    assert!(!refused.is_empty(), "there are not eight places");
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!(code(&error), Some(1040), "{error}");
    }
    drop((held, others));
    until("there is a place for each", async || {
        join_all((0..8).map(|_| pool.acquire())).await.iter().all(Result::is_ok)
    })
    .await;
    assert!(handle.last_switch().is_none(), "nothing was switched");
    end(handle).await;
}

/// Scenarios 63 and 74: a reader pool beside a writer pool: its connections are spread over the readers; when one is lost
/// the other takes over; when all are gone, the writer.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_pool_is_spread_and_survives_its_readers() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    // By chance one reader might get nearly all of them.
    let builder = pool_of(&cluster, sized(2)).set("reader_host_selector_strategy", "round_robin");
    let (writes, handle) = within("the pool", builder.connect()).await.expect("a pool");
    let builder = handle.another(sized(8)).readers();
    let (reads, reads_handle) = within("the pool", builder.connect()).await.expect("a pool");
    let nodes = async || {
        let acquired = within("the acquires", join_all((0..8).map(|_| reads.acquire()))).await;
        let mut nodes = Vec::new();
        for connection in acquired {
            let mut connection = connection.expect("acquired");
            nodes.push(node_of(&cluster, &mut connection).await.expect("asked"));
        }
        nodes
    };
    let [one, other] = cluster.readers();
    let writer = cluster.writer();
    let spread: Vec<NodeId> = nodes().await;
    assert!(!spread.contains(&writer), "{spread:?}");
    for reader in [one, other] {
        assert!(spread.iter().filter(|node| **node == reader).count() >= 2, "{spread:?}");
    }
    cluster.crash(one).await.expect("crashed");
    assert!(nodes().await.iter().all(|node| *node == other));
    cluster.crash(other).await.expect("crashed");
    assert!(nodes().await.iter().all(|node| *node == writer));
    drop(writes);
    reads_handle.shutdown().await;
    end(handle).await;
}

/// The handle is dropped in the middle of a failover, while new connections are led to a reader for the time being: waits
/// end, no task and no monitor is left, and no acquire gives a connection to that reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_outlives_its_handle() {
    let cluster = cluster(Flavour::Aurora).promotion_time(LIMIT..=LIMIT).start().await.expect("it starts");
    let own = sized(4).acquire_timeout(Duration::from_secs(3));
    let (pool, handle) = within("the pool", pool_of(&cluster, own).connect()).await.expect("a pool");
    let core = std::sync::Arc::downgrade(handle.cluster().core());
    cluster.crash(cluster.writer()).await.expect("crashed");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..8).map(|_| pool.acquire())).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(handle);
    let ended = within("the acquires", waiting).await.expect("no panic");
    assert!(ended.iter().all(Result::is_err), "nobody was promoted");
    until("the cluster is gone", async || core.strong_count() == 0).await;
    within("the close", pool.close()).await;
}
