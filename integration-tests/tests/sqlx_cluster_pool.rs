//! The own pool type over sqlx on real clusters: statements, streams and transactions as with sqlx's own pool, and what
//! becomes of them when the writer crashes or falls silent.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod sqlx_support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use integration_tests::gate::{MessageGate, Sender};
use integration_tests::{Fault, Flavour, FreezeScope, LocalCluster, NodeId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{Acquire, Executor, PgExecutor, Postgres, QueryBuilder, Row};
use sqlx_support::{by_table, cluster, cluster_with_tls, options, sized, sql, until, within};
use wrapper_core::plugin::{BuildContext, Call, MethodSet, OrderClass, Outcome, Plugin, PluginFactory};
use wrapper_sqlx::cluster_pool::PgClusterPool;
use wrapper_sqlx::cluster_pool::{ClusterConnection, ClusterPoolBuilder};
use wrapper_sqlx::core::TransactionOutcome;
use wrapper_sqlx::{Error, ErrorKind};

/// A pool of the cluster, not connected yet; its monitor looks every 50 ms, and silence is noticed soon.
fn pool_of(cluster: &LocalCluster, pool: PgPoolOptions) -> ClusterPoolBuilder<Postgres> {
    pool_with(cluster, pool, options(cluster))
}

fn pool_with(
    cluster: &LocalCluster,
    pool: PgPoolOptions,
    options: PgConnectOptions,
) -> ClusterPoolBuilder<Postgres> {
    PgClusterPool::builder(pool, options)
        .reach(by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms")
        .set("failure_detection_time", "500ms")
        .set("failure_detection_interval", "100ms")
        .set("failure_detection_count", "3")
        .set("failover_timeout", "40s")
}

async fn connected(builder: ClusterPoolBuilder<Postgres>) -> PgClusterPool {
    within("the pool", builder.connect()).await.expect("a pool")
}

/// The node behind a connection, by its server's own word.
async fn node_of(cluster: &LocalCluster, on: impl PgExecutor<'_>) -> sqlx::Result<NodeId> {
    let name: String = sqlx::query_scalar("SELECT current_setting('cluster_name')").fetch_one(on).await?;
    Ok(cluster.node_named(&name).expect("a node of the cluster"))
}

/// The library's error inside one of sqlx's.
fn ours(error: &sqlx::Error) -> &Error {
    Error::from_driver(error).unwrap_or_else(|| panic!("not ours: {error:?}"))
}

fn known_writer(cluster: &LocalCluster, pool: &PgClusterPool) -> Option<NodeId> {
    let published = pool.cluster().topology()?;
    cluster.node_named(published.topology.writer()?.short_name())
}

async fn closed(pool: PgClusterPool) {
    within("the close", pool.close()).await;
    assert_eq!(pool.cluster().task_count(), 0, "a task outlived the pool");
    let late = sqlx::query("SELECT 1").execute(&pool).await;
    assert!(matches!(late, Err(sqlx::Error::PoolClosed)), "{late:?}");
}

/// Counts calls by their methods.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<Mutex<Vec<&'static str>>>);

impl Calls {
    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl PluginFactory for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }
    fn build(&self, _cx: &BuildContext<'_>) -> wrapper_core::Result<Arc<dyn Plugin>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Plugin for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }
    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }
    fn subscriptions(&self) -> MethodSet {
        MethodSet::ENTER_LEAVE
    }
    fn leave(&self, call: &Call<'_>, _outcome: Outcome<'_>) {
        self.0.lock().unwrap().push(call.method);
    }
}

async fn add(on: impl PgExecutor<'_>, id: i64) -> sqlx::Result<u64> {
    Ok(sqlx::query("INSERT INTO t (id) VALUES ($1)").bind(id).execute(on).await?.rows_affected())
}

/// A row that `query_as!` makes.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    id: i64,
    name: Option<String>,
}

/// What sqlx's macros generate is code for any executor of the database: it runs on the pool, its connections and its
/// transactions. The macros know the table from the files of `.sqlx`.
async fn checked_queries(pool: &PgClusterPool) -> sqlx::Result<()> {
    let added = sqlx::query!("INSERT INTO t (id, name) VALUES ($1, $2)", 50, "tea").execute(pool).await?;
    assert_eq!(added.rows_affected(), 1);
    let row = sqlx::query!("SELECT id, name FROM t WHERE id = $1", 50).fetch_one(pool).await?;
    assert_eq!((row.id, row.name.as_deref()), (50, Some("tea")));
    let none = sqlx::query!("SELECT id, name FROM t WHERE id = $1", 51).fetch_optional(pool).await?;
    assert!(none.is_none());
    let mut transaction = pool.begin().await?;
    let named = sqlx::query_as!(Named, "SELECT id, name FROM t WHERE name = $1", "tea")
        .fetch_all(&mut *transaction)
        .await?;
    assert_eq!(named, [Named { id: 50, name: Some("tea".to_owned()) }]);
    sqlx::query!("DELETE FROM t WHERE id = $1", 50).execute(&mut *transaction).await?;
    transaction.commit().await?;
    let mut connection = pool.acquire().await?;
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM t WHERE id = $1"#, 50)
        .fetch_one(&mut *connection)
        .await?;
    assert_eq!(count, 0);
    let rows = sqlx::query!("SELECT id, name FROM t WHERE id < $1", 50).fetch(pool);
    rows.try_for_each(|_| std::future::ready(Ok(()))).await
}

/// Generic over what can give a connection or a transaction, as libraries write it.
async fn add_two<'a>(on: impl Acquire<'a, Database = Postgres>) -> sqlx::Result<()> {
    let mut transaction = on.begin().await?;
    add(&mut *transaction, 101).await?;
    add(&mut *transaction, 102).await?;
    transaction.commit().await
}

async fn count<'a>(on: impl Acquire<'a, Database = Postgres>) -> sqlx::Result<i64> {
    let mut connection = on.acquire().await?;
    sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *connection).await
}

/// What compiles and works with sqlx's own pool does so here: queries, mappings, streams, batches, generic code,
/// transactions; the server's errors come unchanged, and every call passes the plugins.
#[tokio::test(flavor = "multi_thread")]
async fn what_works_on_a_pool_of_sqlx_works_here() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint PRIMARY KEY, name text); GRANT ALL ON t TO PUBLIC").await;
    let calls = Calls::default();
    let pool = connected(pool_of(&cluster, sized(3)).plugin(calls.clone())).await;
    calls.take();

    assert_eq!(add(&pool, 1).await.expect("inserted"), 1);
    assert_eq!(calls.take(), ["execute"]);
    let (id, name): (i64, Option<String>) =
        sqlx::query_as("SELECT id, name FROM t").fetch_one(&pool).await.expect("one row");
    assert_eq!((id, name), (1, None));
    let none: Option<PgRow> =
        sqlx::query("SELECT id FROM t WHERE id > $1").bind(7_i64).fetch_optional(&pool).await.expect("asked");
    assert!(none.is_none());
    assert_eq!(calls.take(), ["fetch_optional", "fetch_optional"]);
    let mut builder = QueryBuilder::<Postgres>::new("INSERT INTO t (id, name) ");
    builder.push_values(2..=5_i64, |mut row, id| {
        row.push_bind(id).push_bind(format!("name {id}"));
    });
    assert_eq!(builder.build().execute(&pool).await.expect("inserted").rows_affected(), 4);
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM t WHERE id > 1 ORDER BY id")
        .fetch_all(&pool)
        .await
        .expect("rows");
    assert_eq!(names.last().map(String::as_str), Some("name 5"));
    let all = sqlx::query("SELECT id FROM t").fetch_all(&pool).await.expect("rows");
    assert_eq!(all.len(), 5);
    // sqlx's mappings read from a stream.
    assert_eq!(calls.take(), ["execute", "fetch_many", "fetch_all"]);
    let mut rows = sqlx::query("SELECT i FROM generate_series(1, 100000) AS i").fetch(&pool);
    let mut sum = 0_i64;
    while let Some(row) = rows.try_next().await.expect("a row") {
        sum += i64::from(row.get::<i32, _>(0));
    }
    drop(rows);
    assert_eq!(sum, 5_000_050_000);
    let batch = sqlx::raw_sql("SELECT 1 AS a; SELECT 2 AS a, 3 AS b").fetch_many(&pool);
    let batch: Vec<_> = batch.try_collect().await.expect("answers");
    assert_eq!(batch.iter().filter(|item| item.is_left()).count(), 2);
    assert_eq!(calls.take(), ["fetch_many", "fetch_many"]);
    let statement =
        (&pool).prepare(sqlx::SqlSafeStr::into_sql_str("SELECT $1::int8 + 1")).await.expect("prepared");
    let prepared = sqlx::Statement::query(&statement).bind(41_i64).fetch_one(&pool).await.expect("a row");
    assert_eq!(prepared.get::<i64, _>(0), 42);

    checked_queries(&pool).await.expect("sqlx's macros");

    // The server's own word, as sqlx gives it.
    let twice = add(&pool, 1).await.expect_err("a duplicate");
    assert!(twice.as_database_error().is_some_and(|error| error.is_unique_violation()), "{twice:?}");
    let missing = sqlx::query("SELECT 1 WHERE false").fetch_one(&pool).await.expect_err("no row");
    assert!(matches!(missing, sqlx::Error::RowNotFound), "{missing:?}");

    calls.take();
    let mut transaction = pool.begin().await.expect("begun");
    add(&mut *transaction, 6).await.expect("inserted");
    transaction.commit().await.expect("committed");
    assert_eq!(calls.take(), ["begin", "execute", "commit"]);
    let mut transaction = pool.begin().await.expect("begun");
    add(&mut *transaction, 7).await.expect("inserted");
    transaction.rollback().await.expect("rolled back");
    let mut transaction = pool.begin().await.expect("begun");
    add(&mut *transaction, 8).await.expect("inserted");
    drop(transaction);
    add_two(&pool).await.expect("generic code");
    assert_eq!(count(&pool).await.expect("generic code"), 8);

    // A transaction in which something failed is not committed, also when nobody waited for the failure.
    for abandoned in [false, true] {
        let mut transaction = pool.begin().await.expect("begun");
        add(&mut *transaction, 9).await.expect("inserted");
        if abandoned {
            // An empty text after half a second.
            let fails = sqlx::raw_sql("SELECT 1 / length(pg_sleep(0.5)::text)").execute(&mut *transaction);
            let running = until("it runs", async || {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT 1 / length%'";
                sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.expect("asked") > 0
            });
            tokio::select! {
                biased;
                failed = fails => drop(failed.expect_err("divided by zero")),
                () = running => {}
            }
        } else {
            add(&mut *transaction, 1).await.expect_err("a duplicate");
        }
        let error = transaction.commit().await.expect_err("not committed");
        let error = ours(&error);
        assert_eq!(
            (error.outcome(), error.sqlstate()),
            (TransactionOutcome::RolledBack, Some("25P02")),
            "{error}"
        );
    }

    // A connection of one's own keeps its session; what was begun on it and forgotten is over when it comes back.
    let mut connection = pool.acquire().await.expect("acquired");
    connection.execute("SET lock_timeout = '7s'").await.expect("set");
    let timeout: String =
        sqlx::query_scalar("SHOW lock_timeout").fetch_one(&mut *connection).await.expect("shown");
    assert_eq!(timeout, "7s");
    connection.execute("BEGIN; INSERT INTO t VALUES (10)").await.expect("begun");
    drop(connection);
    until("nothing is left open", async || {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND usename = 'app'";
        sqlx::query_scalar::<_, i64>(open).fetch_one(&pool).await.expect("asked") == 0
    })
    .await;
    assert_eq!(count(&pool).await.expect("counted"), 8);
    let idle = until_some("an idle connection", || pool.try_acquire()).await;
    assert_eq!(idle.host().short_name(), cluster.instance(cluster.writer()));
    drop(idle);
    closed(pool).await;
}

async fn until_some<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, async || {
        found = find();
        found.is_some()
    })
    .await;
    found.expect("found")
}

/// A statement, a stream, a `begin` and a transaction that are dropped between any two messages of the protocol: the next
/// borrower of the only connection finds no transaction and no stale answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_leaves_a_clean_session() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint); GRANT ALL ON t TO PUBLIC").await;
    let gate = MessageGate::start(cluster.server_address(cluster.writer())).await.expect("the gate starts");
    let port = gate.address().port();
    // The monitor asks once: after that the messages at the gate are the pool's.
    let builder = PgClusterPool::builder(sized(1), options(&cluster))
        .reach(move |_, options| options.host("127.0.0.1").port(port))
        .set("topology_refresh", "1h")
        .set("topology_high_refresh", "1h");
    let pool = connected(builder).await;
    for sender in [Sender::Server, Sender::Client] {
        let mut messages = 0;
        loop {
            gate.hold_after(sender, messages);
            let work = async {
                let mut rows = sqlx::query("SELECT i FROM generate_series(1, 3) AS i").fetch(&pool);
                rows.next().await.expect("a row").expect("a row");
                drop(rows);
                let mut transaction = pool.begin().await.expect("begun");
                add(&mut *transaction, 1).await.expect("inserted");
                transaction.rollback().await.expect("rolled back");
                let mut plain = Acquire::begin(&pool).await.expect("begun");
                add(&mut *plain, 1).await.expect("inserted");
                drop(plain);
                add(&pool, 2).await.expect("inserted");
            };
            let finished = within("the work", async {
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
            let row = sqlx::raw_sql(alone).fetch_one(&mut *next).await.expect("asked");
            assert!(row.get::<bool, _>(0), "{place}: a transaction is open");
            let left = sqlx::query_scalar("SELECT count(*) FROM t WHERE id = 1").fetch_one(&mut *next);
            let left: i64 = left.await.expect("asked");
            assert_eq!(left, 0, "{place}");
            if finished {
                break;
            }
            messages += 1;
        }
        // Each of the seven statements is a message at the least.
        assert!(messages >= 7, "the whole took {messages} messages of the {sender:?}");
    }
    closed(pool).await;
}

/// What a task of the load has seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    next: AtomicI64,
    /// Acknowledged, in a transaction and alone.
    acknowledged: Mutex<Vec<i64>>,
    /// For certain not applied.
    refused: Mutex<Vec<i64>>,
    /// Idle connections to a host that the monitor knew to be demoted before they were asked for.
    demoted: AtomicU64,
    odd: Mutex<Vec<sqlx::Error>>,
}

impl Seen {
    async fn write(&self, pool: &PgClusterPool) {
        while !self.stop.load(Ordering::SeqCst) {
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            let written = if id % 2 == 0 { add(pool, id).await } else { in_transaction(pool, id).await };
            let Err(error) = written else {
                self.acknowledged.lock().unwrap().push(id);
                continue;
            };
            match Error::from_driver(&error) {
                Some(ours) => {
                    if ours.outcome().is_not_applied() {
                        self.refused.lock().unwrap().push(id);
                    }
                    let expected = [ErrorKind::FailoverSucceeded, ErrorKind::TransactionStateUnknown];
                    if !expected.contains(&ours.kind()) {
                        self.odd.lock().unwrap().push(error);
                    }
                }
                None => self.odd.lock().unwrap().push(error),
            }
        }
    }

    async fn look(&self, cluster: &LocalCluster, pool: &PgClusterPool) {
        while !self.stop.load(Ordering::SeqCst) {
            let known = known_writer(cluster, pool);
            if let Some(connection) = pool.try_acquire() {
                let node = cluster.node_named(connection.host().short_name());
                if node != known && node != known_writer(cluster, pool) {
                    self.demoted.fetch_add(1, Ordering::SeqCst);
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn in_transaction(pool: &PgClusterPool, id: i64) -> sqlx::Result<u64> {
    let mut transaction = pool.begin().await?;
    let added = add(&mut *transaction, id).await?;
    transaction.commit().await?;
    Ok(added)
}

/// 16 tasks over a pool of 8, one change of the writer in their midst.
async fn under_load(cluster: &LocalCluster, planned: bool) {
    sql(cluster, "CREATE TABLE t (id bigint PRIMARY KEY); GRANT ALL ON t TO PUBLIC").await;
    let pool = connected(pool_of(cluster, sized(8))).await;
    let seen = Seen::default();
    let script = async {
        until("the load runs", async || seen.acknowledged.lock().unwrap().len() > 200).await;
        let record = if planned {
            cluster.planned_switchover(cluster.readers()[0]).await.expect("switched")
        } else {
            cluster.fail_over().await.expect("failed over")
        };
        until("the monitor knows", async || known_writer(cluster, &pool) == Some(record.new_writer)).await;
        let before = seen.acknowledged.lock().unwrap().len();
        until("the load goes on", async || seen.acknowledged.lock().unwrap().len() > before + 200).await;
        seen.stop.store(true, Ordering::SeqCst);
        record
    };
    let load = join_all((0..16).map(|_| seen.write(&pool)));
    let (record, _, ()) =
        within("the load", async { tokio::join!(script, load, seen.look(cluster, &pool)) }).await;
    let odd = std::mem::take(&mut *seen.odd.lock().unwrap());
    assert!(odd.is_empty(), "{record}: {odd:?}");
    assert_eq!(seen.demoted.load(Ordering::SeqCst), 0, "idle connections to a demoted host");
    assert_eq!(node_of(cluster, &pool).await.expect("asked"), record.new_writer);
    let kept: Vec<i64> = sqlx::query_scalar("SELECT id FROM t").fetch_all(&pool).await.expect("rows");
    let kept: BTreeSet<i64> = kept.into_iter().collect();
    for id in seen.acknowledged.lock().unwrap().iter() {
        assert!(kept.contains(id), "{id} was acknowledged and is lost");
    }
    for id in seen.refused.lock().unwrap().iter() {
        assert!(!kept.contains(id), "{id} was said not to be applied and is there");
    }
    closed(pool).await;
}

/// Scenarios 59 and 64: the writer crashes under load: every error says what became of its statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    under_load(&cluster, false).await;
}

/// Scenarios 59 and 64, on an RDS Multi-AZ DB cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load_on_multi_az() {
    let cluster = cluster(Flavour::MultiAz).start().await.expect("the cluster starts");
    under_load(&cluster, false).await;
}

/// Scenario 59, planned: the old writer lives on as a reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switchover_under_load() {
    let cluster = cluster(Flavour::Aurora).rejoin_after(Some(Duration::from_millis(200)));
    let cluster = cluster.start().await.expect("the cluster starts");
    under_load(&cluster, true).await;
}

/// Scenarios 34 and 60: the writer falls silent with a statement, a stream and two transactions in flight, behind TLS, where
/// a polite close waits for ever: host monitoring ends them, each learns what became of it, and the next statement runs on
/// the new writer.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_ends_what_is_in_flight() {
    let (builder, authority) = cluster_with_tls(Flavour::Aurora);
    let cluster = builder.start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint PRIMARY KEY); GRANT ALL ON t TO PUBLIC").await;
    let options =
        options(&cluster).ssl_mode(PgSslMode::VerifyCa).ssl_root_cert_from_pem(authority.into_bytes());
    let pool = connected(pool_with(&cluster, sized(6), options)).await;
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(sqlx::query_scalar::<_, bool>(encrypted).fetch_one(&pool).await.expect("asked"));
    let stalls = "SELECT i, pg_sleep(CASE WHEN i > 3 THEN 60 ELSE 0 END), repeat('x', 9000) FROM generate_series(1, 4) i";
    let mut rows = sqlx::query(stalls).fetch(&pool);
    for _ in 0..2 {
        within("a row", rows.next()).await.expect("a row").expect("a row");
    }
    let mut working = pool.begin().await.expect("begun");
    add(&mut *working, 1).await.expect("inserted");
    let mut idle = pool.begin().await.expect("begun");
    add(&mut *idle, 2).await.expect("inserted");

    let long = async { sqlx::query("SELECT pg_sleep(60)").execute(&pool).await.expect_err("lost") };
    let inside = async { sqlx::query("SELECT pg_sleep(60)").execute(&mut *working).await.expect_err("lost") };
    let read = async {
        loop {
            match rows.next().await.expect("not complete") {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let silent = async {
        let running = async || {
            let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected");
            let sql =
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(%'";
            // The question itself is the fourth.
            direct.query_one(sql, &[]).await.expect("counted").get::<_, i64>(0) >= 4
        };
        until("all are in flight", running).await;
        cluster.fail_over_after(Fault::Freeze(FreezeScope::AllProcesses)).await.expect("failed over")
    };
    let (long, inside, read, record) =
        within("the calls", async { tokio::join!(long, inside, read, silent) }).await;
    assert_eq!(ours(&long).kind(), ErrorKind::FailoverSucceeded, "{long}");
    assert_eq!(ours(&long).outcome(), TransactionOutcome::MayHaveApplied, "{long}");
    assert_eq!(ours(&inside).kind(), ErrorKind::TransactionStateUnknown, "{inside}");
    assert_eq!(ours(&inside).outcome(), TransactionOutcome::RolledBack, "{inside}");
    assert_eq!(ours(&read).kind(), ErrorKind::HostSilent, "{read}");
    drop(rows);
    for (what, transaction) in [("the working one", working), ("the idle one", idle)] {
        let error = within(what, transaction.commit()).await.expect_err("lost");
        assert_eq!(ours(&error).kind(), ErrorKind::TransactionStateUnknown, "{what}: {error}");
        assert!(
            matches!(
                ours(&error).outcome(),
                TransactionOutcome::RolledBack | TransactionOutcome::MayHaveApplied
            ),
            "{what}: {error}"
        );
    }
    assert_eq!(node_of(&cluster, &pool).await.expect("asked"), record.new_writer);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&pool).await.expect("counted");
    assert_eq!(kept, 0);
    closed(pool).await;
    cluster.thaw(record.old_writer).await.expect("thawed");
}

/// A connection of one's own is switched and stays usable, also where the pool has no second place.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_ones_own_survives_its_host() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let pool = connected(pool_of(&cluster, sized(1))).await;
    let mut own: ClusterConnection<Postgres> = pool.acquire().await.expect("acquired");
    let record = cluster.fail_over().await.expect("failed over");
    let error = within("the call", own.execute("SELECT 1")).await.expect_err("lost");
    assert_eq!(ours(&error).kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(node_of(&cluster, &mut *own).await.expect("asked"), record.new_writer);
    assert_eq!(own.host().short_name(), cluster.instance(record.new_writer));
    // On the same host, with the only place of the pool in hand: the lost connection makes room for the next.
    sql(&cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pool'")
        .await;
    let error = within("the call", own.execute("SELECT 1")).await.expect_err("ended by the administrator");
    assert_eq!(ours(&error).kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(node_of(&cluster, &mut *own).await.expect("asked"), record.new_writer);
    drop(own);
    closed(pool).await;
}
