//! SQL: types, expressions, portals, transactions, settings.

use std::time::Duration;

use integration_tests::sim::{SimCluster, SimError};
use tokio_postgres::SimpleQueryMessage;

use crate::{PATIENCE, Result, cluster, config, connect, connect_with, failed, one, state, text};

#[tokio::test]
async fn prepared_statements_carry_all_common_types() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS w (
                 id bigint PRIMARY KEY, n int NOT NULL DEFAULT 7, note text, ok boolean,
                 at timestamptz DEFAULT now(), load float8, tags text[])",
        )
        .await?;
    let insert =
        client.prepare("INSERT INTO w (id, note, ok, load, tags) VALUES ($1, $2, $3, $4, $5)").await?;
    let tags = vec!["a", "b c"];
    assert_eq!(client.execute(&insert, &[&1_i64, &"one", &true, &0.5_f64, &tags]).await?, 1);
    assert_eq!(client.execute(&insert, &[&2_i64, &None::<&str>, &false, &1.5_f64, &tags]).await?, 1);

    let row = client.query_one("SELECT *, note IS NULL AS empty FROM w WHERE id = $1", &[&1_i64]).await?;
    assert_eq!(row.get::<_, i64>("id"), 1);
    assert_eq!(row.get::<_, i32>("n"), 7);
    assert_eq!(row.get::<_, &str>("note"), "one");
    assert!(row.get::<_, bool>("ok") && !row.get::<_, bool>("empty"));
    let age = row.get::<_, std::time::SystemTime>("at").elapsed()?;
    assert!(age < PATIENCE, "{age:?}");
    assert_eq!(row.get::<_, Vec<String>>("tags"), ["a", "b c"]);
    let totals = client.query_one("SELECT count(*), sum(n), max(load), min(id) FROM w", &[]).await?;
    assert_eq!((totals.get::<_, i64>(0), totals.get::<_, i64>(1)), (2, 14));
    assert_eq!((totals.get::<_, f64>(2), totals.get::<_, i64>(3)), (1.5, 1));

    let update = "UPDATE w SET n = n + $1 WHERE id = ANY($2) RETURNING n";
    let changed = client.query(update, &[&3_i32, &vec![1_i64, 2]]).await?;
    assert_eq!(changed.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [10, 10]);
    let names = "SELECT coalesce(note, $1::text) FROM w ORDER BY id DESC LIMIT $2";
    assert_eq!(client.query(names, &[&"none", &1_i64]).await?[0].get::<_, &str>(0), "none");
    assert_eq!(client.execute("DELETE FROM w WHERE load > $1", &[&1.0_f64]).await?, 1);
    assert_eq!(one(&client, "SELECT count(*) FROM w").await?.as_deref(), Some("1"));

    assert_eq!(state(&failed(client.execute(&insert, &[&1_i64, &"", &true, &0_f64, &tags]).await)), "23505");
    assert_eq!(state(&failed(client.prepare("SELECT nothing FROM w").await)), "42703");
    assert_eq!(state(&failed(client.prepare("SELECT 1 FROM nowhere").await)), "42P01");
    assert_eq!(state(&failed(client.simple_query("SELEC 1").await)), "42601");
    assert_eq!(state(&failed(client.simple_query("SELECT 1/0").await)), "22012");
    assert_eq!(one(&client, "select 1").await?.as_deref(), Some("1"));
    Ok(())
}

/// Checked against PostgreSQL 15.
#[tokio::test]
async fn expressions_yield_what_postgresql_yields() -> Result<()> {
    let cluster = SimCluster::builder().nodes(1).start().await?;
    cluster.sql("CREATE TABLE w (id int PRIMARY KEY, n int); INSERT INTO w VALUES (1, 8), (3, 7)").await?;
    for (sql, expected) in [
        ("SELECT 1 + 2 * 3, 7 / 2, 7 % 3, -5, 'a' || 1", "7|3|1|-5|a1"),
        ("SELECT 'a' <> 'b', NULL IS NULL, NOT true, 3 NOT IN (1, 2), 5 IS DISTINCT FROM NULL", "t|t|f|t|t"),
        ("SELECT NULL = 1, NULL AND false, NULL OR true, 1 IN (2, NULL)", "~|f|t|~"),
        (
            "SELECT CASE WHEN 1 > 2 THEN 'x' ELSE 'y' END, nullif(1, 1), greatest(1, 3, 2), least(4, 2)",
            "y|~|3|2",
        ),
        (
            "SELECT substring('abcdef' from 2 for 3), position('c' in 'abc'), split_part('a.b.c', '.', 2)",
            "bcd|3|b",
        ),
        (
            "SELECT 'abc' LIKE 'a%', 'abc' ILIKE 'A_C', 'abc' ~ '^a', 'abc' !~ 'b', 'x' BETWEEN 'a' AND 'z'",
            "t|t|t|f|t",
        ),
        ("SELECT ARRAY[1,2,3], '{a,b}'::text[], (ARRAY[5,6])[2], 2 = ANY('{1,2}')", "{1,2,3}|{a,b}|6|t"),
        ("SELECT '1 day'::interval > '1 hour', now() - interval '5 minutes' < now()", "t|t"),
        ("SELECT date_part('epoch', '2024-01-02 03:04:05+00'::timestamptz)", "1704164645"),
        ("SELECT (SELECT max(id) FROM w), EXISTS (SELECT FROM w WHERE id = 99)", "3|f"),
        ("SELECT a.id, b.n FROM w a LEFT JOIN w b ON b.id = a.id AND b.n = 8 ORDER BY 1", "1|8 3|~"),
        ("SELECT (SELECT b.n FROM w b WHERE b.id = a.id) FROM w a ORDER BY a.id DESC", "7 8"),
        ("SELECT n, count(*) FROM w GROUP BY n HAVING count(*) > 0 ORDER BY n", "7|1 8|1"),
        (
            "SELECT count(*) FILTER (WHERE g > 1), string_agg(g::text, ','), bool_or(g = 2) FROM generate_series(1, 3) g",
            "2|1,2,3|t",
        ),
        ("WITH x AS (SELECT id FROM w) SELECT count(*), sum(x.id) FROM x", "2|4"),
        ("SELECT 1 UNION ALL SELECT 2 UNION SELECT 2 ORDER BY 1", "1 2"),
        ("VALUES (1, 'a'), (2, NULL)", "1|a 2|~"),
        ("SELECT n FROM w ORDER BY n LIMIT 1 OFFSET 1", "8"),
        ("SELECT pg_typeof(1), pg_typeof('a'::text), pg_typeof(sum(n)) FROM w", "integer|text|bigint"),
        ("INSERT INTO w VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING *", "1|5"),
        ("INSERT INTO w VALUES (1, 6), (4, 6) ON CONFLICT DO NOTHING RETURNING id", "4"),
    ] {
        let rows = cluster.sql(sql).await.map_err(|error| format!("{sql}: {error}"))?;
        let row = |row: Vec<Option<String>>| {
            row.into_iter().map(|value| value.unwrap_or("~".into())).collect::<Vec<_>>().join("|")
        };
        assert_eq!(rows.into_iter().map(row).collect::<Vec<_>>().join(" "), expected, "{sql}");
    }
    for (sql, code) in [
        ("SELECT 'a'::int", "22P02"),
        ("SELECT 99999999999::int", "22003"),
        ("SELECT nope()", "42883"),
        ("SELECT 1 = true", "42883"),
        ("INSERT INTO w (n) VALUES (1)", "23502"),
        ("INSERT INTO w VALUES (1, 2, 3)", "42601"),
        ("CREATE TABLE w (id int)", "42P07"),
        ("SAVEPOINT s", "25P01"),
        ("COPY w FROM STDIN", "0A000"),
    ] {
        let error = cluster.sql(sql).await.err();
        assert!(
            matches!(&error, Some(SimError::Sql { code: found, .. }) if found == code),
            "{sql}: {error:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn portals_yield_rows_in_pieces() -> Result<()> {
    let cluster = cluster().await?;
    let mut client = connect(&cluster, 0).await?;
    let transaction = client.transaction().await?;
    let portal = transaction.bind("SELECT g FROM generate_series(1, $1) AS g", &[&5_i32]).await?;
    assert_eq!(transaction.query_portal(&portal, 3).await?.len(), 3);
    let rest = transaction.query_portal(&portal, 3).await?;
    assert_eq!(rest.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [4, 5]);
    transaction.rollback().await?;
    Ok(())
}

#[tokio::test]
async fn a_failed_transaction_waits_for_its_rollback() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await?;
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s").await?;
    assert_eq!(state(&failed(client.batch_execute("INSERT INTO t VALUES (1)").await)), "23505");
    assert_eq!(state(&failed(client.batch_execute("SELECT 1").await)), "25P02");
    assert_eq!(state(&failed(client.query("SELECT 1", &[]).await)), "25P02");
    client.batch_execute("ROLLBACK TO SAVEPOINT s; INSERT INTO t VALUES (2)").await?;
    let other = connect(&cluster, 0).await?;
    assert_eq!(
        one(&other, "SELECT count(*) FROM t").await?.as_deref(),
        Some("0"),
        "nothing is committed yet"
    );
    client.batch_execute("COMMIT").await?;
    assert_eq!(text(&other, "SELECT id FROM t ORDER BY id").await?.len(), 2);

    client.batch_execute("BEGIN").await?;
    assert_eq!(state(&failed(client.query("SELECT * FROM missing", &[]).await)), "42P01");
    let tag = client.simple_query("COMMIT").await?;
    assert!(matches!(tag.as_slice(), [SimpleQueryMessage::CommandComplete(_)]));
    assert_eq!(one(&client, "SELECT 1").await?.as_deref(), Some("1"));
    // Statements of one simple query are one transaction.
    let both = client.batch_execute("INSERT INTO t VALUES (3); INSERT INTO t VALUES (3)").await;
    assert_eq!(state(&failed(both)), "23505");
    assert_eq!(one(&client, "SELECT count(*) FROM t").await?.as_deref(), Some("2"));
    Ok(())
}

#[tokio::test]
async fn of_two_transactions_that_change_a_row_the_later_commit_fails() -> Result<()> {
    let cluster = cluster().await?;
    cluster.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (0)").await?;
    let (one, two) = (connect(&cluster, 0).await?, connect(&cluster, 0).await?);
    one.batch_execute("BEGIN; UPDATE t SET n = n + 1").await?;
    two.batch_execute("BEGIN; UPDATE t SET n = n + 1").await?;
    one.batch_execute("COMMIT").await?;
    assert_eq!(state(&failed(two.batch_execute("COMMIT").await)), "40001");
    assert_eq!(cluster.sql("SELECT n FROM t").await?, [[Some("1".to_owned())]]);
    two.batch_execute("UPDATE t SET n = n + 1").await?;
    assert_eq!(cluster.sql("SELECT n FROM t").await?, [[Some("2".to_owned())]]);
    Ok(())
}

#[tokio::test]
async fn settings_follow_transactions_and_are_reported() -> Result<()> {
    let cluster = cluster().await?;
    let mut config = config(&cluster, 0)?;
    config.options("-c statement_timeout=50ms -c search_path=shop");
    let client = connect_with(&config).await?;
    let show = |name: &'static str| one(&client, name);
    assert_eq!(show("SHOW statement_timeout").await?.as_deref(), Some("50ms"));
    assert_eq!(show("SHOW search_path").await?.as_deref(), Some("shop"));
    assert_eq!(show("SELECT current_setting('application_name')").await?.as_deref(), Some("sim-test"));
    let error = failed(client.simple_query("SELECT pg_sleep(5)").await);
    assert_eq!(state(&error), "57014");

    client.batch_execute("SET search_path TO a, b").await?;
    client.batch_execute("BEGIN; SET search_path = c").await?;
    assert_eq!(show("SHOW search_path").await?.as_deref(), Some("c"));
    client.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    assert_eq!(show("SHOW search_path").await?.as_deref(), Some("a, b"));
    assert_eq!(show("SHOW transaction_isolation").await?.as_deref(), Some("serializable"));
    assert_eq!(state(&failed(client.batch_execute("CREATE TABLE t (id int)").await)), "25006");
    client.batch_execute("ROLLBACK; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await?;
    assert_eq!(show("SHOW default_transaction_read_only").await?.as_deref(), Some("on"));
    assert_eq!(show("SHOW transaction isolation level").await?.as_deref(), Some("read committed"));
    assert_eq!(state(&failed(client.batch_execute("CREATE TABLE t (id int)").await)), "25006");
    client.batch_execute("RESET ALL").await?;
    assert_eq!(show("SHOW search_path").await?.as_deref(), Some("shop"));
    assert_eq!(state(&failed(client.simple_query("SHOW no_such_setting").await)), "42704");
    Ok(())
}

#[tokio::test]
async fn a_reader_refuses_writes_and_shows_the_writers_data() -> Result<()> {
    let cluster = cluster().await?;
    let (writer, reader) = (connect(&cluster, 0).await?, connect(&cluster, 1).await?);
    writer.batch_execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)").await?;
    let error = failed(reader.execute("INSERT INTO t VALUES ($1)", &[&2_i32]).await);
    assert_eq!(state(&error), "25006");
    assert!(
        error.as_db_error().is_some_and(|error| error.message().contains("cannot execute INSERT")),
        "{error:?}"
    );
    let row = reader.query_one("SELECT count(*), pg_catalog.pg_is_in_recovery() FROM t", &[]).await?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (1, true));
    assert!(!writer.query_one("SELECT pg_is_in_recovery()", &[]).await?.get::<_, bool>(0));
    let own: std::net::IpAddr = reader.query_one("SELECT inet_server_addr()", &[]).await?.get(0);
    assert_eq!(own, cluster.address(1)?.ip());

    cluster.set_replica_lag(2, Duration::from_secs(60))?;
    writer.batch_execute("INSERT INTO t VALUES (2)").await?;
    let late = connect(&cluster, 2).await?;
    assert_eq!(one(&late, "SELECT count(*) FROM t").await?.as_deref(), Some("1"));
    assert_eq!(one(&reader, "SELECT count(*) FROM t").await?.as_deref(), Some("2"));
    Ok(())
}
