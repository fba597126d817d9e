//! A plain `sqlx::PgPool` or `sqlx::MySqlPool` that goes on through a failover: ten tasks place orders, and the writer is
//! lost in their midst.
//!
//! ```text
//! cargo run -p examples --features sqlx --bin sqlx-pool                       # on a cluster simulated in this process
//! cargo run -p examples --features sqlx --bin sqlx-pool -- postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! cargo run -p examples --features sqlx --bin sqlx-pool -- mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops a table `sqlx_pool_example`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use integration_tests::sim::SimCluster;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{MySqlPool, PgPool};
use wrapper_sqlx::pool::PoolSwitch;
use wrapper_sqlx::postgres::PoolBuilder;
use wrapper_sqlx::{OptionsOf, mysql};

/// How long orders are placed on a cluster of yours.
const ON_YOURS: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(url) = std::env::args().nth(1) {
        println!("fail the cluster over within {ON_YOURS:?}");
        let yours = tokio::time::sleep(ON_YOURS);
        let (placed, switch) = if url.starts_with("mysql:") || url.starts_with("mariadb:") {
            let options: OptionsOf<sqlx::MySql> = url.parse()?;
            let own = MySqlPoolOptions::new().max_connections(5);
            let (pool, handle) = mysql::PoolBuilder::new(own, options).connect().await?;
            (place_orders_while(&pool, yours).await?, handle.last_switch())
        } else {
            let own = PgPoolOptions::new().max_connections(5);
            let (pool, handle) = PoolBuilder::new(own, url.parse()?).connect().await?;
            (place_orders_while(&pool, yours).await?, handle.last_switch())
        };
        match switch {
            Some(PoolSwitch { to, .. }) => {
                println!("{placed} orders; the pool leads to {to} since the failover")
            }
            None => println!("{placed} orders; there was no failover"),
        }
        return Ok(());
    }

    let options = PgPoolOptions::new().max_connections(5);
    let cluster = SimCluster::builder().start().await?;
    let (pool, handle) = simulated(&cluster, options).connect().await?;
    let fail_over = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let failover = cluster.fail_over().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        failover
    };
    let (placed, failover) = {
        let mut failover = None;
        let placed = place_orders_while(&pool, async { failover = Some(fail_over.await) }).await?;
        (placed, failover.ok_or("there was no failover")??)
    };
    let switch = handle.last_switch().ok_or("the pool was not switched")?;
    assert_eq!(switch.to.short_name(), cluster.instance_name(failover.new_writer)?);
    println!(
        "{placed} orders, none lost; the cluster took no writes for {:?}; the pool leads to {} since",
        failover.gap(),
        switch.to.short_name()
    );
    // The pool first: its handle keeps it following until then.
    pool.close().await;
    handle.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}

/// What differs from a pool onto Aurora: names stand in the test cluster's table instead of DNS, and the simulated
/// servers ask for neither a password nor TLS.
fn simulated(cluster: &SimCluster, options: PgPoolOptions) -> PoolBuilder {
    let endpoint = PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username("app")
        .database("shop")
        .ssl_mode(PgSslMode::Disable);
    let names = cluster.names().clone();
    PoolBuilder::new(options, endpoint).reach(move |host, options| match names.lookup(host.host()) {
        Some(address) => options.host(&address.to_string()),
        None => options,
    })
}

/// Where orders are kept: what differs between the two pools is how a parameter is written.
trait Orders: Clone + Send + Sync + 'static {
    async fn run(&self, sql: &'static str) -> sqlx::Result<()>;
    async fn count(&self) -> sqlx::Result<i64>;
    /// Whether the order was acknowledged.
    ///
    /// # Errors
    /// No connection within `acquire_timeout`.
    fn place(&self, id: i64) -> impl Future<Output = sqlx::Result<bool>> + Send;
}

macro_rules! orders {
    ($pool:ty, $insert:literal) => {
        impl Orders for $pool {
            async fn run(&self, sql: &'static str) -> sqlx::Result<()> {
                sqlx::raw_sql(sql).execute(self).await.map(drop)
            }

            async fn count(&self) -> sqlx::Result<i64> {
                sqlx::query_scalar("SELECT count(*) FROM sqlx_pool_example").fetch_one(self).await
            }

            async fn place(&self, id: i64) -> sqlx::Result<bool> {
                // Waits for the new writer while there is none.
                let mut connection = self.acquire().await?;
                Ok(sqlx::query($insert).bind(id).execute(&mut *connection).await.is_ok())
            }
        }
    };
}

orders!(PgPool, "INSERT INTO sqlx_pool_example (id) VALUES ($1)");
orders!(MySqlPool, "INSERT INTO sqlx_pool_example (id) VALUES (?)");

/// Ten tasks place orders until `meanwhile` has ended; how many were placed. An order that was acknowledged and is not
/// there is an error.
async fn place_orders_while(
    pool: &impl Orders,
    meanwhile: impl Future<Output = ()>,
) -> Result<u64, Box<dyn Error>> {
    pool.run("CREATE TABLE sqlx_pool_example (id bigint PRIMARY KEY)").await?;
    let clerk = Arc::new(Clerk::default());
    let tasks: Vec<_> = (0..10).map(|_| tokio::spawn(Arc::clone(&clerk).work(pool.clone()))).collect();
    meanwhile.await;
    clerk.closed.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await??;
    }
    let there = pool.count().await?;
    pool.run("DROP TABLE sqlx_pool_example").await?;
    let (placed, unsure) = (clerk.placed.load(Ordering::SeqCst), clerk.unsure.load(Ordering::SeqCst));
    println!("{placed} inserts were acknowledged, {unsure} ended with an error, {there} rows are there");
    if there.unsigned_abs() < placed {
        return Err("acknowledged orders are lost".into());
    }
    Ok(placed)
}

/// Places orders and counts them.
#[derive(Debug, Default)]
struct Clerk {
    closed: AtomicBool,
    next: AtomicI64,
    placed: AtomicU64,
    /// The host was lost with the insert in flight: it may have been applied.
    unsure: AtomicU64,
}

impl Clerk {
    async fn work<O: Orders>(self: Arc<Self>, orders: O) -> Result<(), sqlx::Error> {
        while !self.closed.load(Ordering::SeqCst) {
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            let count = if orders.place(id).await? { &self.placed } else { &self.unsure };
            count.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}
