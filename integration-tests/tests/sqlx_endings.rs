//! Plain sqlx pools on their bad days: closed, dropped and cancelled in the middle of a failover; options and hooks of
//! the application.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod sqlx_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::gate::{MessageGate, Sender};
use integration_tests::{Fault, Flavour, FreezeScope, NodeId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use sqlx_support::{
    LIMIT, cluster, connections_at, end, known_writer, node_of, options, pool_of, sized, sql, until, within,
};
use wrapper_sqlx::ErrorKind;
use wrapper_sqlx::postgres::{MONITOR_APPLICATION_NAME, PoolBuilder};

/// Scenario 60: the pool is closed while its connections wait for a new writer: the close and the acquires end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_can_be_closed_in_the_middle_of_a_failover() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let (pool, handle) = within("the pool", pool_of(&cluster, sized(4)).connect()).await.expect("a pool");
    let held = join_all((0..4).map(|_| pool.acquire())).await;
    // Nobody is promoted.
    cluster.crash(cluster.writer()).await.expect("crashed");
    drop(held);
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..8).map(|_| pool.acquire())).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    within("the close", pool.close()).await;
    assert!(began.elapsed() < Duration::from_secs(15), "the close took {:?}", began.elapsed());
    for acquired in within("the acquires", waiting).await.expect("no panic") {
        let error = acquired.expect_err("the pool is closed");
        assert!(matches!(error, sqlx::Error::PoolClosed | sqlx::Error::Io(_)), "{error}");
    }
    until("the following ends", async || !handle.is_following()).await;
    end(handle).await;
}

/// The handle is dropped before the pool, in the middle of a failover: no task and no monitor is left, waits end, and the
/// pool is as sqlx's own from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_outlives_its_handle() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let own = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(3));
    let (pool, handle) = within("the pool", pool_of(&cluster, own).connect()).await.expect("a pool");
    let monitors = integration_tests::local::ConnectionFilter::all().application(MONITOR_APPLICATION_NAME);
    assert_eq!(cluster.count_connections(cluster.writer(), &monitors).await.expect("counted"), 1);
    let core = Arc::downgrade(handle.cluster().core());
    drop(handle);
    until("the cluster is gone", async || core.strong_count() == 0).await;
    until("the monitor is gone", async || {
        cluster.count_connections(cluster.writer(), &monitors).await.expect("counted") == 0
    })
    .await;
    let mut connection = within("an acquire", pool.acquire()).await.expect("the pool goes on");
    assert_eq!(node_of(&cluster, &mut connection).await.expect("asked"), cluster.writer());
    drop(connection);

    // Another one, whose handle goes while acquires wait.
    let own = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(3));
    let (other, handle) = within("the pool", pool_of(&cluster, own).connect()).await.expect("a pool");
    cluster.crash(cluster.writer()).await.expect("crashed");
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { join_all((0..8).map(|_| other.acquire())).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(handle);
    let ended = within("the acquires", waiting).await.expect("no panic");
    assert!(ended.iter().all(Result::is_err), "nobody was promoted");
    within("the close", other.close()).await;
    within("the close", pool.close()).await;
}

/// Acquires that are given up at any moment of a failover leave the pool whole: every place is free again afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_acquires_leave_every_place_free() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let (pool, handle) = within("the pool", pool_of(&cluster, sized(3)).connect()).await.expect("a pool");
    let held = join_all((0..3).map(|_| pool.acquire())).await;
    let cancelling = async {
        let end = Instant::now() + Duration::from_millis(1500);
        let mut given_up = 0;
        let mut limit = 0;
        while Instant::now() < end {
            limit = (limit + 7) % 60;
            let acquire = tokio::time::timeout(Duration::from_millis(limit), pool.acquire());
            given_up += usize::from(acquire.await.is_err());
        }
        given_up
    };
    let (record, given_up) = tokio::join!(
        async {
            drop(held);
            cluster.fail_over().await
        },
        cancelling
    );
    let record = record.expect("failed over");
    assert!(given_up > 0, "no acquire was given up");
    let all = within("the acquires", join_all((0..3).map(|_| pool.acquire()))).await;
    for connection in all {
        let mut connection = connection.expect("acquired");
        assert_eq!(node_of(&cluster, &mut connection).await.expect("asked"), record.new_writer);
    }
    end(handle).await;
}

/// A `begin` that is dropped between any two messages of the protocol, and a transaction that is dropped with work in it:
/// the next borrower of the only connection finds no transaction and no stale answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_begin_leaves_a_clean_session() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint); GRANT ALL ON t TO PUBLIC").await;
    let gate = MessageGate::start(cluster.server_address(cluster.writer())).await.expect("the gate starts");
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
                sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *transaction).await.expect("inserted");
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
            // In a transaction of an earlier borrower the two would differ.
            let alone = "SELECT transaction_timestamp() = statement_timestamp()";
            let rows = sqlx::raw_sql(alone).fetch_one(&mut *next).await.expect("asked");
            assert!(sqlx::Row::get::<bool, _>(&rows, 0), "{place}: a transaction is open");
            let left: i64 =
                sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *next).await.expect("asked");
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

/// 53300: the server has no place left. Acquires wait, the monitor sees no failure, and they end when there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_waited_for() {
    let cluster = cluster(Flavour::Aurora).max_connections(100).start().await.expect("the cluster starts");
    let (pool, handle) = within("the pool", pool_of(&cluster, sized(8)).connect()).await.expect("a pool");
    // Somebody else takes every place that is left to the application.
    let direct = options(&cluster).host(&cluster.address(cluster.writer()).ip().to_string());
    let mut others: Vec<PgConnection> = Vec::new();
    while let Ok(connection) = PgConnection::connect_with(&direct).await {
        others.push(connection);
    }
    assert!(!others.is_empty());
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..8).map(|_| pool.acquire())).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "there are not eight places");
    let switches = handle.last_switch().map(|switch| switch.to);
    drop(others);
    let acquired = within("the acquires", waiting).await.expect("no panic");
    assert!(acquired.iter().all(Result::is_ok));
    assert_eq!(
        (switches, handle.last_switch().map(|switch| switch.to)),
        (None, None),
        "nothing was switched"
    );
    assert_eq!(connections_at(&cluster, cluster.writer()).await, 8);
    drop(acquired);
    end(handle).await;
}

/// The application's options and hooks hold, on replaced connections too, and what it changes during a switch stays.
#[tokio::test(flavor = "multi_thread")]
async fn options_and_hooks_of_the_application_are_kept() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let counts: [Arc<AtomicUsize>; 3] = std::array::from_fn(|_| Arc::default());
    let [connected, acquired, released] = counts.clone();
    let own = sized(3).min_connections(1).max_lifetime(Duration::from_secs(600));
    let options = options(&cluster).options([("work_mem", "3MB")]).application_name("mine");
    let (pool, handle) = PoolBuilder::new(own, options)
        .reach(sqlx_support::by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms")
        .after_connect(move |connection| {
            connected.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                sqlx::query("SET lock_timeout = '4s'").execute(connection).await?;
                Ok(())
            })
        })
        .before_acquire(move |_, metadata| {
            acquired.fetch_add(usize::from(metadata.idle_for > Duration::ZERO), Ordering::SeqCst);
            Box::pin(async { Ok(true) })
        })
        .after_release(move |connection, _| {
            released.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(sqlx::query("SELECT 1").execute(connection).await.is_ok()) })
        })
        .connect()
        .await
        .expect("a pool");
    assert_eq!((pool.options().get_max_connections(), pool.options().get_min_connections()), (3, 1));
    assert_eq!(pool.options().get_max_lifetime(), Some(Duration::from_secs(600)));
    let held = join_all((0..3).map(|_| pool.acquire())).await;
    cluster.crash(cluster.writer()).await.expect("crashed");
    handle
        .change_options(|options: PgConnectOptions| options.application_name("changed").port(1))
        .expect("the pool is followed");
    let record = cluster.fail_over().await.expect("failed over");
    drop(held);
    for connection in within("the acquires", join_all((0..3).map(|_| pool.acquire()))).await {
        let mut connection = connection.expect("acquired");
        assert_eq!(node_of(&cluster, &mut connection).await.expect("asked"), record.new_writer);
        for (setting, value) in [("lock_timeout", "4s"), ("work_mem", "3MB"), ("application_name", "changed")]
        {
            let sql = "SELECT current_setting($1)";
            let found: String =
                sqlx::query_scalar(sql).bind(setting).fetch_one(&mut *connection).await.expect("asked");
            assert_eq!(found, value, "{setting}");
        }
    }
    let [connected, acquired, released] = counts.map(|count| count.load(Ordering::SeqCst));
    assert!(connected >= 6, "{connected}: three connections, and one in the place of each");
    assert!(acquired >= 1 && released >= 3, "{acquired}, {released}");
    end(handle).await;
}

/// What is wrong is said before anything is opened, and typed.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_configurations_and_logins_are_typed_errors() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let failed =
        async |builder: PoolBuilder| within("the pool", builder.connect()).await.expect_err("refused");
    let error = failed(pool_of(&cluster, sized(2)).set("plugins", "failover,efm")).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("`plugins=failover,efm`"), "{error}");
    let error = failed(pool_of(&cluster, sized(2)).set("topology_refersh", "1s")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = failed(PoolBuilder::new(sized(2), PgConnectOptions::new_without_pgpass().host("/tmp"))).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let options = options(&cluster).password("wrong");
    let reach = sqlx_support::by_table(cluster.names());
    let error = failed(PoolBuilder::new(sized(2), options).reach(reach)).await;
    assert_eq!(error.kind(), ErrorKind::Login, "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let (pool, handle) = within("the pool", pool_of(&cluster, sized(2)).connect()).await.expect("a pool");
    let error = failed(handle.another(sized(2)).set("topology_refresh", "1s")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    drop(pool);
    end(handle).await;
}

/// Scenario 80: the runtime ends in the middle of a failover, on a silent host: nothing hangs, and a second runtime does
/// its own work.
#[test]
fn the_end_of_the_runtime_does_not_hang() {
    let outer = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = outer
        .block_on(cluster(Flavour::Aurora).promotion_time(LIMIT..=LIMIT).start())
        .expect("the cluster starts");
    let inner = tokio::runtime::Runtime::new().expect("a runtime");
    let (pool, handle) = inner.block_on(pool_of(&cluster, sized(4)).connect()).expect("a pool");
    let held = inner.block_on(join_all((0..4).map(|_| pool.acquire())));
    outer.block_on(cluster.freeze(cluster.writer(), FreezeScope::AllProcesses)).expect("frozen");
    inner.spawn({
        let pool = pool.clone();
        async move { join_all((0..8).map(|_| pool.acquire())).await }
    });
    inner.block_on(async {
        drop(held);
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    let began = Instant::now();
    drop(inner);
    assert!(began.elapsed() < Duration::from_secs(15), "the end of the runtime took {:?}", began.elapsed());
    drop((handle, pool));
    outer.block_on(cluster.thaw(cluster.writer())).expect("thawed");
    let other = tokio::runtime::Runtime::new().expect("a runtime");
    let (pool, handle) = other.block_on(pool_of(&cluster, sized(1)).connect()).expect("a pool");
    let node = other.block_on(async {
        let mut connection = pool.acquire().await.expect("acquired");
        node_of(&cluster, &mut connection).await.expect("asked")
    });
    assert_eq!(node, cluster.writer());
    drop(handle);
}

/// Scenarios 63 and 74: a reader pool beside a writer pool, one monitor for both: its connections are spread over the
/// readers; when one is lost the others take over; when all are gone, the writer; and readers again when they are back.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_pool_is_spread_and_survives_its_readers() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    // By chance one reader might get nearly all of them.
    let builder = pool_of(&cluster, sized(2)).set("reader_host_selector_strategy", "round_robin");
    let (writes, handle) = within("the pool", builder.connect()).await.expect("a pool");
    let builder = handle.another(sized(12)).readers();
    let (reads, reads_handle) = within("the pool", builder.connect()).await.expect("a pool");
    let nodes = async || {
        let acquired = within("the acquires", join_all((0..12).map(|_| reads.acquire()))).await;
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
        assert!(spread.iter().filter(|node| **node == reader).count() >= 3, "{spread:?}");
    }
    cluster.crash(one).await.expect("crashed");
    assert!(nodes().await.iter().all(|node| *node == other));
    cluster.crash(other).await.expect("crashed");
    assert!(nodes().await.iter().all(|node| *node == writer));
    for reader in [one, other] {
        cluster.restart(reader).await.expect("restarted");
    }
    cluster.wait_until_healthy(Duration::from_secs(30)).await.expect("healthy again");
    until("a reader is used again", async || nodes().await.iter().any(|node| *node != writer)).await;
    let monitors = integration_tests::local::ConnectionFilter::all().application(MONITOR_APPLICATION_NAME);
    assert_eq!(cluster.count_connections(writer, &monitors).await.expect("counted"), 1);
    drop(writes);
    reads_handle.shutdown().await;
    end(handle).await;
}

/// A promotion takes a reader out of the reader pool, and the old writer, back as a reader, in.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_pool_leaves_a_promoted_reader() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let builder = pool_of(&cluster, sized(6)).readers();
    let (pool, handle) = within("the pool", builder.connect()).await.expect("a pool");
    let record = cluster.fail_over_after(Fault::Crash).await.expect("failed over");
    until("the monitor knows", async || known_writer(&cluster, &handle) == Some(record.new_writer)).await;
    let [one, other] = cluster.readers();
    let left = if one == record.old_writer { other } else { one };
    let acquired = within("the acquires", join_all((0..6).map(|_| pool.acquire()))).await;
    for connection in acquired {
        let mut connection = connection.expect("acquired");
        assert_eq!(node_of(&cluster, &mut connection).await.expect("asked"), left);
    }
    end(handle).await;
}
