//! Connecting to a MySQL-family server, the methods of a connection, and the server's bad days.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![cfg(target_os = "linux")]

mod mysql_kit;

use std::time::Duration;

use integration_tests::{Flavour, MySqlCluster};
use mysql_kit::{
    builder, cluster, connected, connections, connector, end, failed, node_of, rows, runs, sql, until, within,
};
use wrapper_core::host::HostRole;
use wrapper_mysql::prelude::{BatchQuery, Query, Queryable, WithParams};
use wrapper_mysql::{
    Conn, Connector, ErrorKind, IsolationLevel, RetryAdvice, Row, TransactionOutcome, TxOpts, params,
};

/// Scenarios 1 and 6: what a program for mysql_async does, on each flavour: every method that the driver's connection has.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_for_mysql_async_goes_on_to_work() {
    for flavour in [Flavour::Plain, Flavour::Aurora, Flavour::MultiAz] {
        let cluster = cluster(flavour).await;
        let connector = connector(&cluster);
        let mut conn = connected(&connector).await;
        assert_eq!(conn.host().role, HostRole::Writer, "{flavour:?}");
        assert_eq!(node_of(&cluster, &mut conn).await, cluster.writer());
        within("the methods", methods(&mut conn)).await;
        within("the traits", generic(&mut conn)).await.expect("the driver's traits work");
        assert!(conn.id() > 0 && conn.server_version() > (5, 0, 0) && !conn.is_secure());
        within("the goodbye", conn.disconnect()).await.expect("said");
        until("the server has let it go", || async { connections(&cluster, cluster.writer()).await <= 1 })
            .await;
        end(connector).await;
        cluster.stop().await;
    }
}

async fn methods(conn: &mut Conn) {
    conn.ping().await.expect("a ping");
    conn.query_drop("CREATE TABLE m (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(20))")
        .await
        .expect("made");
    conn.exec_drop("INSERT INTO m (name) VALUES (?)", ("one",)).await.expect("inserted");
    assert_eq!((conn.affected_rows(), conn.last_insert_id()), (1, Some(1)));
    conn.exec_batch("INSERT INTO m (name) VALUES (:name)", ["two", "three"].map(|name| params! { name }))
        .await
        .expect("inserted");
    let names: Vec<String> = conn.query("SELECT name FROM m ORDER BY id").await.expect("read");
    assert_eq!(names, ["one", "two", "three"]);
    let first: Option<(u64, String)> =
        conn.query_first("SELECT id, name FROM m ORDER BY id").await.expect("read");
    assert_eq!(first, Some((1, "one".to_owned())));
    let lengths =
        conn.query_map("SELECT name FROM m ORDER BY id", |name: String| name.len()).await.expect("read");
    assert_eq!(lengths, [3, 3, 5]);
    let sum = conn.query_fold("SELECT id FROM m", 0, |sum, id: u64| sum + id).await.expect("read");
    assert_eq!(sum, 6);
    let statement = conn.prep("SELECT name FROM m WHERE id = :id").await.expect("prepared");
    assert_eq!((statement.num_params(), statement.columns().len()), (1, 1));
    let name: Option<String> = conn.exec_first(&statement, params! { "id" => 2 }).await.expect("read");
    assert_eq!(name.as_deref(), Some("two"));
    conn.close(statement).await.expect("closed");
    let none: Vec<Row> = conn.exec("SELECT * FROM m WHERE id = ?", (99,)).await.expect("read");
    assert!(none.is_empty());

    // Several result sets, one after the other; the second of them fails.
    let mut sets = conn.query_iter("SELECT 1; SELECT 2 UNION SELECT 3; SELECT nothing").await.expect("asked");
    assert_eq!(sets.collect::<u8>().await.expect("read"), [1]);
    assert_eq!(sets.collect::<u8>().await.expect("read"), [2, 3]);
    let error = failed(sets.drop_result().await, "a wrong statement");
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Statement, Some(1054)), "{error:?}");
    // A result that nobody reads to its end does not disturb.
    let many = "WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 300) \
                SELECT a.seq FROM s AS a, s AS b WHERE a.seq > ?";
    let mut rows = conn.exec_iter(many, (1,)).await.expect("asked");
    assert!(rows.next().await.expect("a row").is_some());
    drop(rows);
    assert_eq!(conn.query_first::<u8, _>("SELECT 42").await.expect("read"), Some(42));

    // The caller's own mistakes leave the connection as it is.
    let error = failed(conn.query_first::<u8, _>("SELECT 'text'").await, "a text as a number");
    assert_eq!(error.kind(), ErrorKind::Driver, "{error:?}");
    let error = failed(conn.exec_drop("SELECT ?", (1, 2)).await, "too many parameters");
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Driver, TransactionOutcome::NotSent),
        "{error:?}"
    );
    let error = failed(conn.query_drop("INSERT INTO m (id) VALUES (1)").await, "a key twice");
    assert_eq!(
        (error.kind(), error.server_code(), error.sqlstate()),
        (ErrorKind::Statement, Some(1062), Some("23000"))
    );
    assert_eq!(conn.generation(), 1);

    // Transactions: dropped, rolled back, committed.
    for end in ["drop", "rollback", "commit"] {
        let mut options = TxOpts::new();
        options.with_isolation_level(IsolationLevel::Serializable);
        let mut tx = conn.start_transaction(options).await.expect("begun");
        tx.exec_drop("INSERT INTO m (name) VALUES (?)", (end,)).await.expect("inserted");
        let inside: Option<u64> =
            tx.exec_first("SELECT COUNT(*) FROM m WHERE name = ?", (end,)).await.expect("counted");
        assert_eq!(inside, Some(1));
        match end {
            "drop" => drop(tx),
            "rollback" => tx.rollback().await.expect("rolled back"),
            _ => tx.commit().await.expect("committed"),
        }
        let left: Option<u64> =
            conn.exec_first("SELECT COUNT(*) FROM m WHERE name = ?", (end,)).await.expect("counted");
        assert_eq!(left, Some(u64::from(end == "commit")), "{end}");
    }
    assert!(conn.reset().await.expect("reset"));
    let two: Option<u8> = conn.with_raw(|raw| raw.query_first("SELECT 2")).await.expect("asked");
    assert_eq!(two, Some(2));
}

/// Code that knows the driver's traits alone.
async fn generic(conn: &mut Conn) -> mysql_async::Result<()> {
    async fn sum(on: &mut impl Queryable) -> mysql_async::Result<u64> {
        on.ping().await?;
        let statement = on.prep("SELECT ? + 1").await?;
        let two: Option<u64> = on.exec_first(&statement, (1,)).await?;
        let three: Vec<u64> = on.exec(statement.clone(), (2,)).await?;
        on.exec_batch("DELETE FROM m WHERE id = ?", [(98,), (99,)]).await?;
        on.close(statement).await?;
        let four = on.query_iter("SELECT 4").await?.collect_and_drop::<u64>().await?;
        let bytes: Vec<u64> = on.exec(b"SELECT 5".to_vec(), ()).await?;
        on.query_drop("DO 1").await?;
        Ok(two.unwrap_or_default() + three[0] + four[0] + bytes[0])
    }
    assert_eq!(sum(conn).await?, 2 + 3 + 4 + 5);
    let mut tx = conn.start_transaction(TxOpts::new()).await.expect("begun");
    assert_eq!(sum(&mut tx).await?, 14);
    let six: Option<u64> = "SELECT 6".first(&mut tx).await?;
    assert_eq!(six, Some(6));
    tx.commit().await.expect("committed");

    let names: Vec<String> = "SELECT name FROM m ORDER BY id LIMIT 2".fetch(&mut *conn).await?;
    assert_eq!(names, ["one", "two"]);
    let one: Option<String> = "SELECT name FROM m WHERE id = ?".with((1,)).first(&mut *conn).await?;
    assert_eq!(one.as_deref(), Some("one"));
    "DELETE FROM m WHERE id = ?".with([(97,), (96,)]).batch(&mut *conn).await?;
    // An error of a statement is the driver's own.
    match Queryable::query_drop(conn, "SELECT nothing").await {
        Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 1054),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// Trap B2 closed: a call that is cancelled in flight never leaves its answer to the next one, whether text, statement
/// or the driver's own trait; a transaction that was open is gone with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_never_leaves_its_answer_to_the_next_one() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    let soon = Duration::from_millis(100);
    for round in 0..4_u64 {
        let generation = conn.generation();
        let stale = "SELECT 'stale' FROM (SELECT sleep(0.5)) AS s";
        let cancelled = match round {
            0 => tokio::time::timeout(soon, conn.query_drop(stale)).await.is_err(),
            1 => tokio::time::timeout(soon, conn.exec_drop(stale, ())).await.is_err(),
            2 => tokio::time::timeout(soon, Queryable::query_drop(&mut conn, stale)).await.is_err(),
            _ => tokio::time::timeout(soon, stale.fetch::<String, _>(&mut conn)).await.is_err(),
        };
        assert!(cancelled, "round {round}");
        let first = within("the next call", conn.query_first::<u64, _>("SELECT 42")).await;
        let answer = match first {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "round {round}: {error:?}");
                assert_eq!(error.outcome(), TransactionOutcome::NotSent, "{error:?}");
                within("the call again", conn.query_first::<u64, _>("SELECT 42")).await.expect("answered")
            }
            Ok(answer) => answer,
        };
        assert_eq!(answer, Some(42), "round {round}");
        assert_eq!(conn.generation(), generation + 1, "round {round}: the connection was not used again");
    }
    let mut tx = conn.start_transaction(TxOpts::new()).await.expect("begun");
    tx.query_drop("INSERT INTO t VALUES (1)").await.expect("inserted");
    tokio::time::timeout(soon, tx.query_drop("SELECT sleep(5)")).await.expect_err("cancelled");
    let error = failed(within("the commit", tx.commit()).await, "the commit of a lost transaction");
    assert_eq!(error.kind(), ErrorKind::TransactionStateUnknown, "{error:?}");
    assert!(error.outcome().is_not_applied(), "{error:?}");
    assert_eq!(rows(&cluster, 1).await, 0);
    drop(conn);
    end(connector).await;
    cluster.stop().await;
}

/// Wrong password, unknown host, a server that is full, a password in clear text without TLS: typed errors that say
/// what to do, and name no secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_cannot_be_says_why() {
    let cluster = MySqlCluster::builder().max_connections(20).start().await.expect("the cluster starts");
    let endpoint = cluster.cluster_endpoint();
    let with = |name: &str, value: &str| builder(&cluster, &endpoint).set(name, value);
    let wrong = builder(&cluster, &endpoint).password("hunter2-not-it".to_owned()).build().expect("valid");
    let error = failed(within("the connect", wrong.connect()).await, "a wrong password");
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Login, Some(1045)), "{error:?}");
    assert!(!error.to_string().contains("hunter2") && error.retry_advice() == RetryAdvice::Never, "{error}");

    let nowhere = builder(&cluster, "nowhere.example.com").build().expect("valid");
    let error = failed(within("the connect", nowhere.connect()).await, "an unknown host");
    assert!(error.to_string().contains("nowhere.example.com"), "{error}");

    let clear = with("enable_cleartext_plugin", "true").build().expect_err("refused");
    assert!(clear.kind() == ErrorKind::Config && clear.to_string().contains("clear text"), "{clear}");
    let keepalive = with("tcp_keepalive_interval", "5").build().expect_err("refused");
    assert!(keepalive.to_string().contains("mysql_async"), "{keepalive}");

    let from_opts = Connector::from_opts(cluster.app_config(cluster.writer())).expect("valid");
    let mut conn = connected(&from_opts).await;
    assert_eq!(conn.query_first::<u8, _>("SELECT 1").await.expect("answered"), Some(1));
    drop(conn);
    end(from_opts).await;
    // Without a plugin that waits for a host to be ready.
    let connector = with("plugins", "").build().expect("valid");
    let mut held = Vec::new();
    let busy = loop {
        match within("the connect", connector.connect()).await {
            Ok(conn) => held.push(conn),
            Err(error) => break error,
        }
    };
    assert_eq!((busy.kind(), busy.server_code()), (ErrorKind::Busy, Some(1040)), "{busy:?}");
    drop(held);
    end(connector).await;
    end(wrong).await;
    end(nowhere).await;
    cluster.stop().await;
}

/// KILL, `wait_timeout`, `max_allowed_packet`, a deadlock: what is lost is replaced, what is not stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_ends_is_replaced() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;

    // The statement is stopped, not the connection.
    let kill = async {
        until("the call runs", || runs(&cluster, "sleep(600)")).await;
    };
    let id = conn.id();
    let (stopped, ()) = within("the call", async {
        tokio::join!(
            conn.query_drop("SELECT sleep(600) FROM t AS x RIGHT JOIN (SELECT 1) AS y ON 1"),
            async {
                kill.await;
                sql(&cluster, &format!("KILL QUERY {id}")).await;
            }
        )
    })
    .await;
    if let Err(error) = stopped {
        assert_eq!((error.kind(), error.server_code()), (ErrorKind::Statement, Some(1317)), "{error:?}");
    }
    assert_eq!(conn.generation(), 1);

    sql(&cluster, &format!("KILL {id}")).await;
    let error = failed(within("the call", conn.query_drop("DO 1")).await, "a call on a killed connection");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    assert_eq!(node_of(&cluster, &mut conn).await, cluster.writer());

    conn.query_drop("SET SESSION wait_timeout = 1").await.expect("set");
    let id = conn.id();
    until("the server has hung up", || async {
        let mut direct = cluster.connect_superuser(cluster.writer()).await.expect("connected");
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ?";
        let open: Option<u64> = Queryable::exec_first(&mut direct, sql, (id,)).await.expect("counted");
        open == Some(0)
    })
    .await;
    let error = failed(within("the call", conn.query_drop("DO 1")).await, "a call on an idle connection");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    conn.query_drop("SET SESSION wait_timeout = 600").await.expect("set");

    // Too large a packet is the caller's fault: an error of its own, and the next call goes on.
    let large = format!("SELECT LENGTH('{}')", "x".repeat(20 * 1024 * 1024));
    let error = failed(within("the call", conn.query_drop(large)).await, "a large packet");
    assert!(matches!(error.kind(), ErrorKind::Driver | ErrorKind::Statement), "{error:?}");
    assert!(error.to_string().contains("max_allowed_packet"), "{error}");
    let next = within("the next call", conn.query_first::<u8, _>("SELECT 1")).await;
    if let Err(error) = next {
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    }
    assert_eq!(conn.query_first::<u8, _>("SELECT 1").await.expect("answered"), Some(1));
    drop(conn);
    end(connector).await;
    cluster.stop().await;
}

/// A deadlock rolls the whole transaction back: the error asks for a repetition, and whoever commits nevertheless is
/// told that there is nothing to commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_never_committed() {
    let cluster = cluster(Flavour::Aurora).await;
    sql(
        &cluster,
        "CREATE TABLE shop.d (id int PRIMARY KEY, n int); INSERT INTO shop.d VALUES (1, 0), (2, 0)",
    )
    .await;
    let connector = connector(&cluster);
    let (mut one, mut other) = (connected(&connector).await, connected(&connector).await);
    let mut first = one.start_transaction(TxOpts::new()).await.expect("begun");
    let mut second = other.start_transaction(TxOpts::new()).await.expect("begun");
    first.query_drop("UPDATE d SET n = n + 1 WHERE id = 1").await.expect("updated");
    second.query_drop("UPDATE d SET n = n + 1 WHERE id = 2").await.expect("updated");
    let (a, b) = within("the deadlock", async {
        tokio::join!(
            first.query_drop("UPDATE d SET n = n + 1 WHERE id = 2"),
            second.query_drop("UPDATE d SET n = n + 1 WHERE id = 1")
        )
    })
    .await;
    let (error, victim, winner) = match (a, b) {
        (Err(error), Ok(())) => (error, first, second),
        (Ok(()), Err(error)) => (error, second, first),
        other => panic!("{other:?}"),
    };
    assert_eq!((error.server_code(), error.retry_advice()), (Some(1213), RetryAdvice::WholeTransaction));
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack);
    let error = failed(within("the commit", victim.commit()).await, "the commit of a victim");
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Statement, TransactionOutcome::RolledBack),
        "{error:?}"
    );
    within("the commit", winner.commit()).await.expect("committed");
    // The session is clean again.
    let tx = one.start_transaction(TxOpts::new()).await.expect("begun");
    tx.commit().await.expect("committed");
    let tx = other.start_transaction(TxOpts::new()).await.expect("begun");
    tx.commit().await.expect("committed");
    drop((one, other));
    end(connector).await;
    cluster.stop().await;
}

/// A handler for LOAD DATA LOCAL that was not used yet goes with the session through a switch; it is used once.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_for_local_data_goes_through_a_switch() {
    let cluster = cluster(Flavour::Aurora).await;
    let connector = connector(&cluster);
    let mut conn = connected(&connector).await;
    conn.set_infile_handler(async {
        let lines = futures_util::stream::iter([Ok("7\n".into()), Ok("7\n".into())]);
        Ok(Box::pin(lines) as wrapper_mysql::InfileData)
    });
    conn.query_drop("DO 1").await.expect("armed");
    cluster.fail_over().await.expect("failed over");
    failed(within("the call", conn.query_drop("DO 1")).await, "a call on a dead writer");
    let load = "LOAD DATA LOCAL INFILE 'any' INTO TABLE t";
    within("the load", conn.query_drop(load)).await.expect("loaded");
    assert_eq!(rows(&cluster, 7).await, 2);
    let error = failed(within("the load", conn.query_drop(load)).await, "a load without a handler");
    assert_eq!(error.kind(), ErrorKind::Driver, "{error:?}");
    drop(conn);
    end(connector).await;
    cluster.stop().await;
}
