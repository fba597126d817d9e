//! Statements, values and transactions.

use std::time::Instant;

use integration_tests::sim::SimCluster;
use mysql_async::prelude::Queryable;
use mysql_async::{IsolationLevel, Row, TxOpts, Value, params};

use crate::{PATIENCE, cluster, code, connect, numbers, with_table};

#[tokio::test]
async fn a_failed_statement_leaves_its_transaction_open() {
    let cluster = cluster().await;
    let mut conn = with_table(&cluster).await;
    conn.query_drop("START TRANSACTION").await.unwrap();
    conn.query_drop("INSERT INTO w VALUES (1)").await.unwrap();
    assert_eq!(code(conn.query_drop("INSERT INTO w VALUES (2), (1)").await), 1062);
    assert_eq!(code(conn.query_drop("SELECT * FROM nowhere").await), 1146);
    conn.query_drop("INSERT INTO w VALUES (3)").await.unwrap();
    assert_eq!(numbers(&mut connect(&cluster, 0).await).await, [0_i64; 0]);
    conn.query_drop("COMMIT").await.unwrap();
    assert_eq!(numbers(&mut connect(&cluster, 0).await).await, [1, 3]);
}

#[tokio::test]
async fn transactions_end_as_mysql_ends_them() {
    let cluster = cluster().await;
    let mut conn = with_table(&cluster).await;
    let mut other = connect(&cluster, 0).await;
    // BEGIN commits what is open, and so does DDL.
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("INSERT INTO w VALUES (1)").await.unwrap();
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("INSERT INTO w VALUES (2)").await.unwrap();
    conn.query_drop("CREATE TABLE x (id INT)").await.unwrap();
    assert_eq!(numbers(&mut other).await, [1, 2]);
    // Without autocommit a statement opens one; switched on again, it commits.
    conn.query_drop("SET autocommit = 0").await.unwrap();
    conn.query_drop("INSERT INTO w VALUES (3)").await.unwrap();
    conn.query_drop("ROLLBACK").await.unwrap();
    conn.query_drop("INSERT INTO w VALUES (4)").await.unwrap();
    assert_eq!(numbers(&mut other).await, [1, 2]);
    conn.query_drop("SET autocommit = 1").await.unwrap();
    assert_eq!(numbers(&mut other).await, [1, 2, 4]);
    // Savepoints.
    conn.query_drop("BEGIN; INSERT INTO w VALUES (5); SAVEPOINT s; INSERT INTO w VALUES (6)").await.unwrap();
    conn.query_drop("ROLLBACK TO SAVEPOINT s").await.unwrap();
    conn.query_drop("COMMIT").await.unwrap();
    assert_eq!(numbers(&mut other).await, [1, 2, 4, 5]);
    assert_eq!(code(conn.query_drop("ROLLBACK TO SAVEPOINT s").await), 1305);
    // A connection that goes takes its transaction along.
    conn.query_drop("BEGIN; INSERT INTO w VALUES (7)").await.unwrap();
    conn.disconnect().await.unwrap();
    assert_eq!(numbers(&mut other).await, [1, 2, 4, 5]);
}

#[tokio::test]
async fn of_two_that_change_a_row_the_later_commit_fails() {
    let cluster = cluster().await;
    let (mut one, mut two) = (with_table(&cluster).await, connect(&cluster, 0).await);
    one.query_drop("INSERT INTO w VALUES (1)").await.unwrap();
    for conn in [&mut one, &mut two] {
        conn.query_drop("BEGIN").await.unwrap();
        conn.query_drop("UPDATE w SET id = id + 1").await.unwrap();
    }
    one.query_drop("COMMIT").await.unwrap();
    assert_eq!(code(two.query_drop("COMMIT").await), 1213);
    assert_eq!(numbers(&mut two).await, [2]);
}

#[tokio::test]
async fn who_may_not_write_is_told_why() {
    let cluster = cluster().await;
    let mut writer = with_table(&cluster).await;
    writer.query_drop("START TRANSACTION READ ONLY").await.unwrap();
    assert_eq!(code(writer.query_drop("INSERT INTO w VALUES (1)").await), 1792);
    writer.query_drop("COMMIT").await.unwrap();
    writer.query_drop("SET SESSION TRANSACTION READ ONLY").await.unwrap();
    assert_eq!(code(writer.query_drop("INSERT INTO w VALUES (1)").await), 1792);
    let set: Option<(u8, u8)> =
        writer.query_first("SELECT @@transaction_read_only, @@SESSION.autocommit").await.unwrap();
    assert_eq!(set, Some((1, 1)));
    writer.query_drop("SET SESSION TRANSACTION READ WRITE").await.unwrap();
    // For the next transaction alone, as the driver does it.
    let mut only = TxOpts::default();
    only.with_readonly(true).with_isolation_level(IsolationLevel::ReadCommitted);
    let mut transaction = writer.start_transaction(only).await.unwrap();
    assert_eq!(code(transaction.query_drop("INSERT INTO w VALUES (1)").await), 1792);
    transaction.rollback().await.unwrap();
    let mut snapshot = TxOpts::default();
    snapshot.with_consistent_snapshot(true);
    let mut transaction = writer.start_transaction(snapshot).await.unwrap();
    transaction.query_drop("INSERT INTO w VALUES (1)").await.unwrap();
    transaction.commit().await.unwrap();

    let mut reader = connect(&cluster, 1).await;
    assert_eq!(code(reader.query_drop("INSERT INTO w VALUES (2)").await), 1290);
    assert_eq!(code(reader.query_drop("CREATE TABLE x (id INT)").await), 1290);
    reader.query_drop("START TRANSACTION READ ONLY").await.unwrap();
    assert_eq!(code(reader.query_drop("INSERT INTO w VALUES (2)").await), 1290);
    // Locks are no writes.
    reader.query_drop("SELECT * FROM w FOR UPDATE").await.unwrap();
    assert_eq!(numbers(&mut reader).await, [1]);
}

const TYPES: &str = "CREATE TABLE IF NOT EXISTS `all` (
    Id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, small TINYINT(1), big BIGINT UNSIGNED DEFAULT 7, share DOUBLE,
    price DECIMAL(10, 2), name VARCHAR(40) NOT NULL, note TEXT, raw VARBINARY(9), at DATETIME(6),
    KEY by_name (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT 'all types'";

#[tokio::test]
async fn values_keep_their_types_in_both_forms() {
    let cluster = cluster().await;
    let mut conn = connect(&cluster, 0).await;
    conn.query_drop(TYPES).await.unwrap();
    let at = Value::Date(2024, 2, 29, 12, 30, 0, 250);
    let row = (true, 9_000_000_000_u64, -1.5, "12.34", "Ann", None::<String>, vec![0_u8, 255], at.clone());
    conn.exec_drop(
        "INSERT INTO `all` (small, big, share, price, name, note, raw, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        row.clone(),
    )
    .await
    .unwrap();
    assert_eq!((conn.affected_rows(), conn.last_insert_id()), (1, Some(1)));
    conn.exec_drop("INSERT INTO shop.ALL_ (name) VALUES (:n)", params! { "n" => 1 }).await.unwrap_err();
    conn.exec_drop("INSERT INTO shop.`all` (NAME) VALUES (:n)", params! { "n" => "Bo" }).await.unwrap();
    let select = "SELECT small, big, share, price, name, note, raw, at FROM `all` WHERE id = ?";
    type All = (bool, u64, f64, String, String, Option<String>, Vec<u8>, Value);
    let binary: Option<All> = conn.exec_first(select, (1,)).await.unwrap();
    let kept =
        (row.0, row.1, row.2, "12.34".to_owned(), "Ann".to_owned(), row.5.clone(), row.6.clone(), at.clone());
    assert_eq!(binary, Some(kept));
    let text: Option<Row> = conn.query_first(select.replace('?', "1")).await.unwrap();
    let text = text.unwrap();
    assert_eq!(text.get::<f64, _>("share"), Some(-1.5));
    assert_eq!(text.get::<Vec<u8>, _>("raw"), Some(vec![0, 255]));
    assert_eq!(text.get::<String, _>("at").as_deref(), Some("2024-02-29 12:30:00.000250"));
    // A default, a generated number, and names as they were written.
    let second: Option<Row> =
        conn.exec_first("SELECT ID, Big AS Total FROM `all` WHERE name = 'Bo'", ()).await.unwrap();
    let second = second.unwrap();
    let names: Vec<_> = second.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    assert_eq!(names, ["ID", "Total"]);
    assert_eq!((second.get("ID"), second.get("Total")), (Some(2), Some(7)));
}

#[tokio::test]
async fn numbers_are_generated_and_duplicates_are_as_wished() {
    let cluster = cluster().await;
    let mut conn = connect(&cluster, 0).await;
    conn.query_drop("CREATE TABLE n (id INT AUTO_INCREMENT PRIMARY KEY, a INT UNIQUE, b INT)").await.unwrap();
    conn.query_drop("INSERT INTO n (a) VALUES (10), (20)").await.unwrap();
    assert_eq!(conn.last_insert_id(), Some(1));
    conn.query_drop("INSERT INTO n VALUES (7, 30, 0), (NULL, 40, 0)").await.unwrap();
    let last: Option<i64> = conn.query_first("SELECT LAST_INSERT_ID()").await.unwrap();
    assert_eq!(last, Some(8));
    conn.query_drop("INSERT IGNORE INTO n (a) VALUES (10)").await.unwrap();
    conn.query_drop("INSERT INTO n (a, b) VALUES (20, 5) ON DUPLICATE KEY UPDATE b = VALUES(b) + 1")
        .await
        .unwrap();
    let rows: Vec<(i64, i64, Option<i64>)> = conn.query("SELECT * FROM n ORDER BY id").await.unwrap();
    assert_eq!(rows, [(1, 10, None), (2, 20, Some(6)), (7, 30, Some(0)), (8, 40, Some(0))]);
    let some: Vec<i64> = conn.query("SELECT id FROM n ORDER BY id LIMIT 1, 2").await.unwrap();
    assert_eq!(some, [2, 7]);
    let counted: Option<(i64, String)> =
        conn.query_first("SELECT COUNT(*), IF(MAX(a) > 30, 'many', 'few') FROM n").await.unwrap();
    assert_eq!(counted, Some((4, "many".to_owned())));
}

/// Two of the user's variables, then the SQL mode, time zone and character set.
type Set = (Option<u8>, Option<String>, String, String, String);

#[tokio::test]
async fn variables_are_kept_and_forgotten() {
    let cluster = cluster().await;
    let mut conn = connect(&cluster, 0).await;
    conn.query_drop("SET @a = 42, @b = 'foo', SESSION sql_mode = 'ANSI', time_zone = '+02:00'")
        .await
        .unwrap();
    conn.query_drop("SET NAMES latin1").await.unwrap();
    let read = "SELECT @a, @b, @@sql_mode, @@SESSION.time_zone, @@character_set_client";
    let set: Option<Set> = conn.query_first(read).await.unwrap();
    let text = str::to_owned;
    assert_eq!(set, Some((Some(42), Some(text("foo")), text("ANSI"), text("+02:00"), text("latin1"))));
    assert!(conn.reset().await.unwrap());
    let set: Option<Set> = conn.query_first(read).await.unwrap();
    let set = set.unwrap();
    assert_eq!((set.0, set.1, set.3.as_str(), set.4.as_str()), (None, None, "UTC", "utf8mb4"));
    for (statement, number) in [
        ("SET nonsense = 1", 1193),
        ("SELECT @@nonsense", 1193),
        ("SET version = '9'", 1238),
        ("SET GLOBAL read_only = 0", 1227),
        ("SET autocommit = 'maybe'", 1231),
    ] {
        assert_eq!(code(conn.query_drop(statement).await), number, "{statement}");
    }
}

#[tokio::test]
async fn what_is_wrong_has_mysqls_number() {
    let cluster = cluster().await;
    let mut conn = with_table(&cluster).await;
    for (statement, number) in [
        ("SELEKT 1", 1064),
        ("", 1065),
        ("SELECT * FROM w WHERE nowhere = 1", 1054),
        ("SELECT nothing(1)", 1305),
        ("CREATE TABLE w (id INT)", 1050),
        ("INSERT INTO w VALUES (NULL)", 1048),
        ("INSERT INTO w VALUES ('x')", 1366),
        ("LOCK TABLES w WRITE", 1235),
        ("KILL 1", 1094),
    ] {
        assert_eq!(code(conn.query_drop(statement).await), number, "{statement}");
    }
    conn.ping().await.unwrap();
    // Of several statements those before the wrong one count.
    assert_eq!(code(conn.query_drop("INSERT INTO w VALUES (1); SELECT * FROM x").await), 1146);
    let mut results = conn.query_iter("SELECT 1; INSERT INTO w VALUES (2); SELECT id FROM w").await.unwrap();
    let first: Vec<i64> = results.collect().await.unwrap();
    let second: Vec<i64> = results.collect().await.unwrap();
    let third: Vec<i64> = results.collect().await.unwrap();
    drop(results);
    assert_eq!((first, second, third), (vec![1], vec![], vec![1, 2]));
}

#[tokio::test]
async fn a_statement_can_be_killed_and_a_connection_too() {
    let cluster = cluster().await;
    let (mut sleeper, mut killer) = (connect(&cluster, 0).await, connect(&cluster, 0).await);
    let id = sleeper.id();
    assert!(id != killer.id());
    let begun = Instant::now();
    let asleep = tokio::spawn(async move { (code(sleeper.query_drop("SELECT SLEEP(600)").await), sleeper) });
    // The statement may not have arrived yet.
    let (number, mut sleeper) = loop {
        killer.query_drop(format!("KILL QUERY {id}")).await.unwrap();
        tokio::task::yield_now().await;
        if asleep.is_finished() {
            break asleep.await.unwrap();
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    assert_eq!(number, 1317);
    sleeper.ping().await.unwrap();
    killer.query_drop(format!("KILL {id}")).await.unwrap();
    assert!(sleeper.ping().await.is_err());
    assert_eq!(code(killer.query_drop("KILL 4711").await), 1094);
}

#[tokio::test]
async fn set_up_by_hand_is_seen_by_clients() {
    let cluster: SimCluster = cluster().await;
    cluster.sql("CREATE TABLE w (id BIGINT); INSERT INTO w VALUES (1), (2)").await.unwrap();
    assert_eq!(numbers(&mut connect(&cluster, 2).await).await, [1, 2]);
    let rows = cluster.sql("SELECT COUNT(*) AS n FROM w").await.unwrap();
    assert_eq!(rows, [[Some("2".to_owned())]]);
    cluster.shutdown().await;
}
