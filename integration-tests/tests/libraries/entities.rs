//! SeaORM 2: entities in a `PgPool` of sqlx 0.9.

use std::collections::BTreeSet;

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, Set, SqlxPostgresConnector,
    TransactionTrait,
};
use sqlx::PgPool;

use super::Tenant;

/// An order.
mod order {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: i64,
        pub(crate) item: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Orders, as entities.
#[derive(Clone)]
pub(crate) struct Entities(DatabaseConnection);

impl Entities {
    pub(crate) async fn on(pool: &PgPool) -> Self {
        let database = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
        let table = "CREATE TABLE orders (id bigint PRIMARY KEY, item text NOT NULL)";
        database.execute_unprepared(table).await.expect("a table");
        Self(database)
    }

    async fn place(&self, id: i64) -> Result<(), DbErr> {
        let transaction = self.0.begin().await?;
        let order = order::ActiveModel { id: Set(id), item: Set("tea".to_owned()) };
        order.insert(&transaction).await?;
        transaction.commit().await
    }
}

impl Tenant for Entities {
    async fn keep(&self, id: i64) -> Result<(), String> {
        self.place(id).await.map_err(|error| error.to_string())
    }

    async fn check(&self, kept: &[i64]) {
        let there = order::Entity::find().all(&self.0).await.expect("read");
        let there: BTreeSet<i64> = there.into_iter().map(|order| order.id).collect();
        assert!(kept.iter().all(|id| there.contains(id)), "an acknowledged order is lost");
    }
}
