//! The methods of a connection and of a transaction, each with all that belongs to it.

use futures_util::StreamExt;
use mysql_async::TxOpts;
use mysql_async::prelude::{Query, Queryable, WithParams};
use wrapper_mysql::Conn;

use crate::lane::{Failed, Operation};

const TWO: &str = "INSERT INTO t VALUES (?, 1), (?, 2)";
/// Changes nothing; MariaDB takes only statements that write in bulk.
const SAME: &str = "UPDATE t SET part = part WHERE id = ?";
/// Three rows, in text.
const ROWS: &str = "SELECT 1 UNION SELECT 2 UNION SELECT 3";

fn two(id: i64) -> String {
    format!("INSERT INTO t VALUES ({id}, 1), ({id}, 2)")
}

/// Gives the server a file of two rows.
fn file(conn: &mut Conn, id: i64) {
    let lines = format!("{id}\t1\n{id}\t2\n");
    conn.set_infile_handler(async move {
        let piece = Ok(lines.into_bytes().into());
        Ok(futures_util::stream::once(async { piece }).boxed())
    });
}

/// The methods of a connection; those that a transaction has too, it has from the same source.
pub(crate) const CONN: &[(&str, Operation)] = &[
    ("ping", |conn, _, _| Box::pin(async move { Ok(conn.ping().await?) })),
    ("query", |conn, _, _| Box::pin(async move { Ok(conn.query::<i64, _>(ROWS).await.map(drop)?) })),
    ("query_first, of several rows and results", |conn, _, _| {
        Box::pin(async move {
            let first: Option<i64> = conn.query_first(format!("{ROWS}; SELECT 4")).await?;
            assert_eq!(first, Some(1));
            Ok(())
        })
    }),
    ("query_map and query_fold", |conn, _, _| {
        Box::pin(async move {
            conn.query_map("SELECT 1", |n: i64| n + 1).await?;
            Ok(conn.query_fold("SELECT 1", 0, |all, n: i64| all + n).await.map(drop)?)
        })
    }),
    ("query_drop", |conn, _, id| Box::pin(async move { Ok(conn.query_drop(two(id)).await?) })),
    ("query_drop of several statements", |conn, _, id| {
        Box::pin(async move { Ok(conn.query_drop(format!("SELECT 1; {}; SELECT 2", two(id))).await?) })
    }),
    ("query_iter, read to its end", |conn, _, _| {
        Box::pin(async move {
            let mut result = conn.query_iter("SELECT 1 UNION SELECT 2; SELECT 3").await?;
            let rows: Vec<i64> = result.collect().await?;
            assert_eq!(rows, [1, 2]);
            Ok(result.drop_result().await?)
        })
    }),
    ("query_iter, left after a row", |conn, _, _| {
        Box::pin(async move {
            let mut result = conn.query_iter(ROWS).await?;
            Ok(result.next().await.map(drop)?)
        })
    }),
    ("exec of a prepared statement", |conn, prepared, id| {
        Box::pin(async move {
            let rows: Vec<i64> = conn.exec(prepared, (id,)).await?;
            assert_eq!(rows, [id]);
            Ok(())
        })
    }),
    ("exec_first of a text", |conn, _, id| {
        Box::pin(async move {
            let first: Option<i64> = conn.exec_first("SELECT ? - 1", (id,)).await?;
            assert_eq!(first, Some(id - 1));
            Ok(())
        })
    }),
    ("exec_map and exec_fold", |conn, prepared, id| {
        Box::pin(async move {
            conn.exec_map(prepared, (id,), |n: i64| n + 1).await?;
            Ok(conn.exec_fold(prepared, (id,), 0, |all, n: i64| all + n).await.map(drop)?)
        })
    }),
    ("exec_drop", |conn, _, id| Box::pin(async move { Ok(conn.exec_drop(TWO, (id, id)).await?) })),
    ("exec_batch", |conn, _, id| {
        Box::pin(async move { Ok(conn.exec_batch(SAME, [(id,), (id + 1,), (id + 2,)]).await?) })
    }),
    ("exec_iter, read to its end", |conn, prepared, id| {
        Box::pin(async move {
            let result = conn.exec_iter(prepared, (id,)).await?;
            let rows: Vec<i64> = result.collect_and_drop().await?;
            assert_eq!(rows, [id]);
            Ok(())
        })
    }),
    ("exec_iter, left before its rows", |conn, prepared, id| {
        Box::pin(async move { Ok(conn.exec_iter(prepared, (id,)).await.map(drop)?) })
    }),
    ("prep, the first use, and close", |conn, _, id| {
        Box::pin(async move {
            let statement = conn.prep("SELECT ? + 2, ?").await?;
            conn.exec_drop(&statement, (id, id)).await?;
            Ok(conn.close(statement).await?)
        })
    }),
    ("reset", |conn, _, _| {
        Box::pin(async move {
            conn.reset().await?;
            Ok(conn.query_drop("SET @lane = 'lane'").await?)
        })
    }),
    ("with_raw", |conn, _, id| {
        Box::pin(async move {
            Ok(conn.with_raw(move |raw| Box::pin(async move { raw.exec_drop(TWO, (id, id)).await })).await?)
        })
    }),
    ("LOAD DATA LOCAL", |conn, _, id| {
        Box::pin(async move {
            file(conn, id);
            Ok(conn.query_drop("LOAD DATA LOCAL INFILE 'rows' INTO TABLE t").await?)
        })
    }),
    ("a statement that fails", |conn, _, _| {
        Box::pin(async move {
            let failed = conn.query_drop("SELECT * FROM missing").await;
            assert_eq!(failed.expect_err("there is no such table").server_code(), Some(1146));
            Ok(())
        })
    }),
];

/// What generic code over the driver's traits does.
async fn queryable(conn: &mut impl Queryable, id: i64) -> Result<(), mysql_async::Error> {
    let statement = conn.prep("SELECT ? * 2").await?;
    let answer: Option<i64> = conn.exec_first(&statement, (id,)).await?;
    assert_eq!(answer, Some(id * 2));
    conn.close(statement).await?;
    conn.exec_drop(TWO, (id, id)).await?;
    conn.query_iter("SELECT 1").await?.drop_result().await
}

/// The driver's own traits.
pub(crate) const TRAITS: &[(&str, Operation)] = &[
    ("Queryable", |conn, _, id| Box::pin(async move { Ok(queryable(conn, id).await?) })),
    ("Queryable, text", |conn, _, _| {
        Box::pin(async move {
            let rows: Vec<i64> = Queryable::query(conn, ROWS).await?;
            assert_eq!(rows, [1, 2, 3]);
            Ok(Queryable::ping(conn).await?)
        })
    }),
    ("Queryable, a result that is left after a row", |conn, _, id| {
        Box::pin(async move {
            let mut result = Queryable::exec_iter(conn, "SELECT ? UNION SELECT 2", (id,)).await?;
            Ok(result.next().await.map(drop)?)
        })
    }),
    ("Queryable::exec_batch", |conn, _, id| {
        Box::pin(async move { Ok(Queryable::exec_batch(conn, SAME, [(id,), (id,)]).await?) })
    }),
    ("fetch of a text", |conn, _, _| {
        Box::pin(async move {
            let rows: Vec<i64> = ROWS.fetch(&mut *conn).await?;
            assert_eq!(rows, [1, 2, 3]);
            Ok(())
        })
    }),
    ("ignore of a text with values", |conn, _, id| {
        Box::pin(async move { Ok(TWO.with((id, id)).ignore(&mut *conn).await?) })
    }),
    ("a stream of rows, left after two", |conn, _, _| {
        Box::pin(async move {
            let mut rows = ROWS.stream::<i64, _>(&mut *conn).await?;
            rows.next().await.transpose()?;
            Ok(rows.next().await.transpose().map(drop)?)
        })
    }),
];

/// Transactions, all of them begun by the library.
pub(crate) const TRANSACTION: &[(&str, Operation)] = &[
    ("a transaction that is committed", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            transaction.query_drop(format!("INSERT INTO t VALUES ({id}, 1)")).await?;
            transaction.query_drop(format!("INSERT INTO t VALUES ({id}, 2)")).await?;
            Ok(transaction.commit().await?)
        })
    }),
    ("a transaction that is rolled back", |conn, prepared, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            transaction.query_drop(format!("INSERT INTO t VALUES ({id}, 1)")).await?;
            transaction.exec_first::<i64, _, _>(prepared, (id,)).await?;
            Ok(transaction.rollback().await?)
        })
    }),
    ("a transaction that is dropped", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            Ok(transaction.query_drop(format!("INSERT INTO t VALUES ({id}, 1)")).await?)
        })
    }),
    ("a transaction that is dropped with an open result", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            transaction.query_drop(format!("INSERT INTO t VALUES ({id}, 1)")).await?;
            let mut result = transaction.query_iter(ROWS).await?;
            Ok(result.next().await.map(drop)?)
        })
    }),
    ("a transaction with options", |conn, _, id| {
        Box::pin(async move {
            let mut options = TxOpts::new();
            options.with_isolation_level(mysql_async::IsolationLevel::Serializable);
            options.with_consistent_snapshot(true);
            let mut transaction = conn.start_transaction(options).await?;
            transaction.exec_drop(TWO, (id, id)).await?;
            Ok(transaction.commit().await?)
        })
    }),
    ("a transaction with a statement that fails", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            transaction.exec_drop(TWO, (id, id)).await?;
            assert!(transaction.query_drop("SELECT * FROM missing").await.is_err());
            Ok(transaction.commit().await?)
        })
    }),
    ("exec_batch in a transaction", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            transaction.exec_batch("INSERT INTO t VALUES (?, ?)", [(id, 1), (id, 2)]).await?;
            Ok(transaction.commit().await?)
        })
    }),
    ("prep, results and ping in a transaction", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            let statement = transaction.prep(TWO).await?;
            transaction.exec_drop(&statement, (id, id)).await?;
            transaction.query_iter("SELECT 1").await?.drop_result().await?;
            transaction.ping().await?;
            Ok(transaction.commit().await?)
        })
    }),
    ("savepoints in text", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            transaction.query_drop(two(id)).await?;
            transaction.query_drop("SAVEPOINT a").await?;
            transaction.query_drop(format!("INSERT INTO t VALUES ({id}, 3)")).await?;
            transaction.query_drop("ROLLBACK TO a").await?;
            Ok(transaction.commit().await?)
        })
    }),
    ("Queryable in a transaction", |conn, _, id| {
        Box::pin(async move {
            let mut transaction = conn.start_transaction(TxOpts::new()).await?;
            queryable(&mut transaction, id).await?;
            let done: Result<(), Failed> = transaction.commit().await.map_err(Into::into);
            done
        })
    }),
];
