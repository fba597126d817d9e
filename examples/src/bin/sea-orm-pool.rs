//! SeaORM over a plain `sqlx::PgPool` that follows the writer: ten tasks save entities, and the writer is lost in their
//! midst.
//!
//! ```text
//! cargo run -p examples --features _pools --bin sea-orm-pool               # on a cluster simulated in this process
//! cargo run -p examples --features _pools --bin sea-orm-pool -- \
//!     postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops a table `sea_orm_example`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::error::Error;
use std::time::Duration;

use examples::orders::{Orders, fail_over_in_the_midst};
use integration_tests::sim::SimCluster;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, Set, SqlxPostgresConnector, TransactionTrait};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use wrapper_sqlx::postgres::PoolBuilder;

/// An order.
mod order {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sea_orm_example")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: i64,
        pub(crate) item: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = PgPoolOptions::new().max_connections(5);
    match std::env::args().nth(1) {
        Some(url) => {
            let url: PgConnectOptions = url.parse()?;
            let (pool, handle) = PoolBuilder::new(options, url).connect().await?;
            let minute = Duration::from_secs(60);
            println!("fail the cluster over within {minute:?}");
            run(&pool, tokio::time::sleep(minute)).await?;
            pool.close().await;
            handle.shutdown().await;
        }
        None => {
            let cluster = SimCluster::builder().start().await?;
            let (pool, handle) = examples::simulated_pool(&cluster, options).connect().await?;
            let mut failed_over = None;
            run(&pool, async { failed_over = Some(fail_over_in_the_midst(&cluster).await) }).await?;
            failed_over.ok_or("there was no failover")??;
            pool.close().await;
            handle.shutdown().await;
            cluster.shutdown().await;
        }
    }
    Ok(())
}

async fn run(pool: &PgPool, meanwhile: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
    // From here on an application on SeaORM stays as it is.
    let database = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    database.execute_unprepared("DROP TABLE IF EXISTS sea_orm_example").await?;
    let table = "CREATE TABLE sea_orm_example (id bigint PRIMARY KEY, item text NOT NULL)";
    database.execute_unprepared(table).await?;
    let clerk = database.clone();
    let place = move |id: i64| {
        let database = clerk.clone();
        async move {
            let transaction = database.begin().await?;
            let order = order::ActiveModel { id: Set(id), item: Set("tea".to_owned()) };
            order.insert(&transaction).await?;
            transaction.commit().await
        }
    };
    let orders = Orders::place_while(place, meanwhile).await;
    let there = order::Entity::find().all(&database).await?;
    orders.check(there.into_iter().map(|order| order.id))?;
    database.execute_unprepared("DROP TABLE sea_orm_example").await?;
    Ok(())
}
