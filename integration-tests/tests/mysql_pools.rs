//! Pools of others over MySQL-family clusters: deadpool and bb8 with the library's connections.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![cfg(target_os = "linux")]

mod mysql_kit;
mod pool_support;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use integration_tests::{Fault, Flavour, FreezeScope, MySqlCluster};
use mysql_async::prelude::Queryable;
use mysql_kit::{builder, cluster, connections, end, sql, until, within};
use pool_support::{Load, Pooled, ends_in_the_middle_of_a_failover, outlives_its_runtime};
use wrapper_mysql::pool::{Manager, Recycling};
use wrapper_mysql::{Connector, TxOpts};

type Deadpool = deadpool::managed::Pool<Manager>;
type Bb8 = bb8::Pool<Manager>;

const SIZE: usize = 4;
const SLEEP: &str = "SELECT sleep(600)";

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

macro_rules! pooled {
    ($pool:ty, $client:ty, $get:ident) => {
        impl Pooled for $pool {
            type Client = $client;

            async fn take(&self) -> Result<Self::Client, String> {
                self.$get().await.map_err(text)
            }

            async fn behind(client: &mut Self::Client) -> Result<String, String> {
                Ok(client.host().short_name().to_owned())
            }

            async fn insert(client: &mut Self::Client, id: i64) -> Result<(), String> {
                client.exec_drop("INSERT INTO t VALUES (?)", (id,)).await.map_err(text)
            }

            async fn run(client: &mut Self::Client, sql: &'static str) -> Result<(), String> {
                client.query_drop(sql).await.map_err(text)
            }
        }
    };
}

pooled!(Deadpool, deadpool::managed::Object<Manager>, get);
pooled!(Bb8, bb8::PooledConnection<'static, Manager>, get_owned);

/// A connector whose monitor looks often and has little patience.
fn connector(cluster: &MySqlCluster) -> Connector {
    connector_with(cluster, &[("connect_timeout", "20s")])
}

fn connector_with(cluster: &MySqlCluster, more: &[(&str, &str)]) -> Connector {
    let settings = [
        ("topology_refresh", "50ms"),
        ("topology_high_refresh", "50ms"),
        ("topology_monitoring_socket_timeout", "1s"),
        ("failure_detection_time", "400ms"),
        ("failure_detection_interval", "200ms"),
    ];
    let builder = builder(cluster, &cluster.cluster_endpoint());
    let all = settings.iter().chain(more);
    all.fold(builder, |builder, (name, value)| builder.set(name, value)).build().expect("valid")
}

fn deadpool(connector: &Connector, recycling: Recycling) -> Deadpool {
    let manager = Manager::new(connector.clone()).recycling(recycling);
    Deadpool::builder(manager).max_size(SIZE).build().expect("a pool")
}

/// The instance that the monitor takes for the writer.
fn known(connector: &Connector) -> Option<String> {
    let published = connector.cluster().topology().filter(|published| published.verified)?;
    Some(published.topology.writer()?.short_name().to_owned())
}

async fn kept(cluster: &MySqlCluster) -> BTreeSet<i64> {
    let mut direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    let rows: Vec<i64> = direct.query("SELECT id FROM t").await.expect("read");
    rows.into_iter().collect()
}

async fn take_all<P: Pooled>(pool: &P) -> Vec<P::Client> {
    take(pool, SIZE).await
}

async fn take<P: Pooled>(pool: &P, count: usize) -> Vec<P::Client> {
    let taken = within("the checkouts", join_all((0..count).map(|_| pool.take()))).await;
    taken.into_iter().map(|client| client.expect("taken")).collect()
}

/// A checkout that its caller gives up costs no place, whether it waits for one or opens a connection.
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

/// What a task that was ended in the middle of a transaction, or of a call, leaves behind is seen by nobody.
async fn abandoned_work_is_seen_by_nobody<P: Pooled>(cluster: &MySqlCluster, pool: &P) {
    let mut client = pool.take().await.expect("taken");
    let (begun, wait) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        P::run(&mut client, "BEGIN").await.expect("begun");
        P::insert(&mut client, -1).await.expect("written");
        begun.send(()).expect("somebody waits");
        std::future::pending::<()>().await;
    });
    within("the transaction", wait).await.expect("begun");
    task.abort();
    drop(task.await);

    let mut client = pool.take().await.expect("taken");
    {
        let mut call = std::pin::pin!(P::run(&mut client, "DO sleep(600)"));
        assert!(futures_util::poll!(call.as_mut()).is_pending(), "it is in flight");
    }
    drop(client);

    for mut client in take_all(pool).await {
        P::insert(&mut client, -2).await.expect("its own transaction");
        P::run(&mut client, "ROLLBACK").await.expect("nothing to undo");
    }
    let kept = kept(cluster).await;
    assert!(!kept.contains(&-1) && kept.contains(&-2), "{kept:?}");
}

/// The writer crashes under ten tasks.
async fn goes_on_after_a_crash<P: Pooled>(cluster: &MySqlCluster, connector: &Connector, pool: &P) {
    let watch = connector.clone();
    let load = Load::start(pool, move || known(&watch));
    until("the load runs", || async { load.seen.taken() > 200 }).await;
    let record = cluster.fail_over().await.expect("failed over");
    let new = cluster.instance(record.new_writer).to_owned();
    until("the monitor knows", || async { known(connector).as_ref() == Some(&new) }).await;
    let before = load.seen.acknowledged();
    until("the load goes on", || async { load.seen.acknowledged() > before + 200 }).await;
    println!("{record}; 200 writes within {:?} of the first possible one", record.t_accepting.elapsed());
    within("the end of the load", load.end(async || kept(cluster).await)).await;
    let monitors = 1;
    until("no more connections than places", || async {
        connections(cluster, record.new_writer).await <= SIZE as u64 + monitors
    })
    .await;
}

/// The writer falls silent: clients that are idle on it are not handed out once another one is known, those that are held
/// neither when they come back, and a call in flight ends.
async fn leaves_a_silent_writer<P: Pooled>(cluster: &MySqlCluster, connector: &Connector, pool: &P) {
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
        until("the monitor knows", || async { known(connector).as_ref() == Some(&new) }).await;
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

/// Scenarios 59, 60, 63 and 64: connections of the library in a pool of deadpool: cancelled checkouts, abandoned
/// work, a crash under load, a silent writer.
#[tokio::test(flavor = "multi_thread")]
async fn deadpool_with_connections_of_the_library() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let pool = deadpool(&connector, Recycling::Verified);
    cancelled_checkouts_cost_nothing(&pool).await;
    abandoned_work_is_seen_by_nobody(&cluster, &pool).await;
    a_dropped_transaction_keeps_its_connection(&pool).await;
    a_clean_connection_has_nothing_of_the_last_user(&connector).await;
    a_full_server_is_told(&cluster).await;
    goes_on_after_a_crash(&cluster, &connector, &pool).await;
    leaves_a_silent_writer(&cluster, &connector, &pool).await;
    let other = connector_with(&cluster, &[]);
    let make = {
        let other = other.clone();
        move || async move { deadpool(&other, Recycling::Verified) }
    };
    within("the end of a runtime", outlives_its_runtime(make, SLEEP)).await;
    end(other).await;
    let ended = ends_in_the_middle_of_a_failover(&pool, crash(&cluster), Deadpool::close, end(connector));
    within("the end of the pool", ended).await;
    cluster.stop().await;
}

/// 1040: a pool larger than what the server allows: the checkouts that find no place say so when their time is over, and the
/// pool works with what it has.
async fn a_full_server_is_told(cluster: &MySqlCluster) {
    let connector = connector_with(cluster, &[("connect_timeout", "3s")]);
    let manager = Manager::new(connector.clone());
    let pool = Deadpool::builder(manager).max_size(40).build().expect("a pool");
    // With a topology the last refusal is the cause of the time-out.
    until("the cluster is known", || async { pool.get().await.is_ok() && known(&connector).is_some() }).await;
    sql(cluster, "SET GLOBAL max_connections = 20").await;
    let taken = within("the checkouts", join_all((0..40).map(|_| pool.get()))).await;
    let (held, refused): (Vec<_>, Vec<_>) = taken.into_iter().partition(Result::is_ok);
    assert!(!held.is_empty() && !refused.is_empty(), "{} held, {} refused", held.len(), refused.len());
    for refused in refused.into_iter().filter_map(Result::err) {
        let error = match refused {
            deadpool::managed::PoolError::Backend(error) => error,
            other => panic!("not the library's: {other}"),
        };
        let refusal = error.find_source::<mysql_async::ServerError>().map(|refusal| refusal.code);
        assert_eq!(error.server_code().or(refusal), Some(1040), "{error:?}");
    }
    let fewer = held.len();
    drop(held);
    drop(take(&pool, fewer).await);
    sql(cluster, "SET GLOBAL max_connections = 151").await;
    drop(pool);
    end(connector).await;
}

/// The writer is lost, and nobody is promoted.
async fn crash(cluster: &MySqlCluster) {
    cluster.crash(cluster.writer()).await.expect("crashed");
}

/// The library's transaction rolls back when it is dropped, and its connection goes on to be used.
async fn a_dropped_transaction_keeps_its_connection(pool: &Deadpool) {
    // Not every time: a connection whose rollback takes too long is thrown away.
    until("a connection is kept", || async {
        let mut conn = pool.get().await.expect("taken");
        let id = conn.id();
        let mut transaction = conn.start_transaction(TxOpts::new()).await.expect("begun");
        transaction.query_drop("INSERT INTO t VALUES (-3)").await.expect("written");
        drop(transaction);
        drop(conn);
        let mut ids = BTreeSet::new();
        for mut conn in take_all(pool).await {
            let left: Option<i64> = conn.query_first("SELECT id FROM t WHERE id = -3").await.expect("asked");
            assert_eq!(left, None, "what was dropped is rolled back");
            ids.insert(conn.id());
        }
        ids.contains(&id)
    })
    .await;
}

/// `Recycling::Clean` undoes what the last user has set; the others do not.
async fn a_clean_connection_has_nothing_of_the_last_user(connector: &Connector) {
    for (recycling, kept) in [(Recycling::Clean, false), (Recycling::Verified, true), (Recycling::Fast, true)]
    {
        let manager = Manager::new(connector.clone()).recycling(recycling);
        let pool = Deadpool::builder(manager).max_size(1).build().expect("a pool");
        // Not every time: a connection whose server is slow to answer is thrown away.
        until("what was set is kept, or not", || async {
            let mut conn = pool.get().await.expect("taken");
            conn.query_drop("SET autocommit = 0").await.expect("set");
            drop(conn);
            let mut conn = pool.get().await.expect("taken");
            let autocommit: Option<bool> = conn.query_first("SELECT @@autocommit").await.expect("asked");
            autocommit == Some(!kept)
        })
        .await;
    }
}

/// Scenarios 59, 60, 63 and 64: connections of the library in a pool of bb8.
#[tokio::test(flavor = "multi_thread")]
async fn bb8_with_connections_of_the_library() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let size = u32::try_from(SIZE).expect("small");
    let pool =
        bb8::Pool::builder().max_size(size).build(Manager::new(connector.clone())).await.expect("a pool");
    cancelled_checkouts_cost_nothing(&pool).await;
    abandoned_work_is_seen_by_nobody(&cluster, &pool).await;
    goes_on_after_a_crash(&cluster, &connector, &pool).await;
    leaves_a_silent_writer(&cluster, &connector, &pool).await;
    let other = connector_with(&cluster, &[]);
    let make = {
        let other = other.clone();
        move || async move { bb8::Pool::builder().max_size(4).build(Manager::new(other)).await.expect("a pool") }
    };
    within("the end of a runtime", outlives_its_runtime(make, SLEEP)).await;
    end(other).await;
    drop(pool);
    end(connector).await;
    cluster.stop().await;
}
