//! Plain sqlx pools that follow the writer of real clusters: crash, planned switchover, silence.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod libraries;
mod sqlx_support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::{FailoverRecord, Fault, Flavour, FreezeScope, LocalCluster};
use sqlx::postgres::PgSslMode;
use sqlx_support::{
    cluster, cluster_with_tls, connections_at, end, known_writer, load, node_of, options, pool_of, site,
    sized, sql, until, within,
};

/// 50 tasks over a pool of 20, one failover in their midst.
async fn under_load(cluster: &LocalCluster, lose: impl AsyncFnOnce(&LocalCluster) -> FailoverRecord) {
    sql(cluster, "CREATE TABLE t (id bigint PRIMARY KEY); GRANT ALL ON t TO PUBLIC").await;
    let site = site::pg::On::new(cluster, pool_of(cluster, sized(20))).await;
    load::under_load(site, cluster, async || lose(cluster).await).await;
}

/// Scenarios 59 and 64: the writer crashes under a pool of 20 with 50 tasks: no acquire fails, none gives a connection to
/// the lost host once that is known, no acknowledged write is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load_on_aurora() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    under_load(&cluster, async |cluster| cluster.fail_over().await.expect("failed over")).await;
}

/// Scenarios 59 and 64, on an RDS Multi-AZ DB cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load_on_multi_az() {
    let cluster = cluster(Flavour::MultiAz).start().await.expect("the cluster starts");
    under_load(&cluster, async |cluster| cluster.fail_over().await.expect("failed over")).await;
}

/// Scenarios 59 and 64, with sqlx 0.8.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load_with_sqlx_0_8() {
    use wrapper_sqlx::v0_8::postgres::PoolBuilder;
    use wrapper_sqlx::v0_8::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    sql(&cluster, "CREATE TABLE t (id bigint PRIMARY KEY); GRANT ALL ON t TO PUBLIC").await;
    let app = cluster.app();
    let options = PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username(&app.user)
        .password(&app.password)
        .database(&app.database)
        .ssl_mode(PgSslMode::Disable)
        .application_name(sqlx_support::APPLICATION);
    let own = PgPoolOptions::new().max_connections(20).acquire_timeout(Duration::from_secs(20));
    let names = cluster.names();
    let builder = PoolBuilder::new(own, options)
        .reach(move |host, options| match names.lookup(host.host()) {
            Some(address) => options.host(&address.to_string()),
            None => options,
        })
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms");
    let site = site::pg_0_8::On::new(&cluster, builder).await;
    load::under_load(site, &cluster, async || cluster.fail_over().await.expect("failed over")).await;
}

/// Scenario 59, planned: the old writer lives on as a reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switchover_under_load_on_aurora() {
    let cluster = cluster(Flavour::Aurora).rejoin_after(Some(Duration::from_millis(200)));
    let cluster = cluster.start().await.expect("the cluster starts");
    under_load(&cluster, async |cluster| {
        let [to, _] = cluster.readers();
        cluster.planned_switchover(to).await.expect("switched")
    })
    .await;
}

/// Scenario 59, planned, on an RDS Multi-AZ DB cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switchover_under_load_on_multi_az() {
    let cluster = cluster(Flavour::MultiAz).rejoin_after(Some(Duration::from_millis(200)));
    let cluster = cluster.start().await.expect("the cluster starts");
    under_load(&cluster, async |cluster| {
        let [to, _] = cluster.readers();
        cluster.planned_switchover(to).await.expect("switched")
    })
    .await;
}

/// Scenarios 12 and 59: the old writer falls silent, with TLS, where a polite close waits for ever: idle connections are
/// thrown out, no acquire waits on it once it is known to be replaced, and connections that are held by calls which it
/// will never answer are replaced when they come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_behind_tls_holds_no_acquire_up() {
    let (builder, authority) = cluster_with_tls(Flavour::Aurora);
    let cluster = builder.start().await.expect("the cluster starts");
    let options =
        options(&cluster).ssl_mode(PgSslMode::VerifyCa).ssl_root_cert_from_pem(authority.into_bytes());
    let builder = wrapper_sqlx::postgres::PoolBuilder::new(sized(8), options)
        .reach(sqlx_support::by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms");
    let (pool, handle) = within("the pool", builder.connect()).await.expect("a pool");
    let old = cluster.writer();
    // Four idle connections, four in the hands of callers.
    let mut held = join_all((0..8).map(|_| pool.acquire())).await;
    let idle = held.split_off(4);
    for connection in &mut held {
        let connection = connection.as_mut().expect("acquired");
        let encrypted: bool = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            .fetch_one(&mut **connection)
            .await
            .expect("asked");
        assert!(encrypted);
    }
    drop(idle);
    until("four are idle", async || pool.num_idle() == 4).await;

    let silent = Fault::Freeze(FreezeScope::AllProcesses);
    let record = cluster.fail_over_after(silent).await.expect("failed over");
    until("the monitor knows", async || known_writer(&cluster, &handle) == Some(record.new_writer)).await;
    until("the pool was switched", async || handle.last_switch().is_some()).await;
    assert_eq!(handle.last_switch().expect("switched").dropped, 4);
    assert!(pool.try_acquire().is_none(), "no idle connection to the silent host is left");

    // While four places are held by callers, four are free.
    let fresh = join_all((0..4).map(|_| async {
        let began = Instant::now();
        let mut connection = within("an acquire", pool.acquire()).await.expect("acquired");
        let took = began.elapsed();
        (node_of(&cluster, &mut connection).await.expect("asked"), took, connection)
    }))
    .await;
    for (node, took, _) in &fresh {
        assert_eq!(*node, record.new_writer);
        // A wait for the silent host would last until the limit of the acquire, 20 s.
        assert!(*took < Duration::from_secs(5), "an acquire took {took:?}");
    }
    println!("acquires after the switch: {:?}", fresh.iter().map(|(_, took, _)| *took).collect::<Vec<_>>());

    // Each of the others is asked something, and given up by its caller.
    for connection in &mut held {
        let connection = connection.as_mut().expect("acquired");
        let asked = sqlx::query("SELECT 1").execute(&mut **connection);
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err(), "the host is silent");
    }
    drop(held);
    let rest = join_all((0..4).map(|_| async {
        let mut connection = within("an acquire", pool.acquire()).await.expect("acquired");
        (node_of(&cluster, &mut connection).await.expect("asked"), connection)
    }))
    .await;
    assert!(rest.iter().all(|(node, _)| *node == record.new_writer));
    assert_eq!(pool.size(), 8);
    assert_eq!(connections_at(&cluster, record.new_writer).await, 8);
    assert_eq!(record.old_writer, old);
    drop((fresh, rest));
    end(handle).await;
    within("the close", pool.close()).await;
}

/// A writer that falls silent before anybody knows: callers that give up leave connections behind whose next answer never
/// comes; each of them is replaced as soon as there is a new writer, and acquires wait for that, not for the silent host.
#[tokio::test(flavor = "multi_thread")]
async fn connections_given_back_in_the_silence_are_replaced() {
    let (builder, authority) = cluster_with_tls(Flavour::Aurora);
    let cluster = builder.promotion_time(Duration::from_secs(2)..=Duration::from_secs(2));
    let cluster = cluster.start().await.expect("the cluster starts");
    let options =
        options(&cluster).ssl_mode(PgSslMode::VerifyCa).ssl_root_cert_from_pem(authority.into_bytes());
    let builder = wrapper_sqlx::postgres::PoolBuilder::new(sized(3), options)
        .reach(sqlx_support::by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms");
    let (pool, handle) = within("the pool", builder.connect()).await.expect("a pool");
    let mut held = join_all((0..3).map(|_| pool.acquire())).await;
    let silent = Fault::Freeze(FreezeScope::AllProcesses);
    let (record, asked) = tokio::join!(cluster.fail_over_after(silent), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for connection in &mut held {
            let connection = connection.as_mut().expect("acquired");
            let asked = sqlx::query("SELECT 1").execute(&mut **connection);
            assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err(), "it is silent");
        }
        drop(held);
        let acquired = within("the acquires", join_all((0..3).map(|_| pool.acquire()))).await;
        (Instant::now(), acquired)
    });
    let record = record.expect("failed over");
    let (at, acquired) = asked;
    for connection in acquired {
        let mut connection = connection.expect("acquired");
        assert_eq!(node_of(&cluster, &mut connection).await.expect("asked"), record.new_writer);
    }
    println!(
        "three acquires {:?} after the first possible write",
        at.saturating_duration_since(record.t_accepting)
    );
    end(handle).await;
}

/// Scenario 11, and a name that leads to the old writer for an hour: the writer moves away and back, and the pool with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_writer_moves_away_and_back_while_its_name_lags() {
    let cluster = cluster(Flavour::Aurora)
        .dns_lag(Duration::from_secs(3600))
        .restart_on_promote(true)
        .restart_readers(true)
        .start()
        .await
        .expect("the cluster starts");
    let (pool, handle) = within("the pool", pool_of(&cluster, sized(4)).connect()).await.expect("a pool");
    let first = cluster.writer();
    let [other, _] = cluster.readers();
    for to in [other, first, other] {
        let idle = join_all((0..4).map(|_| pool.acquire())).await;
        drop(idle);
        let record = cluster.planned_switchover(to).await.expect("switched");
        let acquired = within("the acquires", join_all((0..4).map(|_| pool.acquire()))).await;
        for connection in acquired {
            let mut connection = connection.expect("acquired");
            assert_eq!(node_of(&cluster, &mut connection).await.expect("asked"), to);
        }
        cluster.rejoin(record.old_writer).await.expect("back as a reader");
        cluster.wait_until_healthy(Duration::from_secs(30)).await.expect("healthy again");
    }
    end(handle).await;
}

/// A thawed old writer still takes itself for the writer; the pool knows better.
#[tokio::test(flavor = "multi_thread")]
async fn a_thawed_writer_is_not_believed() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let (pool, handle) = within("the pool", pool_of(&cluster, sized(4)).connect()).await.expect("a pool");
    let held = pool.acquire().await.expect("acquired");
    let silent = Fault::Freeze(FreezeScope::AllProcesses);
    let record = cluster.fail_over_after(silent).await.expect("failed over");
    until("the pool was switched", async || handle.last_switch().is_some()).await;
    cluster.thaw(record.old_writer).await.expect("thawed");
    drop(held);
    until("nobody holds a connection", async || pool.num_idle() == pool.size() as usize).await;
    for _ in 0..8 {
        let acquired = within("the acquires", join_all((0..4).map(|_| pool.acquire()))).await;
        for connection in acquired {
            let mut connection = connection.expect("acquired");
            assert_eq!(node_of(&cluster, &mut connection).await.expect("asked"), record.new_writer);
        }
    }
    assert_eq!(connections_at(&cluster, record.old_writer).await, 0);
    end(handle).await;
}

/// A job queue of another author over the pool: its worker, started once, goes on after a crash of the writer; no job that was
/// acknowledged is lost, and every one runs that the worker did not have in hand at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_queue_goes_on_after_a_crash() {
    let (cluster, builder) = libraries::cluster_and_builder().await;
    let (pool, handle) = within("the pool", builder.connect()).await.expect("a pool");
    let jobs = libraries::Jobs::on(&pool).await;
    libraries::live_through_a_crash(&cluster, &jobs).await;
    jobs.end().await;
    sqlx_support::ended(handle.cluster(), handle.shutdown()).await;
}

/// A session store of another author over the pool: sessions from before a crash of the writer are there, new ones are kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_store_goes_on_after_a_crash() {
    let (cluster, builder) = libraries::cluster_and_builder().await;
    let (pool, handle) = within("the pool", builder.connect()).await.expect("a pool");
    let sessions = libraries::Sessions::on(&pool).await;
    libraries::live_through_a_crash(&cluster, &sessions).await;
    sqlx_support::ended(handle.cluster(), handle.shutdown()).await;
}

/// Entities of SeaORM over the pool.
#[tokio::test(flavor = "multi_thread")]
async fn entities_of_sea_orm_go_on_after_a_crash() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let (pool, handle) = within("the pool", pool_of(&cluster, sized(5)).connect()).await.expect("a pool");
    let entities = libraries::Entities::on(&pool).await;
    libraries::live_through_a_crash(&cluster, &entities).await;
    end(handle).await;
}
