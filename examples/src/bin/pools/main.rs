//! Pools that an application has already, over PostgreSQL: ten tasks place orders over deadpool, bb8 or deadpool-postgres,
//! and the writer is lost in their midst.
//!
//! ```text
//! cargo run -p examples --features _pools --bin pools -- deadpool            # on a cluster simulated in this process
//! cargo run -p examples --features _pools --bin pools -- bb8
//! cargo run -p examples --features _pools --bin pools -- deadpool-postgres \
//!     postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops a table `pools_example`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::error::Error;
use std::time::Duration;

use deadpool_postgres::ManagerConfig;
use examples::orders::{Orders, fail_over_in_the_midst};
use integration_tests::sim::SimCluster;
use wrapper_pg::Connector;
use wrapper_pg::pool::{Manager, RawConnect};

const INSERT: &str = "INSERT INTO pools_example (id) VALUES ($1)";
/// How many connections a pool has.
const SIZE: u32 = 5;

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "deadpool".to_owned());
    match arguments.next() {
        Some(url) => {
            let connector = Connector::from_url(&url)?;
            let minute = Duration::from_secs(60);
            println!("fail the cluster over within {minute:?}");
            run(&kind, &connector, tokio::time::sleep(minute)).await?;
            connector.shutdown().await;
        }
        None => {
            let cluster = SimCluster::builder().start().await?;
            let connector = examples::simulated(&cluster, &cluster.cluster_endpoint()).build()?;
            let mut failed_over = None;
            run(&kind, &connector, async { failed_over = Some(fail_over_in_the_midst(&cluster).await) })
                .await?;
            failed_over.ok_or("there was no failover")??;
            connector.shutdown().await;
            cluster.shutdown().await;
        }
    }
    Ok(())
}

async fn run(
    kind: &str,
    connector: &Connector,
    meanwhile: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    // A client outside of any pool, to look at the end.
    let client = connector.connect().await?;
    client.batch_execute("DROP TABLE IF EXISTS pools_example").await?;
    client.batch_execute("CREATE TABLE pools_example (id bigint PRIMARY KEY)").await?;
    let orders = match kind {
        "deadpool" => over_deadpool(connector, meanwhile).await?,
        "bb8" => over_bb8(connector, meanwhile).await?,
        "deadpool-postgres" => over_deadpool_postgres(connector, meanwhile).await?,
        other => return Err(format!("`{other}`: expected deadpool, bb8 or deadpool-postgres").into()),
    };
    if client.check_connection().await.is_err() {
        println!("the client beside the pool was switched too: {}", client.host().short_name());
    }
    let rows = client.query("SELECT id FROM pools_example", &[]).await?;
    orders.check(rows.iter().map(|row| row.get(0)))?;
    client.batch_execute("DROP TABLE pools_example").await?;
    Ok(())
}

/// deadpool with the library's clients: all of it works, also inside transactions.
async fn over_deadpool(
    connector: &Connector,
    meanwhile: impl Future<Output = ()>,
) -> Result<Orders, Box<dyn Error>> {
    let manager = Manager::new(connector.clone());
    let pool = deadpool::managed::Pool::<Manager>::builder(manager).max_size(SIZE as usize).build()?;
    let place = move |id| {
        let pool = pool.clone();
        async move {
            let mut client = pool.get().await?;
            let transaction = client.transaction().await?;
            transaction.execute(INSERT, &[&id]).await?;
            transaction.commit().await?;
            Ok::<_, AnyError>(())
        }
    };
    Ok(Orders::place_while(place, meanwhile).await)
}

/// bb8, the same.
async fn over_bb8(
    connector: &Connector,
    meanwhile: impl Future<Output = ()>,
) -> Result<Orders, Box<dyn Error>> {
    let pool = bb8::Pool::builder().max_size(SIZE).build(Manager::new(connector.clone())).await?;
    let place = move |id| {
        let pool = pool.clone();
        async move {
            let client = pool.get().await?;
            client.execute(INSERT, &[&id]).await?;
            Ok::<_, AnyError>(())
        }
    };
    Ok(Orders::place_while(place, meanwhile).await)
}

/// deadpool-postgres with the driver's clients: its statement cache and its transactions stay.
async fn over_deadpool_postgres(
    connector: &Connector,
    meanwhile: impl Future<Output = ()>,
) -> Result<Orders, Box<dyn Error>> {
    let raw = RawConnect::new(connector.clone());
    let pool = raw.pool(ManagerConfig::default()).max_size(SIZE as usize).build()?;
    let place = move |id| {
        let pool = pool.clone();
        async move {
            let mut client = pool.get().await?;
            let insert = client.prepare_cached(INSERT).await?;
            let transaction = client.transaction().await?;
            transaction.execute(&insert, &[&id]).await?;
            transaction.commit().await?;
            Ok::<_, AnyError>(())
        }
    };
    Ok(Orders::place_while(place, meanwhile).await)
}
