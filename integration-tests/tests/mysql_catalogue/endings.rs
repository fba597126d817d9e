//! Endings on bad days: shutdown and drop, in the middle of a failover.

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::MySqlCluster;
use wrapper_mysql::{Connector, Error, ErrorKind};

use crate::common::within;
use crate::faults::until;
use crate::support::{aurora, connect, connector, end, failed};

/// A cluster without a writer, and a session whose call waits in the middle of a failover.
async fn in_mid_failover(cluster: &MySqlCluster) -> (Connector, tokio::task::JoinHandle<Result<(), Error>>) {
    let connector = connector(cluster);
    let mut session = connect(&connector).await;
    cluster.crash(cluster.writer()).await.expect("crashed");
    let tasks = connector.cluster().task_count();
    let call = tokio::spawn(async move { session.query_drop("INSERT INTO t VALUES (1)").await });
    until("a caller is held", async || connector.cluster().task_count() > tasks).await;
    assert!(!call.is_finished());
    (connector, call)
}

/// Scenario 80: `shutdown` in the middle of a failover ends it: the caller gets *closed*, nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_in_the_middle_of_a_failover_ends_it() {
    let cluster = aurora().await;
    let (connector, call) = in_mid_failover(&cluster).await;
    within("the shutdown", connector.shutdown()).await;
    let error = failed(within("the call", call).await.expect("no panic"), "the call");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    let error = failed(within("the next connect", connector.connect()).await, "the next connect");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    end(connector).await;
}

/// Everything of a connector dropped in the middle of a failover: its tasks end.
#[tokio::test(flavor = "multi_thread")]
async fn a_connector_dropped_in_the_middle_of_a_failover_leaves_nothing() {
    let cluster = aurora().await;
    let (connector, call) = in_mid_failover(&cluster).await;
    let core = Arc::clone(connector.cluster().core());
    drop(connector);
    call.abort();
    assert!(within("the call", call).await.expect_err("aborted").is_cancelled());
    let begin = Instant::now();
    until("the tasks end", async || core.task_count() == 0).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}
