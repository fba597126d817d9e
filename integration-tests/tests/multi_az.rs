//! An RDS Multi-AZ DB cluster: first query, crash, planned failover.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::Duration;

use common::{builder, connector, within};
use faults::{Events, cluster, end, node_of, truth_of};
use integration_tests::Flavour;
use integration_tests::local::Truth;
use wrapper_core::host::HostRole;
use wrapper_pg::ErrorKind;

/// The first query on a fresh cluster works, though names and resource ids differ; a crash and a planned failover
/// each end on the new writer, while names and topology lag.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_query_works_and_so_do_crash_and_planned_failover() {
    let cluster = cluster(Flavour::MultiAz)
        .dns_lag(Duration::from_secs(3600))
        .restart_on_promote(true)
        .rejoin_after(Some(Duration::from_millis(200)))
        .start()
        .await
        .expect("the cluster starts");
    let events = Events::default();
    let connector =
        builder(&cluster, &cluster.cluster_endpoint()).observer(events.clone()).build().expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("the first statement");
    assert_eq!(client.host().role, HostRole::Writer);
    assert_eq!(client.host().host(), cluster.instance_endpoint(cluster.writer()));
    assert_eq!(events.warnings(), Vec::<String>::new());

    let crashed = cluster.fail_over().await.expect("failed over");
    let error = within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    within("the insert", client.execute("INSERT INTO t VALUES (1)", &[])).await.expect("inserted");
    assert_eq!(node_of(&cluster, &client).await, crashed.new_writer);
    cluster.wait_until_healthy(Duration::from_secs(30)).await.expect("healthy again");

    let [to, _] = cluster.readers();
    let (switched, error) = tokio::join!(
        cluster.planned_switchover(to),
        within("the calls", async {
            for id in 2_i64.. {
                if let Err(error) = client.execute("INSERT INTO t VALUES ($1)", &[&id]).await {
                    return error;
                }
            }
            unreachable!("the writer stops")
        })
    );
    switched.expect("switched");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    within("the insert", client.execute("INSERT INTO t VALUES (-1)", &[])).await.expect("inserted");
    assert_eq!(node_of(&cluster, &client).await, to);
    assert_eq!(truth_of(&cluster, &client).await, Truth::Writer);
    assert_eq!(client.generation(), 3);
    end(connector).await;
}

/// A fresh process while the name leads to the old writer, which is alive as a reader: it lands on the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_process_lands_on_the_writer_though_the_name_lags() {
    let cluster = cluster(Flavour::MultiAz)
        .dns_lag(Duration::from_secs(3600))
        .start()
        .await
        .expect("the cluster starts");
    let [to, _] = cluster.readers();
    let record = cluster.planned_switchover(to).await.expect("switched");
    cluster.rejoin(record.old_writer).await.expect("back as a reader");
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(node_of(&cluster, &client).await, to);
    let reader = connector.derive(&cluster.reader_endpoint()).expect("derived");
    let reader = within("the connect", reader.connect()).await.expect("connected");
    assert_eq!(truth_of(&cluster, &reader).await, Truth::Reader);
    end(connector).await;
}
