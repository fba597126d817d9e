//! A plain `sqlx::PgPool` that goes on through a failover: ten tasks place orders, and the writer is lost in their midst.
//!
//! ```text
//! cargo run -p examples --features sqlx --bin sqlx-pool                       # on a cluster simulated in this process
//! cargo run -p examples --features sqlx --bin sqlx-pool -- postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops a table `sqlx_pool_example`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use integration_tests::sim::SimCluster;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use wrapper_sqlx::postgres::PoolBuilder;

/// How long orders are placed on a cluster of yours.
const ON_YOURS: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = PgPoolOptions::new().max_connections(5);
    if let Some(url) = std::env::args().nth(1) {
        let (pool, handle) = PoolBuilder::new(options, url.parse()?).connect().await?;
        println!("fail the cluster over within {ON_YOURS:?}");
        let placed = place_orders_while(&pool, tokio::time::sleep(ON_YOURS)).await?;
        match handle.last_switch() {
            Some(switch) => println!("{placed} orders; the pool leads to {} since the failover", switch.to),
            None => println!("{placed} orders; there was no failover"),
        }
        return Ok(());
    }

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

/// Ten tasks place orders until `meanwhile` has ended; how many were placed. An order that was acknowledged and is not
/// there is an error.
async fn place_orders_while(
    pool: &PgPool,
    meanwhile: impl Future<Output = ()>,
) -> Result<u64, Box<dyn Error>> {
    sqlx::raw_sql("CREATE TABLE sqlx_pool_example (id bigint PRIMARY KEY)").execute(pool).await?;
    let clerk = Arc::new(Clerk::default());
    let tasks: Vec<_> = (0..10).map(|_| tokio::spawn(Arc::clone(&clerk).work(pool.clone()))).collect();
    meanwhile.await;
    clerk.closed.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await??;
    }
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlx_pool_example").fetch_one(pool).await?;
    sqlx::raw_sql("DROP TABLE sqlx_pool_example").execute(pool).await?;
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
    async fn work(self: Arc<Self>, pool: PgPool) -> Result<(), sqlx::Error> {
        while !self.closed.load(Ordering::SeqCst) {
            // Waits for the new writer while there is none.
            let mut connection = pool.acquire().await?;
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            let insert = sqlx::query("INSERT INTO sqlx_pool_example (id) VALUES ($1)").bind(id);
            match insert.execute(&mut *connection).await {
                Ok(_) => self.placed.fetch_add(1, Ordering::SeqCst),
                Err(_) => self.unsure.fetch_add(1, Ordering::SeqCst),
            };
        }
        Ok(())
    }
}
