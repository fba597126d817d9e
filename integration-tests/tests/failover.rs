//! Writer failover on a real cluster: scenarios 1, 3, 7, 8, 10, 13 of the catalogue.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod common;

use std::time::Duration;

use common::{connector, on_each, within};
use integration_tests::{Flavour, LocalCluster};
use wrapper_core::host::HostRole;
use wrapper_pg::ErrorKind;

/// Scenario 7: the first call after a crash of the writer says that the session was switched; the next one works.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_after_a_crash_of_the_writer_ends_on_the_new_one() {
    on_each([Flavour::Aurora, Flavour::MultiAz], a_call_after_a_crash_of_the_writer_ends_on_the_new_one_on)
        .await;
}

async fn a_call_after_a_crash_of_the_writer_ends_on_the_new_one_on(flavour: Flavour) {
    let cluster = LocalCluster::builder()
        .flavour(flavour)
        .promotion_time(Duration::from_millis(300)..=Duration::from_millis(300))
        .dns_lag(Duration::from_secs(3600))
        .start()
        .await
        .expect("the cluster starts");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(client.host().role, HostRole::Writer);
    client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("created");
    let insert = client.prepare("INSERT INTO t VALUES ($1)").await.expect("prepared");
    client.execute(&insert, &[&1_i64]).await.expect("inserted");

    let record = cluster.fail_over().await.expect("failed over");
    let error = within("the call", client.execute(&insert, &[&2_i64])).await.expect_err("the writer is gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    within("the next call", client.execute(&insert, &[&2_i64])).await.expect("inserted on the new writer");
    let name: String =
        client.query_one_scalar("SELECT current_setting('cluster_name')", &[]).await.expect("answered");
    assert_eq!(cluster.node_named(&name), Some(record.new_writer));
    println!("{}", connector.reports()[0]);
    within("the shutdown", connector.shutdown()).await;
}
