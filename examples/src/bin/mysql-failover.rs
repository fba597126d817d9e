//! The same on MySQL: connect, query, and what a failover leaves to the application.
//!
//! Runs anywhere: without a URL the cluster is simulated in this process. On a cluster of your own it writes two orders
//! into a table `mysql_failover_orders`; trigger the failover between them.
//!
//! ```text
//! cargo run -p examples --bin mysql-failover
//! cargo run -p examples --bin mysql-failover -- mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::error::Error;
use std::time::Duration;

use integration_tests::sim::{Engine, SimCluster};
use wrapper_mysql::{Conn, Connector, ErrorKind};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(url) => {
            let connector = Connector::from_url(&url)?;
            let pause = Duration::from_secs(60);
            println!("fail the cluster over within {pause:?} after the first order");
            place_orders(&connector, tokio::time::sleep(pause)).await?;
            connector.shutdown().await;
        }
        None => {
            let cluster = SimCluster::builder().engine(Engine::Mysql).start().await?;
            let connector = examples::simulated_mysql(&cluster, &cluster.cluster_endpoint()).build()?;
            let failover = async {
                // What fails here shows below: the second order goes to the same host.
                cluster.fail_over().await.ok();
            };
            let last = place_orders(&connector, failover).await?;
            let writer = cluster.writer().ok_or("the cluster has no writer")?;
            assert_eq!(last, cluster.instance_name(writer)?, "the second order is on the new writer");
            assert_ne!(writer, 0, "the cluster has failed over");
            connector.shutdown().await;
            cluster.shutdown().await;
        }
    }
    Ok(())
}

/// Places two orders, with something between them; the host of the second.
async fn place_orders(
    connector: &Connector,
    between: impl Future<Output = ()>,
) -> Result<String, Box<dyn Error>> {
    // From here on a program for mysql_async stays as it is.
    let mut conn = connector.connect().await?;
    conn.query_drop("DROP TABLE IF EXISTS mysql_failover_orders").await?;
    conn.query_drop("CREATE TABLE mysql_failover_orders (id BIGINT PRIMARY KEY, item VARCHAR(40) NOT NULL)")
        .await?;
    place_order(&mut conn, 1, "apples").await?;
    println!("order 1 is placed on {}", conn.host().short_name());
    between.await;
    place_order(&mut conn, 2, "pears").await?;
    let last = conn.host().short_name().to_owned();
    println!("order 2 is placed on {last}");
    let items: Vec<String> = conn.query("SELECT item FROM mysql_failover_orders ORDER BY id").await?;
    assert_eq!(items, ["apples", "pears"], "each order is there once");
    conn.query_drop("DROP TABLE mysql_failover_orders").await?;
    for report in connector.reports() {
        println!("\n{report}");
    }
    Ok(last)
}

/// Writes an order once, whatever happens to the writer meanwhile.
async fn place_order(conn: &mut Conn, id: i64, item: &str) -> wrapper_mysql::Result<()> {
    loop {
        let insert = "INSERT INTO mysql_failover_orders (id, item) VALUES (?, ?)";
        match conn.exec_drop(insert, (id, item)).await {
            Ok(()) => return Ok(()),
            // The connection leads to the new writer already, and nothing of the lost call was applied: once more.
            Err(error)
                if error.kind() == ErrorKind::FailoverSucceeded && error.outcome().is_not_applied() => {}
            // The same, but the write was under way when the writer was lost: the new writer knows.
            Err(error) if error.kind() == ErrorKind::FailoverSucceeded => {
                let known = "SELECT 1 FROM mysql_failover_orders WHERE id = ?";
                if conn.exec_first::<i64, _, _>(known, (id,)).await?.is_some() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
}
