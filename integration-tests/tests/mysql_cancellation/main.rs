//! Each method of the MySQL connection and of its transaction, dropped between any two packets of the protocol on a real
//! server, twenty times each (R6): the next user of the same value meets a clean session, or a discarded one.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod broken;
#[path = "../cancellation/enumerate.rs"]
mod enumerate;
mod lane;
mod operations;

use std::time::{Duration, Instant};

use enumerate::{Session, TIMES};
use integration_tests::MySqlCluster;
use integration_tests::mysql::ConnectionFilter;
use lane::{Bare, Lane};
use mysql_async::prelude::Queryable;

async fn cluster() -> MySqlCluster {
    let cluster = MySqlCluster::builder().start().await.expect("the cluster starts");
    let mut direct = cluster.connect_app(cluster.writer()).await.expect("connected past the library");
    let table = "CREATE TABLE t (id bigint, part int, PRIMARY KEY (id, part))";
    direct.query_drop(table).await.expect("made the table");
    direct.disconnect().await.expect("disconnected");
    cluster
}

/// Waits until the server has no session of the application but `expected`.
async fn left(cluster: &MySqlCluster, expected: u64) {
    let filter = ConnectionFilter::all().user(cluster.app().user);
    let mut open = 0;
    for _ in 0..500 {
        open = cluster.count_connections(cluster.writer(), &filter).await.expect("counted");
        if open == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(open, expected, "connections on the server after the drops");
}

/// Ids of which one row is there and the other is not.
async fn halves(cluster: &MySqlCluster) -> Vec<i64> {
    let mut direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    direct.query("SELECT id FROM t GROUP BY id HAVING COUNT(*) <> 2 LIMIT 5").await.expect("asked")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_between_any_two_packets() {
    let cluster = cluster().await;
    let began = Instant::now();
    let mut lanes =
        [Lane::start(&cluster, 1).await, Lane::start(&cluster, 2).await, Lane::start(&cluster, 3).await];
    let [one, two, three] = &mut lanes;
    let (conn, traits, transaction) = tokio::join!(
        one.go_through(operations::CONN),
        two.go_through(operations::TRAITS),
        three.go_through(operations::TRANSACTION),
    );
    let all = conn + traits + transaction;
    println!("{all:?} in {:?}", began.elapsed());
    assert!(all.boundaries >= 150, "{all:?}");
    assert!(all.drops >= all.boundaries * TIMES * 9 / 10, "{all:?}");
    for lane in lanes {
        lane.end().await;
    }
    // What was in flight when it was dropped was done as a whole, or not at all.
    left(&cluster, 0).await;
    assert_eq!(halves(&cluster).await, Vec::<i64>::new());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_between_any_two_packets() {
    let cluster = cluster().await;
    let lane = Lane::start(&cluster, 1).await;
    let boundaries = lane.enumerate_connects().await;
    println!("{boundaries} boundaries");
    assert!(boundaries >= 4, "{boundaries}");
    // The lane's own.
    left(&cluster, 1).await;
    lane.connect().await;
    lane.end().await;
    left(&cluster, 0).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_operations_are_found() {
    let cluster = cluster().await;
    for (name, operation, said) in broken::OPERATIONS {
        let mut lane = Lane::start(&cluster, 1).await;
        let found = lane.enumerate(*operation, 2).await.expect_err(name);
        assert!(found.contains(said), "{name}: {found}");
        lane.end().await;
    }
    // The driver alone reads a stale answer: what the library is to prevent.
    let mut bare = Bare::start(&cluster).await;
    let found = bare.enumerate(broken::bare, 2).await.expect_err("the bare driver");
    assert!(found.contains("a stale answer: 7"), "{found}");
    drop(bare);

    let mut lane = Lane::start(&cluster, 2).await;
    let (name, two_writes) = broken::TWO_WRITES;
    lane.enumerate(two_writes, 2).await.expect(name);
    lane.end().await;
    left(&cluster, 0).await;
    assert_ne!(halves(&cluster).await, Vec::<i64>::new(), "{name}");
    cluster.stop().await;
}
