//! diesel-async over a pool of deadpool that follows the writer: ten tasks place orders, and the writer is lost in their
//! midst.
//!
//! ```text
//! cargo run -p examples --features _pools --bin diesel-pool                 # on a cluster simulated in this process
//! cargo run -p examples --features _pools --bin diesel-pool -- \
//!     postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops a table `diesel_example`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::error::Error;
use std::time::Duration;

use diesel::prelude::*;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use examples::orders::{Orders, fail_over_in_the_midst};
use integration_tests::sim::SimCluster;
use wrapper_pg::Connector;
use wrapper_pg::pool::RawConnect;

diesel::table! {
    diesel_example (id) {
        id -> BigInt,
        item -> Text,
    }
}

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(url) => {
            let connector = Connector::from_url(&url)?;
            let minute = Duration::from_secs(60);
            println!("fail the cluster over within {minute:?}");
            run(&connector, tokio::time::sleep(minute)).await?;
            connector.shutdown().await;
        }
        None => {
            let cluster = SimCluster::builder().start().await?;
            let connector = examples::simulated(&cluster, &cluster.cluster_endpoint()).build()?;
            let mut failed_over = None;
            run(&connector, async { failed_over = Some(fail_over_in_the_midst(&cluster).await) }).await?;
            failed_over.ok_or("there was no failover")??;
            connector.shutdown().await;
            cluster.shutdown().await;
        }
    }
    Ok(())
}

/// The pool: the library opens the clients, diesel-async takes them from there.
fn pool(connector: &Connector) -> Result<Pool<AsyncPgConnection>, Box<dyn Error>> {
    let raw = RawConnect::new(connector.clone());
    let hook = raw.hook();
    let mut config = ManagerConfig::<AsyncPgConnection>::default();
    config.custom_setup = Box::new(move |_| {
        let raw = raw.clone();
        Box::pin(async move {
            let client =
                raw.client().await.map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
            AsyncPgConnection::try_from(client).await
        })
    });
    // `Fast` would hand a connection out whose server has died.
    config.recycling_method = RecyclingMethod::Verified;
    // Where to connect to is the connector's business.
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    Ok(Pool::builder(manager).max_size(5).pre_recycle(hook).build()?)
}

async fn run(connector: &Connector, meanwhile: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
    let pool = pool(connector)?;
    let mut connection = pool.get().await?;
    connection.batch_execute("DROP TABLE IF EXISTS diesel_example").await?;
    connection
        .batch_execute("CREATE TABLE diesel_example (id bigint PRIMARY KEY, item text NOT NULL)")
        .await?;
    drop(connection);
    let clerk = pool.clone();
    let place = move |id: i64| {
        let pool = clerk.clone();
        async move {
            use diesel_example::dsl;
            let order = (dsl::id.eq(id), dsl::item.eq("tea"));
            diesel::insert_into(dsl::diesel_example).values(order).execute(&mut pool.get().await?).await?;
            Ok::<_, AnyError>(())
        }
    };
    let orders = Orders::place_while(place, meanwhile).await;
    let mut connection = pool.get().await?;
    let there: Vec<i64> = diesel_example::table.select(diesel_example::id).load(&mut connection).await?;
    orders.check(there)?;
    connection.batch_execute("DROP TABLE diesel_example").await?;
    Ok(())
}
