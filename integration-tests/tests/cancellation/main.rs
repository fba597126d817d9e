//! Each method of the PostgreSQL client, dropped between any two messages of the protocol on a real server, twenty
//! times each (R6): the next user of the same client meets a clean session, or a discarded one.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod broken;
mod enumerate;
mod lane;
mod operations;

use std::time::Instant;

use enumerate::{Session, TIMES};
use integration_tests::LocalCluster;
use lane::Lane;

async fn cluster() -> LocalCluster {
    let cluster = LocalCluster::builder().start().await.expect("the cluster starts");
    let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    let table = "CREATE TABLE t (id bigint, part int, PRIMARY KEY (id, part)); GRANT ALL ON t TO PUBLIC";
    direct.batch_execute(table).await.expect("made the table");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_between_any_two_messages() {
    let cluster = cluster().await;
    let began = Instant::now();
    let (client, transaction) = tokio::join!(
        async {
            let mut lane = Lane::start(&cluster, 1).await;
            lane.go_through(operations::CLIENT).await
        },
        async {
            let mut lane = Lane::start(&cluster, 2).await;
            lane.go_through(operations::TRANSACTION).await
        },
    );
    let all = client + transaction;
    println!("{all:?} in {:?}", began.elapsed());
    assert!(all.boundaries >= 200, "{all:?}");
    assert!(all.drops >= all.boundaries * TIMES * 9 / 10, "{all:?}");
    assert_eq!(all.discarded, 0, "a healthy connection need not be given up: {all:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_between_any_two_messages() {
    let cluster = cluster().await;
    let lane = Lane::start(&cluster, 1).await;
    let boundaries = lane.connects(&cluster).await;
    assert!(boundaries >= 10, "{boundaries}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_operations_are_found() {
    let cluster = cluster().await;
    for (name, operation, said) in broken::OPERATIONS {
        let mut lane = Lane::start(&cluster, 1).await;
        let found = lane.enumerate(*operation, 2).await.expect_err(name);
        assert!(found.contains(said), "{name}: {found}");
    }
    cluster.stop().await;
}
