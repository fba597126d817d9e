//! The simulated cluster, seen through the bare `tokio-postgres`.
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; these tests drive real sockets and time"
)]
#![allow(clippy::expect_used, reason = "a helper of tests may panic as the tests do")]

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::sim::{CommitFate, Flavour, Login, RdsTools, SimCluster, SimError};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

type Result<T, E = Box<dyn StdError + Send + Sync>> = std::result::Result<T, E>;

/// No wait in these tests is meant to be longer.
const PATIENCE: Duration = Duration::from_secs(10);

async fn cluster() -> Result<SimCluster> {
    Ok(SimCluster::builder().start().await?)
}

fn config(cluster: &SimCluster, node: usize) -> Result<Config> {
    let address = cluster.address(node)?;
    let mut config = Config::new();
    config
        .hostaddr(address.ip())
        .port(address.port())
        .user("app")
        .dbname("shop")
        .application_name("sim-test");
    Ok(config)
}

async fn connect(cluster: &SimCluster, node: usize) -> Result<Client> {
    Ok(connect_with(&config(cluster, node)?).await?)
}

async fn connect_with(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn state(error: &Error) -> &str {
    error.code().map_or("none", SqlState::code)
}

fn failed<T>(outcome: Result<T, Error>) -> Error {
    outcome.err().expect("the statement should have failed")
}

/// The values of a simple query, as text.
async fn text(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let messages = client.simple_query(sql).await?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

async fn one(client: &Client, sql: &str) -> Result<Option<String>, Error> {
    Ok(text(client, sql).await?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
}

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

#[tokio::test]
async fn passwords_are_asked_for_and_can_be_rotated() -> Result<()> {
    for login in [Login::Cleartext, Login::Scram] {
        let cluster = SimCluster::builder().nodes(1).login(login).user("app", "first").start().await?;
        let mut config = config(&cluster, 0)?;
        let good = connect_with(config.password("first")).await?;
        let error = failed(connect_with(config.password("wrong")).await);
        assert_eq!(
            (state(&error), error.as_db_error().map(|e| e.severity())),
            ("28P01", Some("FATAL")),
            "{login:?}"
        );
        assert_eq!(state(&failed(connect_with(config.clone().user("nobody")).await)), "28P01", "{login:?}");
        // As long as an IAM token.
        let token =
            format!("shop-1.xyz.us-east-2.rds.amazonaws.com:5432/?Action=connect&X-Amz={}", "a".repeat(1200));
        cluster.set_password("app", &token);
        assert_eq!(state(&failed(connect_with(config.password("first")).await)), "28P01", "{login:?}");
        connect_with(config.password(&token)).await?;
        assert_eq!(one(&good, "SELECT current_user").await?.as_deref(), Some("app"));
    }
    let error = SimCluster::builder().login(Login::Scram).start().await.err();
    assert!(matches!(error, Some(SimError::Setting { setting: "login", .. })), "{error:?}");
    Ok(())
}

fn tls(ca_pem: &str) -> Result<MakeRustlsConnect> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[tokio::test]
async fn tls_certificates_carry_the_endpoint_names() -> Result<()> {
    let cluster =
        SimCluster::builder().require_tls(true).login(Login::Scram).user("app", "pw").start().await?;
    let tls = tls(cluster.ca_pem().ok_or("no certificate")?)?;
    let mut config = config(&cluster, 0)?;
    config.password("pw");
    assert_eq!(
        state(&failed(connect_with(config.clone().ssl_mode(tokio_postgres::config::SslMode::Disable)).await)),
        "28000"
    );
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    for name in [cluster.cluster_endpoint(), cluster.reader_endpoint(), cluster.instance_endpoint(0)?] {
        let (client, connection) = config.clone().host(&name).connect(tls.clone()).await?;
        tokio::spawn(connection);
        assert_eq!(one(&client, "SELECT 1").await?.as_deref(), Some("1"), "{name}");
    }
    let error = failed(config.clone().host("db.example.com").connect(tls).await.map(drop));
    assert!(error.source().is_some_and(|cause| cause.to_string().contains("certificate")), "{error:?}");
    Ok(())
}

/// Writes 1, 2, 3, … until an error; the number of the last acknowledged write.
async fn write_until_error(client: Client) -> i64 {
    let mut done = 0;
    while client.execute("INSERT INTO w VALUES ($1)", &[&(done + 1)]).await.is_ok() {
        done += 1;
    }
    done
}

#[tokio::test]
async fn a_crash_loses_no_acknowledged_write_and_keeps_no_open_transaction() -> Result<()> {
    let promotion = Duration::from_millis(150);
    let cluster = SimCluster::builder().promotion_time(promotion..=promotion).start().await?;
    cluster.sql("CREATE TABLE w (id bigint PRIMARY KEY)").await?;
    let open = connect(&cluster, 0).await?;
    open.batch_execute("BEGIN; INSERT INTO w VALUES (-1)").await?;
    let writing = tokio::spawn(write_until_error(connect(&cluster, 0).await?));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let record = timeout(PATIENCE, cluster.fail_over()).await??;
    assert_eq!((record.old_writer, cluster.writer()), (Some(0), Some(record.new_writer)));
    assert_ne!(record.new_writer, 0);
    assert!(record.gap() >= promotion && record.gap() < promotion * 4, "{record:?}");

    let acknowledged = timeout(PATIENCE, writing).await??;
    assert!(acknowledged > 0);
    assert!(open.is_closed());
    let client = connect(&cluster, record.new_writer).await?;
    let row = client.query_one("SELECT count(*), max(id), min(id) FROM w", &[]).await?;
    let (count, max, min) = (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2));
    assert_eq!(min, 1, "the open transaction is gone");
    assert!(max == count && (acknowledged..=acknowledged + 1).contains(&max), "{acknowledged} {max} {count}");
    client.execute("INSERT INTO w VALUES ($1)", &[&(max + 1)]).await?;

    // The old writer is back as a reader that has everything.
    let deadline = Instant::now() + PATIENCE;
    let reader = loop {
        match connect(&cluster, 0).await {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(one(&reader, "SELECT pg_is_in_recovery()").await?.as_deref(), Some("t"));
    assert_eq!(one(&reader, "SELECT max(id) FROM w").await?, Some((max + 1).to_string()));
    Ok(())
}

/// Writes its own numbers, again and again on the present writer; those that were acknowledged.
async fn write_through(cluster: Arc<SimCluster>, first: i64, until: Instant) -> Vec<i64> {
    let (mut acknowledged, mut number) = (Vec::new(), first);
    while Instant::now() < until {
        let Some(writer) = cluster.writer() else {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        };
        let Ok(client) = connect(&cluster, writer).await else { continue };
        loop {
            number += 1;
            match client.execute("INSERT INTO w VALUES ($1)", &[&number]).await {
                Ok(_) if Instant::now() < until => acknowledged.push(number),
                Ok(_) => {
                    acknowledged.push(number);
                    break;
                }
                Err(_) => break,
            }
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_over_many_failovers_under_load() -> Result<()> {
    let millis = Duration::from_millis;
    let builder = SimCluster::builder().promotion_time(millis(10)..=millis(60)).rejoin_time(millis(10));
    let cluster = Arc::new(builder.restart_time(millis(5)).seed(7).start().await?);
    cluster.sql("CREATE TABLE w (id bigint PRIMARY KEY)").await?;
    let until = Instant::now() + Duration::from_secs(2);
    let writers = (1..=8).map(|n| tokio::spawn(write_through(Arc::clone(&cluster), n * 1_000_000, until)));
    let writers: Vec<_> = writers.collect();
    let mut failovers = 0;
    while Instant::now() < until {
        tokio::time::sleep(millis(60)).await;
        let done = match failovers % 3 {
            0 => cluster.fail_over().await,
            1 => cluster.planned_switchover((cluster.writer().unwrap_or(0) + 1) % 3).await,
            _ => cluster.promote((cluster.writer().unwrap_or(0) + 1) % 3).await,
        };
        // A node may not have come back yet.
        failovers += u32::from(done.is_ok());
    }
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(timeout(PATIENCE, writer).await??);
    }
    let stored = cluster.sql("SELECT id FROM w").await?;
    let stored: std::collections::HashSet<i64> =
        stored.into_iter().flatten().flatten().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let lost: Vec<_> = acknowledged.iter().filter(|number| !stored.contains(number)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(
        failovers >= 5 && acknowledged.len() > 100,
        "{failovers} failovers, {} writes",
        acknowledged.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_crash_resets_connections_and_refuses_new_ones() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 1).await?;
    assert_eq!(cluster.count_connections(1)?, 1);
    cluster.crash(1).await?;
    assert_eq!(cluster.count_connections(1)?, 0);
    let error = failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    assert!(error.code().is_none(), "no message of the server: {error:?}");
    let refused = failed(connect_with(&config(&cluster, 1)?).await);
    let cause = refused.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    assert_eq!(cause.map(std::io::Error::kind), Some(std::io::ErrorKind::ConnectionRefused));
    cluster.heal(1).await?;
    assert_eq!(one(&connect(&cluster, 1).await?, "SELECT 1").await?.as_deref(), Some("1"));
    assert!(matches!(cluster.crash(9).await, Err(SimError::NoSuchNode { node: 9, last: 2 })));
    Ok(())
}

#[tokio::test]
async fn a_planned_switchover_says_goodbye() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    let running = tokio::spawn(async move { client.query("SELECT pg_sleep(30)", &[]).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let record = timeout(PATIENCE, cluster.planned_switchover(2)).await??;
    assert_eq!((record.new_writer, cluster.writer()), (2, Some(2)));
    assert_eq!(state(&failed(timeout(PATIENCE, running).await??)), "57P01");
    assert!(matches!(cluster.planned_switchover(2).await, Err(SimError::AlreadyWriter { node: 2 })));
    Ok(())
}

#[tokio::test]
async fn a_promotion_restarts_the_reader_only_where_asked() -> Result<()> {
    for restart in [true, false] {
        let cluster = SimCluster::builder().restart_promoted(restart).start().await?;
        let client = connect(&cluster, 1).await?;
        cluster.fail_over().await?;
        assert_eq!(cluster.writer(), Some(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(client.is_closed(), restart);
        if !restart {
            client.batch_execute("CREATE TABLE t (id int)").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_frozen_node_accepts_and_never_answers() -> Result<()> {
    let cluster = cluster().await?;
    cluster.sql("CREATE TABLE t (id int)").await?;
    let client = connect(&cluster, 0).await?;
    cluster.freeze(0)?;
    let config = config(&cluster, 0)?;
    assert!(
        timeout(Duration::from_millis(100), connect_with(&config)).await.is_err(),
        "the login should hang"
    );
    tokio::net::TcpStream::connect(cluster.address(0)?).await?;
    let write = client.execute("INSERT INTO t VALUES (1)", &[]);
    tokio::pin!(write);
    assert!(timeout(Duration::from_millis(100), &mut write).await.is_err());

    cluster.thaw(0).await?;
    assert_eq!(timeout(PATIENCE, write).await??, 1);
    connect_with(&config).await?;

    // A writer that was replaced while it was frozen comes back as a reader; its sessions are lost.
    let record = cluster.fail_over_frozen().await?;
    assert!(timeout(Duration::from_millis(50), client.query("SELECT 1", &[])).await.is_err());
    cluster.sql("INSERT INTO t VALUES (2)").await?;
    cluster.thaw(0).await?;
    failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    let old = connect(&cluster, 0).await?;
    assert_eq!(text(&old, "SELECT pg_is_in_recovery(), count(*) FROM t").await?[0][1].as_deref(), Some("2"));
    assert_eq!(state(&failed(old.batch_execute("INSERT INTO t VALUES (3)").await)), "25006");
    assert_ne!(record.new_writer, 0);
    Ok(())
}

#[tokio::test]
async fn refused_and_rejected_logins_leave_open_sessions_alone() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    let config = config(&cluster, 0)?;
    cluster.refuse(0).await?;
    assert!(failed(connect_with(&config).await).code().is_none());
    assert_eq!(one(&client, "SELECT 1").await?.as_deref(), Some("1"));
    cluster.heal(0).await?;
    cluster.reject_logins(0, Some(("57P03", "the database system is starting up")))?;
    assert_eq!(state(&failed(connect_with(&config).await)), "57P03");
    cluster.heal(0).await?;
    cluster.set_max_connections(0, 1)?;
    assert_eq!(state(&failed(connect_with(&config).await)), "53300");
    cluster.set_max_connections(0, 2)?;
    connect_with(&config).await?;
    cluster.terminate_sessions(0)?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(client.is_closed());
    Ok(())
}

#[tokio::test]
async fn a_commit_can_be_lost_before_or_after_it_is_applied() -> Result<()> {
    let cluster = SimCluster::builder().nodes(1).start().await?;
    cluster.sql("CREATE TABLE t (id int)").await?;
    let mut expected = 0;
    for statement in ["INSERT INTO t VALUES (1)", "BEGIN; INSERT INTO t VALUES (1); COMMIT"] {
        for (fate, applied) in
            [(CommitFate::Lost, 0), (CommitFate::AppliedUnheard, 1), (CommitFate::Acknowledged, 1)]
        {
            let client = connect(&cluster, 0).await?;
            cluster.set_next_commit(0, fate)?;
            let outcome = timeout(PATIENCE, client.batch_execute(statement)).await?;
            assert_eq!(outcome.is_ok(), fate == CommitFate::Acknowledged, "{statement}: {outcome:?}");
            expected += applied;
            let count = cluster.sql("SELECT count(*) FROM t").await?;
            assert_eq!(count, [[Some(expected.to_string())]], "{statement} {fate:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_and_a_deaf_listener_leave_the_node_up() -> Result<()> {
    let cluster = SimCluster::builder().nodes(1).start().await?;
    let (client, config) = (connect(&cluster, 0).await?, config(&cluster, 0)?);
    cluster.freeze_logins(0)?;
    assert!(timeout(Duration::from_millis(100), connect_with(&config)).await.is_err());
    assert_eq!(one(&client, "SELECT 1").await?.as_deref(), Some("1"));
    cluster.cut(0)?;
    assert!(failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?).code().is_none());
    cluster.thaw(0).await?;
    let client = timeout(PATIENCE, connect_with(&config)).await??;
    client
        .batch_execute("START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE; COMMIT")
        .await?;
    assert_eq!(text(&client, "SELECT generate_series(1, 3) AS n").await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn endpoints_follow_a_failover_after_the_dns_lag() -> Result<()> {
    let cluster = SimCluster::builder().dns_lag(Duration::from_millis(300)).start().await?;
    let look_up = |name: &str| cluster.names().lookup(name);
    let ip = |node| cluster.address(node).map(|address| address.ip());
    assert_eq!(cluster.cluster_endpoint(), "shop.cluster-xyz.us-east-2.rds.amazonaws.com");
    assert_eq!(cluster.reader_endpoint(), "shop.cluster-ro-xyz.us-east-2.rds.amazonaws.com");
    assert_eq!(cluster.instance_endpoint(2)?, "shop-3.xyz.us-east-2.rds.amazonaws.com");
    assert_eq!(look_up(&cluster.instance_endpoint(2)?), Some(ip(2)?));
    assert_eq!(look_up(&cluster.cluster_endpoint()), Some(ip(0)?));
    assert_eq!(look_up(&cluster.reader_endpoint()), Some(ip(1)?));
    let record = cluster.fail_over().await?;
    assert_eq!(look_up(&cluster.cluster_endpoint()), Some(ip(0)?), "the old answer");
    tokio::time::sleep_until((record.accepting + Duration::from_millis(320)).into()).await;
    assert_eq!(look_up(&cluster.cluster_endpoint()), Some(ip(record.new_writer)?));
    assert_ne!(look_up(&cluster.reader_endpoint()), Some(ip(record.new_writer)?));
    Ok(())
}

const AURORA_TOPOLOGY: &str = "\
    SELECT server_id, session_id OPERATOR(pg_catalog.=) 'MASTER_SESSION_ID' AS is_writer, cpu, \
           COALESCE(replica_lag_in_msec, 0), last_update_timestamp, \
           (SELECT pg_catalog.aurora_db_instance_identifier()) \
    FROM pg_catalog.aurora_replica_status() \
    WHERE EXTRACT(EPOCH FROM (pg_catalog.now() OPERATOR(pg_catalog.-) last_update_timestamp)) <= 300 \
       OR session_id = 'MASTER_SESSION_ID' OR last_update_timestamp IS NULL \
    ORDER BY last_update_timestamp";

async fn aurora_writers(client: &Client) -> Result<Vec<String>, Error> {
    let rows = client.query(AURORA_TOPOLOGY, &[]).await?;
    assert_eq!(rows.len(), 3);
    Ok(rows.iter().filter(|row| row.get::<_, bool>(1)).map(|row| row.get(0)).collect())
}

#[tokio::test]
async fn aurora_nodes_show_the_topology_also_a_stale_one() -> Result<()> {
    let cluster = cluster().await?;
    let reader = connect(&cluster, 2).await?;
    assert_eq!(aurora_writers(&reader).await?, ["shop-1"]);
    let own: String = reader.query_one("SELECT aurora_db_instance_identifier()", &[]).await?.get(0);
    assert_eq!(own, "shop-3");
    cluster.delay_topology(&[2], Duration::from_secs(60))?;
    cluster.fail_over().await?;
    assert_eq!(aurora_writers(&reader).await?, ["shop-1"], "stale");
    cluster.heal(2).await?;
    assert_eq!(aurora_writers(&reader).await?, ["shop-2"]);
    Ok(())
}

/// One statement that tells the flavours apart without an error.
const DETECTION: &str = "\
    SELECT pg_catalog.to_regproc('pg_catalog.aurora_replica_status') IS NOT NULL AS aurora, \
           pg_catalog.current_setting('rds.extensions', true) AS extensions, \
           pg_catalog.to_regnamespace('rds_tools') IS NOT NULL AS tools, \
           CASE WHEN pg_catalog.to_regnamespace('rds_tools') IS NULL THEN NULL \
                WHEN NOT pg_catalog.has_schema_privilege('rds_tools', 'USAGE') THEN 'no usage' \
                WHEN pg_catalog.to_regprocedure('rds_tools.show_topology(text)') IS NULL THEN 'too old' \
                WHEN NOT pg_catalog.has_function_privilege('rds_tools.show_topology(text)', 'EXECUTE') THEN 'no execute' \
                ELSE 'granted' END AS access, \
           EXISTS (SELECT 1 FROM pg_catalog.pg_settings WHERE name = 'rds.extensions') AS is_rds";

#[tokio::test]
async fn flavours_are_told_apart_by_one_statement() -> Result<()> {
    for (flavour, aurora, extension) in [
        (Flavour::Plain, false, None),
        (Flavour::Aurora, true, Some("aurora_stat_utils")),
        (Flavour::MultiAz, false, Some("rds_tools")),
    ] {
        let cluster = SimCluster::builder().nodes(1).flavour(flavour).start().await?;
        let client = connect(&cluster, 0).await?;
        let row = client.query_one(DETECTION, &[]).await?;
        assert_eq!(row.get::<_, bool>("aurora"), aurora, "{flavour:?}");
        let extensions = row.get::<_, Option<&str>>("extensions");
        assert_eq!(extensions.is_some(), extension.is_some(), "{flavour:?}");
        assert!(extension.is_none_or(|name| extensions.is_some_and(|all| all.contains(name))), "{flavour:?}");
        assert_eq!(row.get::<_, bool>("is_rds"), flavour != Flavour::Plain);
        if flavour != Flavour::Aurora {
            assert_eq!(
                state(&failed(client.query("SELECT * FROM aurora_replica_status()", &[]).await)),
                "42883"
            );
        }
    }
    let cluster = SimCluster::builder().nodes(1).flavour(Flavour::MultiAz).start().await?;
    let client = connect(&cluster, 0).await?;
    for (access, expected, direct) in [
        (RdsTools::Granted, Some("granted"), "none"),
        (RdsTools::Absent, None, "3F000"),
        (RdsTools::NoUsage, Some("no usage"), "42501"),
        (RdsTools::NoExecute, Some("no execute"), "42501"),
        (RdsTools::OldEngine, Some("too old"), "42883"),
    ] {
        cluster.set_rds_tools(access);
        let row = client.query_one(DETECTION, &[]).await?;
        assert_eq!(row.get::<_, Option<&str>>("access"), expected, "{access:?}");
        let asked = client.query("SELECT id FROM rds_tools.show_topology('sim')", &[]).await;
        assert_eq!(asked.err().as_ref().map_or("none", state), direct, "{access:?}");
    }
    Ok(())
}

#[tokio::test]
async fn multi_az_nodes_name_the_writer_by_resource_id() -> Result<()> {
    let cluster = SimCluster::builder().flavour(Flavour::MultiAz).start().await?;
    let ask = "SELECT t.id, t.endpoint, t.port, s.source = t.id, rds_tools.dbi_resource_id() = t.id \
               FROM rds_tools.show_topology('sim-1.0') t \
               CROSS JOIN (SELECT multi_az_db_cluster_source_dbi_resource_id AS source \
                           FROM rds_tools.multi_az_db_cluster_source_dbi_resource_id()) AS s";
    let reader = connect(&cluster, 2).await?;
    for writer in ["shop-1", "shop-2"] {
        let rows = reader.query(ask, &[]).await?;
        let of = |flag: usize| {
            let row = rows.iter().find(|row| row.get::<_, bool>(flag));
            row.map(|row| row.get::<_, String>(1).split('.').next().map(str::to_owned))
        };
        assert_eq!((rows.len(), of(3).flatten().as_deref()), (3, Some(writer)));
        assert_eq!(of(4).flatten().as_deref(), Some("shop-3"));
        assert_eq!(rows[0].get::<_, i32>(2), i32::from(cluster.port()));
        if writer == "shop-1" {
            cluster.planned_switchover(1).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn statements_can_be_cancelled_and_sessions_terminated() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    let token = client.cancel_token();
    client.batch_execute("BEGIN").await?;
    let sleeping = client.query("SELECT pg_sleep(30)", &[]);
    tokio::pin!(sleeping);
    assert!(timeout(Duration::from_millis(50), &mut sleeping).await.is_err());
    token.cancel_query(NoTls).await?;
    assert_eq!(state(&failed(timeout(PATIENCE, sleeping).await?)), "57014");
    assert_eq!(state(&failed(client.query("SELECT 1", &[]).await)), "25P02");
    client.batch_execute("ROLLBACK").await?;

    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let sessions = cluster.sessions(0)?;
    assert!(
        sessions.iter().any(|session| session.pid == Some(pid) && session.application_name == "sim-test")
    );
    let other = connect(&cluster, 0).await?;
    let done = other.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await?;
    assert!(done.get::<_, bool>(0));
    let gone = failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    assert!(gone.is_closed() || state(&gone) == "57P01", "{gone:?}");
    Ok(())
}

#[tokio::test]
async fn notifications_arrive_when_the_transaction_commits() -> Result<()> {
    let cluster = cluster().await?;
    let (listener, mut connection) = config(&cluster, 0)?.connect(NoTls).await?;
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                sender.send((notification.channel().to_owned(), notification.payload().to_owned())).ok();
            }
        }
    });
    listener.batch_execute("LISTEN orders").await?;
    let client = connect(&cluster, 0).await?;
    client.batch_execute("BEGIN; NOTIFY orders, 'lost'; ROLLBACK; NOTIFY other, 'no'").await?;
    client.query("SELECT pg_notify('orders', $1)", &[&"7"]).await?;
    let first = timeout(PATIENCE, received.recv()).await?;
    assert_eq!(first, Some(("orders".to_owned(), "7".to_owned())));
    let reader = connect(&cluster, 1).await?;
    assert_eq!(state(&failed(reader.batch_execute("LISTEN orders").await)), "25006");
    Ok(())
}

#[tokio::test]
async fn clusters_live_side_by_side_and_leave_nothing() -> Result<()> {
    let started = Instant::now();
    let (one_cluster, other) = (cluster().await?, cluster().await?);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    one_cluster.sql("CREATE TABLE t (id int)").await?;
    assert!(matches!(other.sql("SELECT * FROM t").await, Err(SimError::Sql { code, .. }) if code == "42P01"));
    let client = connect(&one_cluster, 0).await?;
    let address = one_cluster.address(0)?;
    timeout(PATIENCE, one_cluster.shutdown()).await?;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);

    let (client, address) = (connect(&other, 0).await?, other.address(0)?);
    other.freeze(0)?;
    drop(other);
    failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    let deadline = Instant::now() + PATIENCE;
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(left, 0, "tasks of the clusters and their clients");
    Ok(())
}
