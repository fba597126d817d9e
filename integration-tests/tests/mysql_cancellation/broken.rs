//! Operations with one mistake each, which the checks must find.

use futures_util::future::LocalBoxFuture;
use mysql_async::prelude::Queryable;

use crate::lane::{Failed, Operation};

/// Name, operation, what the check must say.
pub(crate) const OPERATIONS: &[(&str, Operation, &str)] = &[
    (
        "a transaction that is left open",
        |conn, _, id| {
            Box::pin(async move {
                conn.query_drop("START TRANSACTION").await?;
                Ok(conn.exec_drop("INSERT INTO t VALUES (?, 1), (?, 2)", (id, id)).await?)
            })
        },
        "a transaction is open for the next user",
    ),
    (
        "a setting that is not put back",
        |conn, _, _| Box::pin(async move { Ok(conn.query_drop("SET @lane = 'mine'").await?) }),
        "the session's name is Some(\"mine\")",
    ),
    (
        "autocommit that is not put back",
        |conn, _, _| Box::pin(async move { Ok(conn.query_drop("SET autocommit = 0").await?) }),
        "autocommit is off",
    ),
];

/// Two writes that belong together: the drops between them show only at the end, on the server.
pub(crate) const TWO_WRITES: (&str, Operation) = ("two writes that belong together", |conn, _, id| {
    Box::pin(async move {
        conn.exec_drop("INSERT INTO t VALUES (?, 1)", (id,)).await?;
        Ok(conn.exec_drop("INSERT INTO t VALUES (?, 2)", (id,)).await?)
    })
});

/// A query of the bare driver.
pub(crate) fn bare(conn: &mut mysql_async::Conn) -> LocalBoxFuture<'_, Result<(), Failed>> {
    Box::pin(async move { Ok(conn.query_drop("SELECT 7, 'stale'").await?) })
}
