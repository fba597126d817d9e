//! The own pool type over sqlx on its bad days: closed in a failover, the end of the runtime, a reader that comes and
//! goes, wrong configurations.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod sqlx_support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::{Flavour, FreezeScope, LocalCluster, NodeId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgExecutor, Postgres};
use sqlx_support::{LIMIT, by_table, cluster, options, sized, sql, until, within};
use wrapper_core::observe::{Event, Observer};
use wrapper_sqlx::cluster_pool::PgClusterPool;
use wrapper_sqlx::cluster_pool::{BreakerState, ClusterPoolBuilder, ToReaders};
use wrapper_sqlx::{Error, ErrorKind};

fn pool_of(cluster: &LocalCluster, pool: PgPoolOptions) -> ClusterPoolBuilder<Postgres> {
    PgClusterPool::builder(pool, options(cluster))
        .reach(by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms")
}

async fn connected(builder: ClusterPoolBuilder<Postgres>) -> PgClusterPool {
    within("the pool", builder.connect()).await.expect("a pool")
}

async fn node_of(cluster: &LocalCluster, on: impl PgExecutor<'_>) -> sqlx::Result<NodeId> {
    let name: String = sqlx::query_scalar("SELECT current_setting('cluster_name')").fetch_one(on).await?;
    Ok(cluster.node_named(&name).expect("a node of the cluster"))
}

/// Scenario 60: the pool is closed while statements wait for a new writer, some in the middle of a failover, some for a
/// connection, and a transaction is open: all end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_can_be_closed_in_the_middle_of_a_failover() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let pool = connected(pool_of(&cluster, sized(4))).await;
    let transaction = pool.begin().await.expect("begun");
    let in_flight = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..3).map(|_| sqlx::query("SELECT pg_sleep(60)").execute(&pool))).await }
    });
    until("they are in flight", async || {
        let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected");
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
        direct.query_one(sql, &[]).await.expect("counted").get::<_, i64>(0) == 3
    })
    .await;
    // Nobody is promoted.
    cluster.crash(cluster.writer()).await.expect("crashed");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..8).map(|_| sqlx::query("SELECT 1").execute(&pool))).await }
    });
    let committing = tokio::spawn(transaction.commit());
    tokio::time::sleep(Duration::from_millis(300)).await;
    within("the close", pool.close()).await;
    assert_eq!(pool.cluster().task_count(), 0);
    for ended in within("the statements", in_flight).await.expect("no panic") {
        ended.expect_err("lost");
    }
    within("the commit", committing).await.expect("no panic").expect_err("lost");
    for ended in within("the statements", waiting).await.expect("no panic") {
        let error = ended.expect_err("the pool is closed");
        assert!(
            matches!(error, sqlx::Error::PoolClosed) || Error::from_driver(&error).is_some(),
            "{error:?}"
        );
    }
    assert!(pool.is_closed() && pool.try_acquire().is_none());
    let late = pool.begin().await.expect_err("closed");
    assert!(matches!(late, sqlx::Error::PoolClosed), "{late:?}");
}

/// Scenario 80: the runtime ends with statements in flight on a silent host and others waiting: nothing hangs, and a
/// second runtime does its own work.
#[test]
fn the_end_of_the_runtime_does_not_hang() {
    let outer = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = outer
        .block_on(cluster(Flavour::Aurora).promotion_time(LIMIT..=LIMIT).start())
        .expect("the cluster starts");
    let inner = tokio::runtime::Runtime::new().expect("a runtime");
    let pool = inner.block_on(connected(pool_of(&cluster, sized(4))));
    let transaction = inner.block_on(pool.begin()).expect("begun");
    let own = inner.block_on(pool.acquire()).expect("acquired");
    outer.block_on(cluster.freeze(cluster.writer(), FreezeScope::AllProcesses)).expect("frozen");
    inner.spawn({
        let pool = pool.clone();
        async move { join_all((0..8).map(|_| sqlx::query("SELECT 1").execute(&pool))).await }
    });
    inner.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
    let began = Instant::now();
    drop(inner);
    assert!(began.elapsed() < Duration::from_secs(10), "the end of the runtime took {:?}", began.elapsed());
    // What the application still holds can be dropped, without a runtime too.
    drop((transaction, own, pool));
    outer.block_on(cluster.thaw(cluster.writer())).expect("thawed");
    let other = tokio::runtime::Runtime::new().expect("a runtime");
    let pool = other.block_on(connected(pool_of(&cluster, sized(1))));
    let node = other.block_on(node_of(&cluster, &pool)).expect("asked");
    assert_eq!(node, cluster.writer());
    other.block_on(pool.close());
}

/// 53300, the server gives the application no place: what waits for one ends at its limit, what has one goes on, nothing is
/// switched. Then a failover, in which acquires are given up at any moment and the options change: every place of the pool is
/// free afterwards, on the new writer, with the new options. Then another one, in which the pool is dropped, not closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_cancelled_acquires_changed_options_and_a_dropped_pool() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let own = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5));
    let pool = connected(pool_of(&cluster, own)).await;
    let mut held = pool.acquire().await.expect("acquired");
    let epoch = pool.cluster().writer_epoch();
    let limit = async |places: i32| {
        let user = cluster.app().user;
        sql(&cluster, &format!("ALTER ROLE \"{user}\" CONNECTION LIMIT {places}")).await;
    };
    limit(0).await;
    // The pool may have a second connection, that of its start.
    let acquired = within("the acquires", join_all((0..3).map(|_| pool.acquire()))).await;
    let (others, refused): (Vec<_>, Vec<_>) = acquired.into_iter().partition(Result::is_ok);
    assert!(refused.len() >= 2, "{refused:?}");
    for refused in refused.into_iter().filter_map(Result::err) {
        let ours = Error::from_driver(&refused).unwrap_or_else(|| panic!("not ours: {refused:?}"));
        assert_eq!(ours.kind(), ErrorKind::Timeout, "{refused}");
        assert!(ours.outcome().is_not_applied(), "{refused}");
    }
    drop(others);
    assert_eq!(node_of(&cluster, &mut *held).await.expect("asked"), cluster.writer());
    drop(held);
    limit(-1).await;
    until("there are places again", async || {
        join_all((0..4).map(|_| pool.acquire())).await.iter().all(Result::is_ok)
    })
    .await;
    assert!(pool.reports().is_empty() && pool.cluster().writer_epoch() == epoch, "something was switched");

    cluster.crash(cluster.writer()).await.expect("crashed");
    pool.change_options(|options| options.application_name("changed").port(1));
    let over = AtomicBool::new(false);
    let cancelling = async {
        let (mut given_up, mut limit) = (0, 0);
        while !over.load(Ordering::SeqCst) {
            limit = (limit + 7) % 60;
            let acquire = tokio::time::timeout(Duration::from_millis(limit), pool.acquire());
            given_up += usize::from(acquire.await.is_err());
        }
        given_up
    };
    let failover = async {
        let record = cluster.fail_over().await;
        until("the monitor knows", async || pool.cluster().writer_epoch() > epoch).await;
        over.store(true, Ordering::SeqCst);
        record
    };
    let (record, given_up) = tokio::join!(failover, cancelling);
    let record = record.expect("failed over");
    assert!(given_up > 0, "no acquire was given up");
    let acquired = within("the acquires", join_all((0..4).map(|_| pool.acquire()))).await;
    for connection in acquired {
        let mut connection = connection.expect("every place is free");
        assert_eq!(node_of(&cluster, &mut *connection).await.expect("asked"), record.new_writer);
        let name = sqlx::query_scalar("SHOW application_name").fetch_one(&mut *connection);
        let name: String = name.await.expect("shown");
        assert_eq!(name, "changed");
    }

    let core = Arc::downgrade(pool.cluster().core());
    let mut transaction = pool.begin().await.expect("begun");
    // Nobody is promoted.
    cluster.crash(record.new_writer).await.expect("crashed");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..8).map(|_| sqlx::query("SELECT 1").execute(&pool))).await }
    });
    let lost = sqlx::query("SELECT 1").execute(&mut *transaction);
    drop(tokio::time::timeout(Duration::from_millis(200), lost).await);
    drop(transaction);
    waiting.abort();
    drop(waiting.await);
    drop(pool);
    until("what the pool has started is gone", async || core.strong_count() == 0).await;
}

/// The states of breakers, by host.
#[derive(Clone, Debug, Default)]
struct States(Arc<Mutex<Vec<(String, BreakerState)>>>);

impl Observer for States {
    fn on_event(&self, event: &Event) {
        if let Event::Breaker { host, state } = event {
            self.0.lock().unwrap().push((host.host().to_owned(), *state));
        }
    }
}

impl States {
    fn of(&self, host: &str) -> Vec<BreakerState> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|(of, _)| of == host).map(|(_, state)| *state).collect()
    }
}

/// Scenario 63: a reader that comes and goes: statements go to the other one as soon as its breaker is open, a trial at a
/// time finds out that it is back; without any reader the writer stands in.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_and_goes_is_passed_over() {
    let cluster = cluster(Flavour::Aurora).with_proxy(true).start().await.expect("the cluster starts");
    let states = States::default();
    let builder = pool_of(&cluster, sized(4)).route(ToReaders).observer(states.clone());
    let pool = connected(builder.set("reader_host_selector_strategy", "round_robin")).await;
    let [flapping, steady] = cluster.readers();
    let name = cluster.instance_endpoint(flapping);
    let asked = async || {
        let node = within("a read", node_of(&cluster, &pool)).await;
        node.ok()
    };
    for round in 1..=2 {
        until("both are used", async || asked().await == Some(flapping)).await;
        cluster.refuse(flapping).await.expect("refused");
        cluster.cut(flapping, integration_tests::Cut::Reset).await.expect("reset");
        until("its breaker opens", async || {
            asked().await;
            states.of(&name).iter().filter(|state| **state == BreakerState::Open).count() >= round
        })
        .await;
        until("the other one serves", async || asked().await == Some(steady)).await;
        cluster.heal(flapping).await.expect("healed");
        until("it is used again", async || asked().await == Some(flapping)).await;
        assert_eq!(states.of(&name).last(), Some(&BreakerState::Closed));
    }
    let seen = states.of(&name);
    for pair in seen.windows(2) {
        let fits = match pair[0] {
            BreakerState::Closed => pair[1] == BreakerState::Open,
            BreakerState::Open => pair[1] == BreakerState::HalfOpen,
            BreakerState::HalfOpen => pair[1] != BreakerState::HalfOpen,
        };
        assert!(fits, "{seen:?}");
    }
    let part = pool.hosts().into_iter().find(|part| part.host.host() == name).expect("it was used");
    assert_eq!(part.breaker, BreakerState::Closed);
    for reader in [flapping, steady] {
        cluster.crash(reader).await.expect("crashed");
    }
    until("the writer stands in", async || asked().await == Some(cluster.writer())).await;
    within("the close", pool.close()).await;
}

/// What is wrong is said before anything is opened, and typed.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_configurations_and_logins_are_typed_errors() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let failed = async |builder: ClusterPoolBuilder<Postgres>| {
        within("the pool", builder.connect()).await.expect_err("refused")
    };
    let error = failed(pool_of(&cluster, sized(2)).set("plugins", "failover,initial_connection")).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = failed(pool_of(&cluster, sized(2)).set("topology_refersh", "1s")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let unix = PgConnectOptions::new_without_pgpass().host("/tmp");
    let error = failed(PgClusterPool::builder(sized(2), unix)).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let wrong = options(&cluster).password("wrong-secret");
    let reach = by_table(cluster.names());
    let error = failed(PgClusterPool::builder(sized(2), wrong).reach(reach)).await;
    assert_eq!(error.kind(), ErrorKind::Login, "{error}");
    assert!(!error.to_string().contains("wrong-secret"), "{error}");
    let pool = connected(pool_of(&cluster, sized(2))).await;
    let app = cluster.app();
    let printed = format!("{pool:?} {}", pool.explain());
    assert!(!printed.contains(&app.password), "{printed}");
    within("the close", pool.close()).await;
}

/// On Aurora MySQL: what is dropped between any two messages leaves the only connection clean; the server's errors come
/// unchanged; 1040 is waited for and no failover; when the writer crashes, a transaction says that it is lost and the next
/// statement runs on the new writer.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_too() {
    use integration_tests::gate::{MessageGate, Sender};
    use sqlx_support::mysql;
    use wrapper_sqlx::cluster_pool::MySqlClusterPool;
    use wrapper_sqlx::core::TransactionOutcome;

    let cluster = mysql::cluster(Flavour::Aurora).max_connections(30);
    let cluster = cluster.start().await.expect("the cluster starts");
    mysql::sql(&cluster, "CREATE TABLE t (id bigint PRIMARY KEY)").await;
    let gate = MessageGate::start_mysql(cluster.address(cluster.writer())).await.expect("the gate starts");
    let port = gate.address().port();
    // The monitor asks once: after that the messages at the gate are the pool's.
    let builder = MySqlClusterPool::builder(mysql::sized(1), mysql::options(&cluster))
        .reach(move |_, options| options.host("127.0.0.1").port(port))
        .set("topology_refresh", "1h")
        .set("topology_high_refresh", "1h");
    let pool = within("the pool", builder.connect()).await.expect("a pool");
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
            let left = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&mut *next).await;
            let left: i64 = left.expect("asked");
            assert_eq!(left, 0, "{place}");
            if finished {
                break;
            }
            messages += 1;
        }
        assert!(messages >= 3, "the whole took {messages} messages of the {sender:?}");
    }
    within("the close", pool.close()).await;

    // A pool larger than what the server allows.
    let own = mysql::sized(40).acquire_timeout(Duration::from_secs(5));
    let builder =
        MySqlClusterPool::builder(own, mysql::options(&cluster)).reach(mysql::by_table(cluster.names()));
    let pool = within("the pool", builder.connect()).await.expect("a pool");
    let acquired = within("the acquires", join_all((0..40).map(|_| pool.acquire()))).await;
    let (held, refused): (Vec<_>, Vec<_>) = acquired.into_iter().partition(Result::is_ok);
    assert!(!held.is_empty() && !refused.is_empty(), "{} held, {} refused", held.len(), refused.len());
    let refused: Vec<_> = refused.into_iter().filter_map(Result::err).collect();
    for refused in &refused {
        let ours = Error::from_driver(refused).unwrap_or_else(|| panic!("not ours: {refused:?}"));
        assert!(ours.outcome().is_not_applied(), "{refused}");
    }
    // The server's own word is the cause.
    assert!(refused.iter().any(|refused| refused.to_string().contains("1040")), "{refused:?}");
    assert!(pool.reports().is_empty(), "something was switched");
    let fewer = held.len();
    drop(held);
    until("as many places as before", async || {
        let acquired = join_all((0..fewer).map(|_| pool.acquire())).await;
        acquired.iter().all(Result::is_ok)
    })
    .await;
    within("the close", pool.close()).await;

    let builder = MySqlClusterPool::builder(mysql::sized(2), mysql::options(&cluster))
        .reach(mysql::by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms");
    let pool = within("the pool", builder.connect()).await.expect("a pool");
    let mut transaction = pool.begin().await.expect("begun");
    sqlx::query("INSERT INTO t VALUES (?)").bind(3).execute(&mut *transaction).await.expect("inserted");
    transaction.commit().await.expect("committed");
    let twice =
        sqlx::query("INSERT INTO t VALUES (?)").bind(3).execute(&pool).await.expect_err("a duplicate");
    assert!(twice.as_database_error().is_some_and(|error| error.is_unique_violation()), "{twice:?}");
    let mut transaction = pool.begin().await.expect("begun");
    sqlx::query("INSERT INTO t VALUES (?)").bind(4).execute(&mut *transaction).await.expect("inserted");
    let record = cluster.fail_over().await.expect("failed over");
    let lost = sqlx::query("INSERT INTO t VALUES (?)").bind(5).execute(&mut *transaction);
    let lost = within("the call", lost).await.expect_err("lost");
    let ours = Error::from_driver(&lost).expect("ours");
    assert_eq!(ours.kind(), ErrorKind::TransactionStateUnknown, "{lost}");
    assert_eq!(ours.outcome(), TransactionOutcome::RolledBack, "{lost}");
    drop(transaction);
    let kept: Vec<i64> = sqlx::query_scalar("SELECT id FROM t").fetch_all(&pool).await.expect("rows");
    assert_eq!(kept, [3]);
    let own = pool.acquire().await.expect("acquired");
    assert_eq!(own.host().short_name(), cluster.instance(record.new_writer));
    drop(own);
    within("the close", pool.close()).await;
    assert_eq!(pool.cluster().task_count(), 0);
}
