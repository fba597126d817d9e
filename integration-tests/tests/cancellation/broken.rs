//! Operations with one mistake each, which the checks must find.

use tokio_postgres::types::Type;

use crate::lane::Operation;

/// Name, operation, what the check must say.
pub(crate) const OPERATIONS: &[(&str, Operation, &str)] = &[
    (
        "a transaction without a guard",
        |client, _, id| {
            Box::pin(async move {
                client.batch_execute("BEGIN").await?;
                client.execute_typed("INSERT INTO t VALUES ($1, 1)", &[(&id, Type::INT8)]).await?;
                client.execute_typed("INSERT INTO t VALUES ($1, 2)", &[(&id, Type::INT8)]).await?;
                client.batch_execute("COMMIT").await
            })
        },
        "a transaction is open for the next user",
    ),
    (
        "a setting that is put back by hand",
        |client, prepared, id| {
            Box::pin(async move {
                client.batch_execute("SET application_name = 'mine'").await?;
                client.query(prepared, &[&id]).await?;
                client.batch_execute("SET application_name = 'lane'").await
            })
        },
        "the session's name is Some(\"mine\")",
    ),
    (
        "two writes that belong together",
        |client, _, id| {
            Box::pin(async move {
                client.execute_typed("INSERT INTO t VALUES ($1, 1)", &[(&id, Type::INT8)]).await?;
                client.execute_typed("INSERT INTO t VALUES ($1, 2)", &[(&id, Type::INT8)]).await.map(drop)
            })
        },
        "of two rows are there",
    ),
    (
        "a cursor that outlives its user",
        |client, prepared, id| {
            Box::pin(async move {
                client.batch_execute("DECLARE mine CURSOR WITH HOLD FOR SELECT 1").await?;
                client.query(prepared, &[&id]).await?;
                client.batch_execute("CLOSE mine").await
            })
        },
        "cursors: Some(\"1\")",
    ),
];
