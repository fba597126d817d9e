//! The same over MySQL: ten tasks place orders over deadpool or bb8, and the writer is lost in their midst.
//!
//! ```text
//! cargo run -p examples --features _pools --bin mysql-pools -- deadpool      # on a cluster simulated in this process
//! cargo run -p examples --features _pools --bin mysql-pools -- bb8 \
//!     mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops a table `pools_example`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::error::Error;
use std::time::Duration;

use examples::orders::{Orders, fail_over_in_the_midst};
use integration_tests::sim::{Engine, SimCluster};
use wrapper_mysql::Connector;
use wrapper_mysql::pool::Manager;

const INSERT: &str = "INSERT INTO pools_example (id) VALUES (?)";
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
            let cluster = SimCluster::builder().engine(Engine::Mysql).start().await?;
            let connector = examples::simulated_mysql(&cluster, &cluster.cluster_endpoint()).build()?;
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
    // A connection outside of any pool, to look at the end.
    let mut conn = connector.connect().await?;
    conn.query_drop("DROP TABLE IF EXISTS pools_example").await?;
    conn.query_drop("CREATE TABLE pools_example (id BIGINT PRIMARY KEY)").await?;
    let orders = match kind {
        "deadpool" => over_deadpool(connector, meanwhile).await?,
        "bb8" => over_bb8(connector, meanwhile).await?,
        other => return Err(format!("`{other}`: expected deadpool or bb8").into()),
    };
    if conn.ping().await.is_err() {
        println!("the connection beside the pool was switched too: {}", conn.host().short_name());
    }
    let rows: Vec<i64> = conn.query("SELECT id FROM pools_example").await?;
    orders.check(rows)?;
    conn.query_drop("DROP TABLE pools_example").await?;
    Ok(())
}

async fn over_deadpool(
    connector: &Connector,
    meanwhile: impl Future<Output = ()>,
) -> Result<Orders, Box<dyn Error>> {
    let manager = Manager::new(connector.clone());
    let pool = deadpool::managed::Pool::<Manager>::builder(manager).max_size(SIZE as usize).build()?;
    let place = move |id: i64| {
        let pool = pool.clone();
        async move { Ok::<_, AnyError>(pool.get().await?.exec_drop(INSERT, (id,)).await?) }
    };
    Ok(Orders::place_while(place, meanwhile).await)
}

async fn over_bb8(
    connector: &Connector,
    meanwhile: impl Future<Output = ()>,
) -> Result<Orders, Box<dyn Error>> {
    let pool = bb8::Pool::builder().max_size(SIZE).build(Manager::new(connector.clone())).await?;
    let place = move |id: i64| {
        let pool = pool.clone();
        async move { Ok::<_, AnyError>(pool.get().await?.exec_drop(INSERT, (id,)).await?) }
    };
    Ok(Orders::place_while(place, meanwhile).await)
}
