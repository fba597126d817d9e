//! What the tests of MySQL-family clusters share: a writer that counts, and what became of its writes.
#![allow(dead_code, reason = "each test program uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::{MySqlCluster, NodeId};
use mysql_async::prelude::Queryable;

pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const N1: NodeId = NodeId::ALL[0];
pub(crate) const N2: NodeId = NodeId::ALL[1];
pub(crate) const N3: NodeId = NodeId::ALL[2];

/// Writes numbers one after another at whichever node accepts them; remembers those acknowledged.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<i32>>,
}

impl Writer {
    pub(crate) async fn start(cluster: &Arc<MySqlCluster>) -> Self {
        let mut client = cluster.connect_app(cluster.writer()).await.unwrap();
        client.query_drop("CREATE TABLE IF NOT EXISTS w (n int PRIMARY KEY)").await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (cluster, stopped) = (Arc::clone(cluster), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (mut acknowledged, mut client, mut number) = (Vec::new(), Some(client), 0);
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let Some(connected) = &mut client else {
                    client = cluster.connect_app(cluster.writer()).await.ok();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let insert = connected.exec_drop("INSERT INTO w VALUES (?)", (number,));
                match tokio::time::timeout(Duration::from_secs(1), insert).await {
                    Ok(Ok(())) => acknowledged.push(number),
                    _ => client = None,
                }
            }
            acknowledged
        });
        Self { stop, task }
    }

    pub(crate) async fn acknowledged(self) -> Vec<i32> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

pub(crate) async fn rows(cluster: &MySqlCluster, node: NodeId) -> Vec<i32> {
    let mut client = cluster.connect_app(node).await.unwrap();
    client.query("SELECT n FROM w ORDER BY n").await.unwrap()
}

pub(crate) async fn assert_nothing_lost(cluster: &MySqlCluster, acknowledged: &[i32]) {
    let kept = rows(cluster, cluster.writer()).await;
    let lost: Vec<_> = acknowledged.iter().filter(|number| kept.binary_search(number).is_err()).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged writes are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
}

/// The number of a server's error.
pub(crate) fn code<T>(result: mysql_async::Result<T>) -> Option<u16> {
    match result.err()? {
        mysql_async::Error::Server(error) => Some(error.code),
        error => panic!("not the server's: {error}"),
    }
}
