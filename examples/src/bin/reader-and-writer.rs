//! A client for writes and a client for reads of one cluster: two connectors that share its monitors.
//!
//! Runs anywhere: the cluster is simulated in this process.
//!
//! ```text
//! cargo run -p examples --bin reader-and-writer
//! ```

use std::error::Error;

use integration_tests::sim::SimCluster;
use wrapper_pg::ErrorKind;
use wrapper_pg::core::host::HostRole;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = SimCluster::builder().start().await?;
    let writers = examples::simulated(&cluster, &cluster.cluster_endpoint()).build()?;
    // The reader endpoint of the same cluster: topology, monitors and connection budget are shared.
    let readers = writers.derive(&cluster.reader_endpoint())?;

    let writer = writers.connect().await?;
    let reader = readers.connect().await?;
    println!("writes go to {}, reads to {}", writer.host().short_name(), reader.host().short_name());
    assert_eq!((writer.host().role, reader.host().role), (HostRole::Writer, HostRole::Reader));

    writer.batch_execute("CREATE TABLE prices (item text PRIMARY KEY, cents int NOT NULL)").await?;
    writer.execute("INSERT INTO prices (item, cents) VALUES ('tea', 350)", &[]).await?;
    let cents: i32 = reader.query_one_scalar("SELECT cents FROM prices WHERE item = $1", &[&"tea"]).await?;
    assert_eq!(cents, 350);
    let refused = reader.execute("DELETE FROM prices", &[]).await;
    let error = refused.err().ok_or("a reader took a write")?;
    println!("the reader refuses writes: {error}");
    // The host was asked: it is a reader, as wanted, so the server's error is the answer.
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Statement, Some("25006")));

    let failover = cluster.fail_over().await?;
    match writer.execute("UPDATE prices SET cents = 360 WHERE item = 'tea'", &[]).await {
        // The price is the same however often it is set: no look at the outcome is needed.
        Err(error) if error.kind() == ErrorKind::FailoverSucceeded => {
            writer.execute("UPDATE prices SET cents = 360 WHERE item = 'tea'", &[]).await?;
        }
        result => drop(result?),
    }
    let now = writer.host().short_name().to_owned();
    println!("after a failover, writes go to {now}");
    assert_eq!(now, cluster.instance_name(failover.new_writer)?);
    // Ends the tasks of both: they are one cluster.
    writers.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}
