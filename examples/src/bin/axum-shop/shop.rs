//! The service: orders over HTTP, on a plain sqlx pool.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use sqlx::PgPool;
use tokio::sync::Notify;
use wrapper_sqlx::postgres::PoolHandle;

/// What the handlers share.
pub(crate) struct Shop {
    pub(crate) pool: PgPool,
    pub(crate) handle: PoolHandle,
    /// Told when a slow order has written its row and has not committed.
    pub(crate) half_done: Notify,
}

/// The routes.
pub(crate) fn routes(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/ready", get(ready))
        .route("/orders/{id}", post(order))
        .route("/slow-orders/{id}", post(slow_order))
        .with_state(shop)
}

/// For a load balancer: whether orders can be taken, and where they go. It asks nobody; it is what the monitor knows.
async fn ready(State(shop): State<Arc<Shop>>) -> (StatusCode, String) {
    let known = shop.handle.cluster().topology().filter(|published| published.verified);
    match known.as_ref().and_then(|published| published.topology.writer()) {
        Some(writer) if shop.handle.is_following() => (StatusCode::OK, format!("{}\n", writer.short_name())),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "no writer\n".to_owned()),
    }
}

/// Places an order. Repeating it is safe: it has a number.
async fn order(State(shop): State<Arc<Shop>>, Path(id): Path<i64>) -> (StatusCode, String) {
    answer(place(&shop.pool, id).await)
}

async fn place(pool: &PgPool, id: i64) -> sqlx::Result<()> {
    // Waits for the new writer while there is none.
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT INTO axum_shop (id) VALUES ($1)").bind(id).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// An order that is never finished: its client hangs up in the middle of the transaction, and the handler is dropped.
async fn slow_order(State(shop): State<Arc<Shop>>, Path(id): Path<i64>) -> (StatusCode, String) {
    let begun = async {
        let mut transaction = shop.pool.begin().await?;
        sqlx::query("INSERT INTO axum_shop (id) VALUES ($1)").bind(id).execute(&mut *transaction).await?;
        shop.half_done.notify_one();
        std::future::pending::<()>().await;
        transaction.commit().await
    };
    answer(begun.await)
}

fn answer(placed: sqlx::Result<()>) -> (StatusCode, String) {
    match placed {
        Ok(()) => (StatusCode::CREATED, String::new()),
        // A client that repeats its order after an error finds that it is there already.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => (StatusCode::OK, String::new()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}
