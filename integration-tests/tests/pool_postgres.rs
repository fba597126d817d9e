//! Pools of others over PostgreSQL clusters: deadpool and bb8 with the library's clients, deadpool-postgres with the
//! driver's.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod common;
#[path = "common/faults.rs"]
mod faults;
mod pool_support;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{builder, within};
use deadpool_postgres::{ManagerConfig, RecyclingMethod};
use diesel::{ConnectionError, ExpressionMethods};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use faults::{cluster, end, until};
use futures_util::future::join_all;
use integration_tests::local::ConnectionFilter;
use integration_tests::{Fault, Flavour, FreezeScope, LocalCluster, NodeId};
use pool_support::{Load, Pooled, ends_in_the_middle_of_a_failover, outlives_its_runtime};
use schema::t;
use tokio_postgres::error::DbError;
use wrapper_pg::pool::{Manager, RawConnect, Recycling};
use wrapper_pg::{Connector, Error, ErrorKind};

type Deadpool = deadpool::managed::Pool<Manager>;
type Bb8 = bb8::Pool<Manager>;
type Raw = deadpool_postgres::Pool;
type Diesel = diesel_async::pooled_connection::deadpool::Pool<AsyncPgConnection>;

#[allow(missing_docs, unreachable_pub, reason = "what the macro makes")]
mod schema {
    diesel::table! {
        t (id) {
            id -> BigInt,
        }
    }
}

const SIZE: usize = 4;
const NAME: &str = "SELECT current_setting('cluster_name')";
const SLEEP: &str = "SELECT pg_sleep(600)";
const INSERT: &str = "INSERT INTO t VALUES ($1)";

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Pooled for Deadpool {
    type Client = deadpool::managed::Object<Manager>;

    async fn take(&self) -> Result<Self::Client, String> {
        self.get().await.map_err(text)
    }

    async fn behind(client: &mut Self::Client) -> Result<String, String> {
        Ok(client.host().short_name().to_owned())
    }

    async fn insert(client: &mut Self::Client, id: i64) -> Result<(), String> {
        client.execute(INSERT, &[&id]).await.map(|_| ()).map_err(text)
    }

    async fn run(client: &mut Self::Client, sql: &'static str) -> Result<(), String> {
        client.batch_execute(sql).await.map_err(text)
    }
}

impl Pooled for Bb8 {
    type Client = bb8::PooledConnection<'static, Manager>;

    async fn take(&self) -> Result<Self::Client, String> {
        self.get_owned().await.map_err(text)
    }

    async fn behind(client: &mut Self::Client) -> Result<String, String> {
        Ok(client.host().short_name().to_owned())
    }

    async fn insert(client: &mut Self::Client, id: i64) -> Result<(), String> {
        client.execute(INSERT, &[&id]).await.map(|_| ()).map_err(text)
    }

    async fn run(client: &mut Self::Client, sql: &'static str) -> Result<(), String> {
        client.batch_execute(sql).await.map_err(text)
    }
}

impl Pooled for Raw {
    type Client = deadpool_postgres::Client;

    async fn take(&self) -> Result<Self::Client, String> {
        self.get().await.map_err(text)
    }

    async fn behind(client: &mut Self::Client) -> Result<String, String> {
        let name = client.prepare_cached(NAME).await.map_err(text)?;
        client.query_one(&name, &[]).await.map(|row| row.get(0)).map_err(text)
    }

    async fn insert(client: &mut Self::Client, id: i64) -> Result<(), String> {
        let insert = client.prepare_cached(INSERT).await.map_err(text)?;
        let transaction = client.transaction().await.map_err(text)?;
        transaction.execute(&insert, &[&id]).await.map_err(text)?;
        transaction.commit().await.map_err(text)
    }

    async fn run(client: &mut Self::Client, sql: &'static str) -> Result<(), String> {
        client.batch_execute(sql).await.map_err(text)
    }
}

impl Pooled for Diesel {
    type Client = deadpool::managed::Object<AsyncDieselConnectionManager<AsyncPgConnection>>;

    async fn take(&self) -> Result<Self::Client, String> {
        self.get().await.map_err(text)
    }

    async fn behind(client: &mut Self::Client) -> Result<String, String> {
        use diesel_async::RunQueryDsl;
        let name = diesel::dsl::sql::<diesel::sql_types::Text>("current_setting('cluster_name')");
        diesel::select(name).get_result(client).await.map_err(text)
    }

    async fn insert(client: &mut Self::Client, id: i64) -> Result<(), String> {
        use diesel_async::RunQueryDsl;
        let insert = diesel::insert_into(t::table).values(t::id.eq(id));
        insert.execute(client).await.map(|_| ()).map_err(text)
    }

    async fn run(client: &mut Self::Client, sql: &'static str) -> Result<(), String> {
        diesel_async::SimpleAsyncConnection::batch_execute(&mut **client, sql).await.map_err(text)
    }
}

/// The `application_name` of the pools' connections.
const APPLICATION: &str = "pool";

/// A connector whose monitor looks often and has little patience.
fn connector(cluster: &LocalCluster) -> Connector {
    connector_with(cluster, &[("connect_timeout", "20s")])
}

fn connector_with(cluster: &LocalCluster, more: &[(&str, &str)]) -> Connector {
    let settings = [
        ("application_name", APPLICATION),
        ("topology_refresh", "50ms"),
        ("topology_high_refresh", "50ms"),
        ("topology_monitoring_socket_timeout", "1s"),
        ("failure_detection_time", "400ms"),
        ("failure_detection_interval", "200ms"),
    ];
    let builder = builder(cluster, &cluster.cluster_endpoint());
    settings
        .iter()
        .chain(more)
        .fold(builder, |builder, (name, value)| builder.set(name, value))
        .build()
        .expect("valid")
}

fn deadpool(connector: &Connector) -> Deadpool {
    Deadpool::builder(Manager::new(connector.clone())).max_size(SIZE).build().expect("a pool")
}

async fn bb8(connector: &Connector) -> Bb8 {
    let size = u32::try_from(SIZE).expect("small");
    bb8::Pool::builder().max_size(size).build(Manager::new(connector.clone())).await.expect("a pool")
}

fn raw(connector: &Connector, recycling_method: RecyclingMethod) -> Raw {
    let config = ManagerConfig { recycling_method };
    RawConnect::new(connector.clone()).pool(config).max_size(SIZE).build().expect("a pool")
}

/// As the example `diesel-pool` makes it.
fn diesel_pool(connector: &Connector) -> Diesel {
    use diesel_async::pooled_connection::{ManagerConfig, RecyclingMethod};
    let raw = RawConnect::new(connector.clone());
    let hook = raw.hook();
    let mut config = ManagerConfig::<AsyncPgConnection>::default();
    config.custom_setup = Box::new(move |_| {
        let raw = raw.clone();
        Box::pin(async move {
            let client = raw.client().await.map_err(|error| ConnectionError::BadConnection(text(error)))?;
            AsyncPgConnection::try_from(client).await
        })
    });
    config.recycling_method = RecyclingMethod::Verified;
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    Diesel::builder(manager).max_size(SIZE).pre_recycle(hook).build().expect("a pool")
}

/// The instance that the monitor takes for the writer.
fn known(connector: &Connector) -> Option<String> {
    let published = connector.cluster().topology().filter(|published| published.verified)?;
    Some(published.topology.writer()?.short_name().to_owned())
}

async fn sql(cluster: &LocalCluster, sql: &str) {
    let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    direct.batch_execute(sql).await.expect("run past the library");
}

async fn kept(cluster: &LocalCluster) -> BTreeSet<i64> {
    let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    let rows = direct.query("SELECT id FROM t", &[]).await.expect("read");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn connections_at(cluster: &LocalCluster, node: NodeId) -> u64 {
    let filter = ConnectionFilter::all().application(APPLICATION);
    cluster.count_connections(node, &filter).await.expect("counted")
}

async fn take_all<P: Pooled>(pool: &P) -> Vec<P::Client> {
    take(pool, SIZE).await
}

async fn take<P: Pooled>(pool: &P, count: usize) -> Vec<P::Client> {
    let taken = within("the checkouts", join_all((0..count).map(|_| pool.take()))).await;
    taken.into_iter().map(|client| client.expect("taken")).collect()
}

/// A checkout that its caller gives up costs no place, whether it waits for one or opens a client.
async fn cancelled_checkouts_cost_nothing<P: Pooled>(pool: &P) {
    for _ in 0..2 * SIZE {
        tokio::select! {
            biased;
            _ = pool.take() => {}
            () = std::future::ready(()) => {}
        }
    }
    let held = take_all(pool).await;
    {
        let mut waits = std::pin::pin!(pool.take());
        assert!(futures_util::poll!(waits.as_mut()).is_pending(), "every place is taken");
    }
    drop(held);
    drop(take_all(pool).await);
}

/// What a task that was ended in the middle of a transaction leaves behind is seen by nobody.
async fn an_abandoned_transaction_is_seen_by_nobody<P: Pooled>(cluster: &LocalCluster, pool: &P) {
    let mut client = pool.take().await.expect("taken");
    let (begun, wait) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        P::run(&mut client, "BEGIN; INSERT INTO t VALUES (-1)").await.expect("begun");
        begun.send(()).expect("somebody waits");
        std::future::pending::<()>().await;
    });
    within("the transaction", wait).await.expect("begun");
    task.abort();
    drop(task.await);
    for mut client in take_all(pool).await {
        // An error if the session is in a transaction that has written.
        let clean = "DO $$ BEGIN ASSERT pg_current_xact_id_if_assigned() IS NULL; END $$";
        P::run(&mut client, clean).await.expect("a clean session");
        P::run(&mut client, "INSERT INTO t VALUES (-2)").await.expect("its own transaction");
        P::run(&mut client, "DELETE FROM t WHERE id = -2").await.expect("its own transaction");
    }
    assert!(!kept(cluster).await.contains(&-1), "what was abandoned is rolled back");
}

/// The writer crashes under ten tasks.
async fn goes_on_after_a_crash<P: Pooled>(cluster: &LocalCluster, connector: &Connector, pool: &P) {
    let watch = connector.clone();
    let load = Load::start(pool, move || known(&watch));
    until("the load runs", async || load.seen.taken() > 200).await;
    let record = cluster.fail_over().await.expect("failed over");
    let new = cluster.instance(record.new_writer).to_owned();
    until("the monitor knows", async || known(connector).as_ref() == Some(&new)).await;
    let before = load.seen.acknowledged();
    until("the load goes on", async || load.seen.acknowledged() > before + 200).await;
    println!("{record}; 200 writes within {:?} of the first possible one", record.t_accepting.elapsed());
    within("the end of the load", load.end(async || kept(cluster).await)).await;
    until("no more connections than places", async || {
        connections_at(cluster, record.new_writer).await <= SIZE as u64
    })
    .await;
    cluster.rejoin(record.old_writer).await.expect("back as a reader");
    cluster.wait_until_healthy(Duration::from_secs(60)).await.expect("healthy again");
}

/// The writer falls silent: clients that are idle on it are not handed out once another one is known, those that are held
/// neither when they come back, and a call in flight ends.
async fn leaves_a_silent_writer<P: Pooled>(cluster: &LocalCluster, connector: &Connector, pool: &P) {
    let mut all = take_all(pool).await;
    let mut busy = all.pop().expect("several");
    let held = all.pop().expect("several");
    let free = all.len();
    drop(all);
    let call = P::run(&mut busy, SLEEP);
    let rest = async {
        let silent = Fault::Freeze(FreezeScope::AllProcesses);
        let record = cluster.fail_over_after(silent).await.expect("failed over");
        let new = cluster.instance(record.new_writer).to_owned();
        until("the monitor knows", async || known(connector).as_ref() == Some(&new)).await;
        let mut fresh = take(pool, free).await;
        for client in &mut fresh {
            assert_eq!(P::behind(client).await.as_ref(), Ok(&new));
        }
        P::insert(&mut fresh[0], -10).await.expect("written");
        drop((held, fresh));
        new
    };
    let (ended, new) = within("the call on the silent writer", async { tokio::join!(call, rest) }).await;
    ended.expect_err("its host is silent");
    drop(busy);
    for mut client in take_all(pool).await {
        assert_eq!(P::behind(&mut client).await.as_ref(), Ok(&new));
    }
}

/// The writer is lost, and nobody is promoted.
async fn crash(cluster: &LocalCluster) {
    cluster.crash(cluster.writer()).await.expect("crashed");
}

async fn start() -> LocalCluster {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint PRIMARY KEY); GRANT ALL ON t TO PUBLIC").await;
    cluster
}

/// Scenarios 59, 60, 63 and 64: clients of the library in a pool of deadpool: cancelled checkouts, abandoned transactions, a
/// server that is full, a crash under load, a silent writer.
#[tokio::test(flavor = "multi_thread")]
async fn deadpool_with_clients_of_the_library() {
    let cluster = start().await;
    let connector = connector(&cluster);
    let pool = deadpool(&connector);
    cancelled_checkouts_cost_nothing(&pool).await;
    an_abandoned_transaction_is_seen_by_nobody(&cluster, &pool).await;
    a_dropped_transaction_keeps_its_client(&pool).await;
    a_full_server_is_told(&cluster).await;
    a_clean_client_has_nothing_of_the_last_user(&connector).await;
    goes_on_after_a_crash(&cluster, &connector, &pool).await;
    leaves_a_silent_writer(&cluster, &connector, &pool).await;
    let other = connector_with(&cluster, &[]);
    let make = {
        let other = other.clone();
        move || async move { deadpool(&other) }
    };
    within("the end of a runtime", outlives_its_runtime(make, SLEEP)).await;
    end(other).await;
    let ended = ends_in_the_middle_of_a_failover(&pool, crash(&cluster), Deadpool::close, end(connector));
    within("the end of the pool", ended).await;
}

/// The library's transaction rolls back when it is dropped, and its client goes on to be used.
async fn a_dropped_transaction_keeps_its_client(pool: &Deadpool) {
    // Not every time: a client whose rollback takes too long is thrown away.
    until("a client is kept", async || {
        let mut client = pool.get().await.expect("taken");
        let backend = client.query_one_scalar::<i32, _>("SELECT pg_backend_pid()", &[]).await.expect("asked");
        let transaction = client.transaction().await.expect("begun");
        transaction.batch_execute("INSERT INTO t VALUES (-3)").await.expect("written");
        drop(transaction);
        drop(client);
        let mut backends = BTreeSet::new();
        for client in take_all(pool).await {
            client.batch_execute("INSERT INTO t VALUES (-3)").await.expect("nothing is in the way");
            client.batch_execute("DELETE FROM t WHERE id = -3").await.expect("deleted");
            let backend = client.query_one_scalar::<i32, _>("SELECT pg_backend_pid()", &[]).await;
            backends.insert(backend.expect("asked"));
        }
        backends.contains(&backend)
    })
    .await;
}

/// A pool larger than what the server allows: the checkout says so when its time is over, and the pool works when there is
/// room again.
async fn a_full_server_is_told(cluster: &LocalCluster) {
    let user = cluster.app().user;
    let connector = connector_with(cluster, &[("connect_timeout", "5s")]);
    // With a topology the last refusal is the cause of the time-out.
    until("the cluster is known", async || connector.connect().await.is_ok()).await;
    let (pool, pool_of_raw) = (deadpool(&connector), raw(&connector, RecyclingMethod::Fast));
    sql(cluster, &format!("ALTER ROLE \"{user}\" CONNECTION LIMIT 0")).await;
    let refusals = within("the checkouts", async { tokio::join!(pool.get(), pool_of_raw.get()) });
    let (refused, raw_refused) = refusals.await;
    let error = match refused.expect_err("the server is full") {
        deadpool::managed::PoolError::Backend(error) => error,
        other => panic!("not the library's: {other}"),
    };
    assert_eq!(refusal_in(&error), Some("53300"), "{error}");
    let error = match raw_refused.expect_err("the server is full") {
        deadpool_postgres::PoolError::Backend(error) => error,
        other => panic!("not the driver's: {other}"),
    };
    let code = Error::from_driver(&error).map_or(error.code().map(|code| code.code()), refusal_in);
    assert_eq!(code, Some("53300"), "{error:?}");
    sql(cluster, &format!("ALTER ROLE \"{user}\" CONNECTION LIMIT -1")).await;
    until("there is room again", async || pool.get().await.is_ok() && pool_of_raw.get().await.is_ok()).await;
    drop((pool, pool_of_raw));
    end(connector).await;
}

/// The SQLSTATE that the server has refused with.
fn refusal_in(error: &Error) -> Option<&str> {
    error.find_source::<DbError>().map(|refusal| refusal.code().code())
}

/// `Recycling::Clean` undoes what the last user has set; the others do not.
async fn a_clean_client_has_nothing_of_the_last_user(connector: &Connector) {
    for (recycling, kept) in [(Recycling::Clean, false), (Recycling::Verified, true), (Recycling::Fast, true)]
    {
        let manager = Manager::new(connector.clone()).recycling(recycling);
        let pool = Deadpool::builder(manager).max_size(1).build().expect("a pool");
        // Not every time: a client whose server is slow to answer is thrown away.
        until("what was set is kept, or not", async || {
            let client = pool.get().await.expect("taken");
            client
                .batch_execute("SET work_mem = '7MB'; CREATE TEMP TABLE IF NOT EXISTS mine (id int)")
                .await
                .expect("set");
            drop(client);
            let client = pool.get().await.expect("taken");
            let sql = "SELECT current_setting('work_mem') = '7MB' AND to_regclass('mine') IS NOT NULL";
            client.query_one_scalar::<bool, _>(sql, &[]).await.expect("asked") == kept
        })
        .await;
    }
}

/// Scenarios 59, 60, 63 and 64: clients of the library in a pool of bb8.
#[tokio::test(flavor = "multi_thread")]
async fn bb8_with_clients_of_the_library() {
    let cluster = start().await;
    let connector = connector(&cluster);
    let pool = bb8(&connector).await;
    cancelled_checkouts_cost_nothing(&pool).await;
    an_abandoned_transaction_is_seen_by_nobody(&cluster, &pool).await;
    goes_on_after_a_crash(&cluster, &connector, &pool).await;
    leaves_a_silent_writer(&cluster, &connector, &pool).await;
    let other = connector_with(&cluster, &[]);
    let make = {
        let other = other.clone();
        move || async move { bb8(&other).await }
    };
    within("the end of a runtime", outlives_its_runtime(make, SLEEP)).await;
    end(other).await;
    drop(pool);
    end(connector).await;
}

/// Scenarios 59, 60, 63 and 64: deadpool-postgres, the driver's clients, its statement cache and its transactions.
#[tokio::test(flavor = "multi_thread")]
async fn deadpool_postgres_with_clients_of_the_driver() {
    let cluster = start().await;
    let connector = connector(&cluster);
    let settled = raw(&connector, RecyclingMethod::Custom("ROLLBACK".to_owned()));
    an_abandoned_transaction_is_seen_by_nobody(&cluster, &settled).await;
    drop(settled);
    let pool = raw(&connector, RecyclingMethod::Fast);
    cancelled_checkouts_cost_nothing(&pool).await;
    goes_on_after_a_crash(&cluster, &connector, &pool).await;
    leaves_a_silent_writer(&cluster, &connector, &pool).await;
    let other = connector_with(&cluster, &[]);
    let make = {
        let other = other.clone();
        move || async move { raw(&other, RecyclingMethod::Fast) }
    };
    within("the end of a runtime", outlives_its_runtime(make, SLEEP)).await;
    end(other).await;
    let ended = ends_in_the_middle_of_a_failover(&pool, crash(&cluster), Raw::close, end(connector));
    within("the end of the pool", ended).await;
}

/// Scenarios 59 and 64: diesel-async over the driver's clients, in its own pool of deadpool.
#[tokio::test(flavor = "multi_thread")]
async fn diesel_async_with_clients_of_the_driver() {
    let cluster = start().await;
    let connector = connector(&cluster);
    let pool = diesel_pool(&connector);
    cancelled_checkouts_cost_nothing(&pool).await;
    goes_on_after_a_crash(&cluster, &connector, &pool).await;
    drop(pool);
    end(connector).await;
}

/// What a checkout of raw clients fails with is the driver's error; the library's is inside.
#[tokio::test]
async fn the_librarys_error_is_found_in_the_drivers() {
    let connector = Connector::builder_at("127.0.0.1", 1)
        .user("app")
        .dbname("shop")
        .set("sslmode", "disable")
        .set("connect_timeout", "300ms")
        .build()
        .expect("valid");
    let pool = raw(&connector, RecyclingMethod::Fast);
    let error = match within("a checkout", pool.get()).await.expect_err("nobody is there") {
        deadpool_postgres::PoolError::Backend(error) => error,
        other => panic!("not the driver's: {other}"),
    };
    let ours = Error::from_driver(&error).expect("the library's error is inside");
    assert!(matches!(ours.kind(), ErrorKind::Network | ErrorKind::Timeout), "{ours}");
    end(connector).await;
}
