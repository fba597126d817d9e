//! The methods of a client and of a transaction, each with all that belongs to it.

use std::io::Cursor;
use std::pin::pin;

use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::types::{ToSql, Type};

use crate::lane::Operation;

const TWO: &str = "INSERT INTO t SELECT $1::int8, part FROM generate_series(1, 2) part";

/// Two rows for COPY.
fn lines(id: i64) -> [Cursor<Vec<u8>>; 2] {
    [1, 2].map(|part| Cursor::new(format!("{id}\t{part}\n").into_bytes()))
}

/// The methods of a client; those that a transaction has too, it has from the same source.
pub(crate) const CLIENT: &[(&str, Operation)] = &[
    ("query", |client, _, id| Box::pin(async move { client.query(TWO, &[&id]).await.map(drop) })),
    ("query of a prepared statement", |client, prepared, id| {
        Box::pin(async move { client.query(prepared, &[&id]).await.map(drop) })
    }),
    ("query_one, query_opt and scalars", |client, prepared, id| {
        Box::pin(async move {
            client.query_one(prepared, &[&id]).await?;
            client.query_opt(prepared, &[&id]).await?;
            client.query_scalar::<i64, _>(prepared, &[&id]).await?;
            client.query_one_scalar::<i64, _>(prepared, &[&id]).await?;
            client.query_opt_scalar::<i64, _>(prepared, &[&id]).await.map(drop)
        })
    }),
    ("query_raw, read to its end", |client, _, id| {
        Box::pin(async move {
            let stream = client.query_raw("SELECT generate_series($1::int8, $1 + 3)", [&id]).await?;
            stream.try_collect::<Vec<_>>().await.map(drop)
        })
    }),
    ("query_raw, left after two rows", |client, _, id| {
        Box::pin(async move {
            let stream = client.query_raw("SELECT generate_series($1::int8, $1 + 5)", [&id]).await?;
            let mut stream = pin!(stream);
            stream.next().await.transpose()?;
            stream.next().await.transpose().map(drop)
        })
    }),
    ("query_typed and its like", |client, _, id| {
        Box::pin(async move {
            client.query_typed(TWO, &[(&id, Type::INT8)]).await?;
            client.query_typed_one("SELECT $1", &[(&id, Type::INT8)]).await?;
            client.query_typed_opt("SELECT $1", &[(&id, Type::INT8)]).await.map(drop)
        })
    }),
    ("query_typed_raw", |client, _, id| {
        Box::pin(async move {
            let stream = client.query_typed_raw("SELECT $1", [(id, Type::INT8)]).await?;
            stream.try_collect::<Vec<_>>().await.map(drop)
        })
    }),
    ("execute", |client, _, id| Box::pin(async move { client.execute(TWO, &[&id]).await.map(drop) })),
    ("execute_raw", |client, _, id| Box::pin(async move { client.execute_raw(TWO, [&id]).await.map(drop) })),
    ("execute_typed", |client, _, id| {
        Box::pin(async move { client.execute_typed(TWO, &[(&id, Type::INT8)]).await.map(drop) })
    }),
    ("prepare, and the first use", |client, _, id| {
        Box::pin(async move {
            let statement = client.prepare(TWO).await?;
            client.execute(&statement, &[&id]).await.map(drop)
        })
    }),
    ("two users of one statement", |client, _, id| {
        Box::pin(async move {
            let statement = client.prepare_typed("SELECT $1 + 1", &[Type::INT8]).await?;
            let (client, params): (_, &[&(dyn ToSql + Sync)]) = (&*client, &[&id]);
            let (first, second) =
                tokio::join!(client.query(&statement, params), client.query(&statement, params));
            first.and(second).map(drop)
        })
    }),
    ("copy_in", |client, _, id| {
        Box::pin(async move {
            let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await?);
            for line in lines(id) {
                sink.send(line).await?;
                sink.flush().await?;
            }
            sink.as_mut().finish().await.map(drop)
        })
    }),
    ("copy_in that is not finished", |client, _, id| {
        Box::pin(async move {
            let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await?);
            let [line, _] = lines(id);
            sink.send(line).await
        })
    }),
    ("copy_out, read to its end", |client, _, _| {
        Box::pin(async move {
            let stream = client.copy_out("COPY (SELECT generate_series(1, 4)) TO STDOUT").await?;
            stream.try_collect::<Vec<_>>().await.map(drop)
        })
    }),
    ("copy_out, left after a row", |client, _, _| {
        Box::pin(async move {
            let mut stream = pin!(client.copy_out("COPY (SELECT generate_series(1, 9)) TO STDOUT").await?);
            stream.next().await.transpose().map(drop)
        })
    }),
    ("simple_query", |client, _, id| {
        Box::pin(async move {
            let sql = format!("INSERT INTO t VALUES ({id}, 1); SELECT 1; INSERT INTO t VALUES ({id}, 2)");
            client.simple_query(&sql).await.map(drop)
        })
    }),
    ("simple_query_raw, left after a message", |client, _, id| {
        Box::pin(async move {
            let stream = client.simple_query_raw(&format!("SELECT generate_series({id}, {id} + 4)")).await?;
            pin!(stream).next().await.transpose().map(drop)
        })
    }),
    ("batch_execute", |client, _, id| {
        Box::pin(async move {
            client
                .batch_execute(&format!("INSERT INTO t VALUES ({id}, 1); INSERT INTO t VALUES ({id}, 2)"))
                .await
        })
    }),
    ("check_connection", |client, _, _| Box::pin(async move { client.check_connection().await })),
    ("with_raw", |client, _, id| {
        Box::pin(async move {
            client
                .with_raw(move |raw| Box::pin(async move { raw.execute(TWO, &[&id]).await }))
                .await
                .map(drop)
        })
    }),
    ("a statement that fails", |client, _, _| {
        Box::pin(async move {
            let failed = client.execute("SELECT 1 / 0", &[]).await;
            assert_eq!(failed.expect_err("a division by zero").sqlstate(), Some("22012"));
            Ok(())
        })
    }),
    ("calls in a pipeline", |client, prepared, id| {
        Box::pin(async move {
            let (client, params): (_, &[&(dyn ToSql + Sync)]) = (&*client, &[&id]);
            let (first, second, third) = tokio::join!(
                client.query(prepared, params),
                client.execute(TWO, params),
                client.simple_query("SELECT 1"),
            );
            first.map(drop).and(second.map(drop)).and(third.map(drop))
        })
    }),
];

/// Transactions, savepoints, portals, cursors.
pub(crate) const TRANSACTION: &[(&str, Operation)] = &[
    ("a transaction that is committed", |client, _, id| {
        Box::pin(async move {
            let transaction = client.transaction().await?;
            transaction.execute_typed("INSERT INTO t VALUES ($1, 1)", &[(&id, Type::INT8)]).await?;
            transaction.execute_typed("INSERT INTO t VALUES ($1, 2)", &[(&id, Type::INT8)]).await?;
            transaction.commit().await
        })
    }),
    ("a transaction that is rolled back", |client, prepared, id| {
        Box::pin(async move {
            let transaction = client.transaction().await?;
            transaction.execute("INSERT INTO t VALUES ($1, 1)", &[&id]).await?;
            transaction.query(prepared, &[&id]).await?;
            transaction.rollback().await
        })
    }),
    ("a transaction that is dropped", |client, _, id| {
        Box::pin(async move {
            let transaction = client.transaction().await?;
            transaction.execute_typed("INSERT INTO t VALUES ($1, 1)", &[(&id, Type::INT8)]).await.map(drop)
        })
    }),
    ("a transaction with options", |client, _, id| {
        Box::pin(async move {
            let start =
                client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::Serializable);
            let transaction = start.start().await?;
            transaction.execute(TWO, &[&id]).await?;
            transaction.commit().await
        })
    }),
    ("a transaction that fails", |client, _, id| {
        Box::pin(async move {
            let transaction = client.transaction().await?;
            transaction.execute(TWO, &[&id]).await?;
            assert!(transaction.batch_execute("SELECT 1 / 0").await.is_err());
            assert!(transaction.commit().await.is_err(), "a COMMIT that rolls back is an error");
            Ok(())
        })
    }),
    ("savepoints", |client, _, id| {
        Box::pin(async move {
            let mut transaction = client.transaction().await?;
            transaction.batch_execute(&format!("INSERT INTO t VALUES ({id}, 1)")).await?;
            let nested = transaction.savepoint("nested").await?;
            nested.batch_execute(&format!("INSERT INTO t VALUES ({id}, 2)")).await?;
            nested.commit().await?;
            let undone = transaction.transaction().await?;
            undone.batch_execute(&format!("INSERT INTO t VALUES ({id}, 3)")).await?;
            undone.rollback().await?;
            drop(transaction.transaction().await?);
            transaction.commit().await
        })
    }),
    ("a portal, in portions", |client, _, id| {
        Box::pin(async move {
            let transaction = client.transaction().await?;
            let portal = transaction.bind("SELECT generate_series($1::int8, $1 + 3)", &[&id]).await?;
            transaction.query_portal(&portal, 2).await?;
            let stream = transaction.query_portal_raw(&portal, 0).await?;
            stream.try_collect::<Vec<_>>().await?;
            drop(portal);
            transaction.commit().await
        })
    }),
    ("streams and COPY in a transaction", |client, prepared, id| {
        Box::pin(async move {
            let transaction = client.transaction().await?;
            let stream = transaction.query_raw(prepared, [&id]).await?;
            stream.try_collect::<Vec<_>>().await?;
            let mut sink = pin!(transaction.copy_in("COPY t FROM STDIN").await?);
            for line in lines(id) {
                sink.send(line).await?;
            }
            sink.as_mut().finish().await?;
            transaction.commit().await
        })
    }),
    ("a statement prepared in a transaction", |client, _, id| {
        Box::pin(async move {
            let transaction = client.transaction().await?;
            let statement = transaction.prepare(TWO).await?;
            transaction.execute(&statement, &[&id]).await?;
            transaction.commit().await
        })
    }),
];
