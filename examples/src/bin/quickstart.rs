//! Connect, query, and what a failover leaves to the application: to look at the error's outcome before it repeats a
//! write.
//!
//! Runs anywhere: the cluster is simulated in this process.
//!
//! ```text
//! cargo run -p examples --bin quickstart
//! ```

use std::error::Error;

use integration_tests::sim::SimCluster;
use wrapper_pg::{Client, ErrorKind};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // On a cluster of your own the connector is all there is:
    //     wrapper_pg::Connector::from_url("postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop")?
    let cluster = SimCluster::builder().start().await?;
    let connector = examples::simulated(&cluster, &cluster.cluster_endpoint()).build()?;

    // From here on a program for tokio-postgres stays as it is.
    let client = connector.connect().await?;
    client.batch_execute("CREATE TABLE orders (id bigint PRIMARY KEY, item text NOT NULL)").await?;
    place_order(&client, 1, "apples").await?;
    println!("order 1 is placed on {}", client.host().short_name());

    let failover = cluster.fail_over().await?;
    place_order(&client, 2, "pears").await?;
    println!("order 2 is placed on {}, after a failover of {:?}", client.host().short_name(), failover.gap());

    let rows = client.query("SELECT item FROM orders ORDER BY id", &[]).await?;
    let items: Vec<String> = rows.iter().map(|row| row.get("item")).collect();
    assert_eq!(items, ["apples", "pears"], "each order is there once");
    assert_eq!(client.host().short_name(), cluster.instance_name(failover.new_writer)?);
    for report in connector.reports() {
        println!("\n{report}");
    }
    connector.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}

/// Writes an order once, whatever happens to the writer meanwhile.
async fn place_order(client: &Client, id: i64, item: &str) -> wrapper_pg::Result<()> {
    loop {
        match client.execute("INSERT INTO orders (id, item) VALUES ($1, $2)", &[&id, &item]).await {
            Ok(_) => return Ok(()),
            // The client stands on the new writer already, and nothing of the lost call was applied: once more.
            Err(error)
                if error.kind() == ErrorKind::FailoverSucceeded && error.outcome().is_not_applied() => {}
            // The same, but the write was under way when the writer was lost: the new writer knows.
            Err(error) if error.kind() == ErrorKind::FailoverSucceeded => {
                if client.query_opt("SELECT 1 FROM orders WHERE id = $1", &[&id]).await?.is_some() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
}
