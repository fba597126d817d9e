//! An RDS Multi-AZ DB cluster, and two clusters in one process.

use std::time::Duration;

use integration_tests::Flavour;
use integration_tests::local::Truth;
use wrapper_core::host::HostRole;
use wrapper_mysql::{Connector, ErrorKind};

use crate::common::within;
use crate::faults::Events;
use crate::support::{STEP, builder, cluster, connect, connector, end, moved, node_of, truth_of};

/// Scenario 7: the first query on a fresh cluster works, though names and ids differ; a crash and a planned failover
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
    let mut session = connect(&connector).await;
    session.query_drop("CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("the first statement");
    assert_eq!(session.host().role, HostRole::Writer);
    assert_eq!(session.host().host(), cluster.instance_endpoint(cluster.writer()));
    assert_eq!(events.warnings(), Vec::<String>::new());

    let crashed = cluster.fail_over().await.expect("failed over");
    moved(&mut session).await;
    within("the insert", session.query_drop("INSERT INTO t VALUES (1)")).await.expect("inserted");
    assert_eq!(node_of(&cluster, &mut session).await, crashed.new_writer);
    cluster.wait_until_healthy(STEP).await.expect("healthy again");

    let [to, _] = cluster.readers();
    let (switched, error) = tokio::join!(
        cluster.planned_switchover(to),
        within("the calls", async {
            for id in 2_i64.. {
                if let Err(error) = session.exec_drop("INSERT INTO t VALUES (?)", (id,)).await {
                    return error;
                }
            }
            unreachable!("the writer stops")
        })
    );
    switched.expect("switched");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    within("the insert", session.query_drop("INSERT INTO t VALUES (-1)")).await.expect("inserted");
    assert_eq!(node_of(&cluster, &mut session).await, to);
    assert_eq!(truth_of(&cluster, &mut session).await, Truth::Writer);
    assert_eq!(session.generation(), 3);
    end(connector).await;
}

/// Scenario 10: a fresh process while the name leads to the old writer, which is alive as a reader: it lands on the new
/// one, and the reader endpoint leads to a reader.
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
    let mut session = connect(&connector).await;
    assert_eq!(node_of(&cluster, &mut session).await, to);
    let readers = connector.derive(&cluster.reader_endpoint()).expect("derived");
    let mut reader = connect(&readers).await;
    assert_eq!(truth_of(&cluster, &mut reader).await, Truth::Reader);
    end(connector).await;
}

/// Scenario 77: two clusters in one process; one fails over, the other one's sessions and topology are not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_of_one_cluster_is_none_of_another() {
    let (shop, stock) = tokio::join!(
        cluster(Flavour::Aurora).name("shop").start(),
        cluster(Flavour::MultiAz).name("stock").start()
    );
    let (shop, stock) = (shop.expect("the cluster starts"), stock.expect("the cluster starts"));
    let (to_shop, to_stock) = (connector(&shop), connector(&stock));
    let (mut in_shop, mut in_stock) = (connect(&to_shop).await, connect(&to_stock).await);
    let record = shop.fail_over().await.expect("failed over");
    moved(&mut in_shop).await;
    assert_eq!(node_of(&shop, &mut in_shop).await, record.new_writer);

    within("the call", in_stock.query_drop("SELECT 1")).await.expect("nothing has happened here");
    assert_eq!((in_stock.generation(), to_stock.reports().len()), (1, 0));
    assert_eq!(node_of(&stock, &mut in_stock).await, stock.writer());
    let writer = |connector: &Connector| {
        let known = connector.cluster().topology().expect("a topology");
        known.topology.writer().expect("a writer").host().to_owned()
    };
    assert_eq!(writer(&to_stock), stock.instance_endpoint(stock.writer()));
    assert_eq!(writer(&to_shop), shop.instance_endpoint(record.new_writer));
    end(to_shop).await;
    end(to_stock).await;
}
