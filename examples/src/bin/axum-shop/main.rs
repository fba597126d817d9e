//! A web service on axum over a plain `sqlx::PgPool` that follows the writer: 50 clients place orders, the writer is lost in
//! their midst, a client hangs up in the middle of a transaction, and the service ends in good order.
//!
//! ```text
//! cargo run -p examples --features axum-shop --bin axum-shop                       # on a cluster simulated in this process
//! cargo run -p examples --features axum-shop --bin axum-shop -- --out shop.svg
//! cargo run -p examples --features axum-shop --bin axum-shop -- \
//!     postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops a table `axum_shop`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

mod load;
mod picture;
mod shop;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::sim::SimCluster;
use load::{Http, Load};
use picture::Outage;
use shop::Shop;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Notify;
use wrapper_sqlx::postgres::{PoolBuilder, PoolHandle};

/// How many clients place orders.
const CLIENTS: usize = 50;

type AnyError = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let (mut url, mut out) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--out" => out = Some(arguments.next().ok_or("--out: expected the name of a file")?),
            _ => url = Some(argument),
        }
    }
    let options = PgPoolOptions::new().max_connections(10);
    let picture = match url {
        Some(url) => {
            let (pool, handle) = PoolBuilder::new(options, url.parse()?).connect().await?;
            let minute = Duration::from_secs(60);
            println!("fail the cluster over within {minute:?}");
            serve(pool, handle, async || {
                tokio::time::sleep(minute).await;
                Ok(None)
            })
            .await?
        }
        None => {
            let cluster = SimCluster::builder().start().await?;
            let (pool, handle) = examples::simulated_pool(&cluster, options).connect().await?;
            let picture = serve(pool, handle, async || {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let lost = Instant::now();
                let failover = cluster.fail_over().await?;
                tokio::time::sleep(Duration::from_millis(700)).await;
                Ok(Some((lost, failover.gap())))
            })
            .await?;
            cluster.shutdown().await;
            picture
        }
    };
    if let Some(out) = out {
        std::fs::write(&out, picture).map_err(|error| format!("--out {out}: {error}; name another file"))?;
        println!("the picture is in {out}");
    }
    Ok(())
}

/// Runs the service, its clients and `meanwhile`, which tells when the writer was lost and for how long there was none.
/// Gives the picture.
async fn serve(
    pool: PgPool,
    handle: PoolHandle,
    meanwhile: impl AsyncFnOnce() -> Result<Option<(Instant, Duration)>, AnyError>,
) -> Result<String, AnyError> {
    sqlx::raw_sql("DROP TABLE IF EXISTS axum_shop").execute(&pool).await?;
    sqlx::raw_sql("CREATE TABLE axum_shop (id bigint PRIMARY KEY)").execute(&pool).await?;
    let shop = Arc::new(Shop { pool, handle, half_done: Notify::new() });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let service = axum::serve(listener, shop::routes(Arc::clone(&shop)))
        .with_graceful_shutdown(async move { closing.notified().await });
    let service = tokio::spawn(service.into_future());

    let mut balancer = Http::connect(address).await?;
    let (status, writer) = balancer.ask("GET", "/ready").await?;
    println!("ready: {status}, the writer is {}", writer.trim());
    if status != 200 {
        return Err("the shop is not ready, though its pool is connected".into());
    }
    let load = Load::start(address, CLIENTS);
    let start = load.seen.start;
    let lost = meanwhile().await?;
    let seen = load.end().await?;
    let end = start.elapsed();
    hang_up_in_the_middle(&shop, address).await?;
    let (status, writer) = balancer.ask("GET", "/ready").await?;
    println!("ready: {status}, the writer is {}", writer.trim());

    // In good order: requests that run are answered, then the pool is closed, then nothing follows it any more.
    drop(balancer);
    close.notify_one();
    service.await??;
    let there: Vec<i64> = sqlx::query_scalar("SELECT id FROM axum_shop").fetch_all(&shop.pool).await?;
    sqlx::raw_sql("DROP TABLE axum_shop").execute(&shop.pool).await?;
    shop.pool.close().await;
    shop.handle.shutdown().await;

    let there: BTreeSet<i64> = there.into_iter().collect();
    let acknowledged = seen.acknowledged();
    let missing = acknowledged.iter().filter(|(id, _)| !there.contains(id)).count();
    let figures = format!(
        "{} orders acknowledged, {missing} of them lost, {} requests refused",
        acknowledged.len(),
        seen.refused()
    );
    println!("{figures}");
    if missing > 0 || acknowledged.is_empty() {
        return Err("acknowledged orders are lost".into());
    }
    let outage = lost.map(|(at, gap)| {
        let from = at.saturating_duration_since(start);
        Outage { from, to: from + gap }
    });
    let times: Vec<Duration> = acknowledged.iter().map(|(_, at)| *at).collect();
    if outage.is_some_and(|outage| !times.iter().any(|at| *at > outage.to)) {
        return Err("no order was acknowledged after the failover".into());
    }
    Ok(picture::draw(&times, outage, end, &figures))
}

/// A client hangs up in the middle of its transaction: axum drops the handler, sqlx rolls back, and the next user of the
/// connection knows nothing of it.
async fn hang_up_in_the_middle(shop: &Shop, address: std::net::SocketAddr) -> Result<(), AnyError> {
    let mut client = Http::connect(address).await?;
    client.send("POST", "/slow-orders/-1").await?;
    shop.half_done.notified().await;
    drop(client);
    // The same number: it waits for the row of the dropped transaction, should that be open still.
    let mut next = Http::connect(address).await?;
    let (status, text) = next.ask("POST", "/orders/-1").await?;
    if status != 201 {
        return Err(format!("an order after one whose client hung up: {status} {text}").into());
    }
    println!("a client hung up in the middle of its order; nothing of it is left");
    Ok(())
}
