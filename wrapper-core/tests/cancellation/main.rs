//! Each operation of core, dropped at each of its await points (R6); and broken ones, which the enumerator must find.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod broken;
mod operations;

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::env::Deadline;
use wrapper_core::testkit::{
    Enumeration, FakeClient, Poisoned, ScriptedCluster, Stage, Statement, enumerate_cancellations,
};

/// A world with one client, in the same state each time.
pub(crate) async fn world() -> (Stage, FakeClient) {
    let stage = Stage::new(ScriptedCluster::new(3, 11), Vec::new()).unwrap();
    let client = stage.client().await.unwrap();
    (stage, client)
}

/// Enumerates an operation on the client of [`world`], and checks its next user and the end.
pub(crate) async fn enumerate<T>(
    operation: impl AsyncFn(&(Stage, FakeClient)) -> T,
) -> Result<Enumeration, Poisoned> {
    enumerate_cancellations(world, operation, async |(stage, client), _| {
        stage.check_next_user(&client).await?;
        stage.check_at_rest(client).await
    })
    .await
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5), "test")
}

/// The connection of a client, without its type.
pub(crate) fn erased(client: &FakeClient) -> Arc<dyn wrapper_core::driver::DriverConnection> {
    Arc::clone(&client.session().load().connection) as _
}

pub(crate) fn slow(statement: Statement) -> Statement {
    statement.taking(Duration::from_millis(50))
}
