//! The driver against a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so")]
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Fixed, PASSWORD, Server, builder, deadline, pid, signal, text};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, TransactionStatus};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::{Error, ErrorClass, ErrorKind, TransactionOutcome};
use wrapper_pg::{MONITOR_APPLICATION_NAME, PgConnection};

fn silent() -> Error {
    Error::new(ErrorKind::HostSilent, "the host is silent")
}

/// A long statement in flight; returns once the server runs it.
async fn sleeping(
    server: &Server,
    connection: &Arc<PgConnection>,
) -> tokio::task::JoinHandle<wrapper_core::Result<wrapper_core::driver::Rows>> {
    let pid = pid(connection).await;
    let shared = Arc::clone(connection);
    let call =
        tokio::task::spawn(async move { shared.fetch_text("SELECT pg_sleep(30)", deadline(60)).await });
    server.wait_for_count(&format!("pid = {pid} AND state = 'active'"), 1).await;
    call
}

#[tokio::test]
async fn a_kill_ends_calls_in_flight_and_later_ones_with_its_reason() {
    let server = Server::shared();
    let connection = server.connect().await;
    let call = sleeping(&server, &connection).await;
    let start = Instant::now();
    connection.kill(silent());
    assert!(connection.is_closed(), "at once");
    let error = call.await.unwrap().unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(error.kind(), ErrorKind::HostSilent);
    assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied);
    assert_eq!(error.host(), Some(&*server.host().key.to_string()));
    assert!(error.find_source::<tokio_postgres::Error>().is_some(), "{error}");
    connection.kill(Error::new(ErrorKind::Closed, "second"));
    let later = connection.ping(deadline(5)).await.unwrap_err();
    assert_eq!(later.kind(), ErrorKind::HostSilent);
    assert_eq!(later.outcome(), TransactionOutcome::NotSent);
}

#[tokio::test]
async fn a_killed_idle_connection_leaves_the_server() {
    let server = Server::shared();
    let connection = server.connect().await;
    let condition = format!("pid = {}", pid(&connection).await);
    server.wait_for_count(&condition, 1).await;
    connection.kill(silent());
    server.wait_for_count(&condition, 0).await;
}

#[tokio::test]
async fn a_dropped_connection_says_goodbye() {
    let server = Server::shared();
    let connection = server.connect().await;
    let condition = format!("pid = {}", pid(&connection).await);
    drop(connection);
    server.wait_for_count(&condition, 0).await;
}

#[tokio::test]
async fn a_dropped_connection_to_a_stopped_backend_ends_within_the_goodbye() {
    let server = Server::shared();
    let connection = server.connect().await;
    let backend = pid(&connection).await;
    let call = sleeping(&server, &connection).await;
    signal(backend, "STOP");
    assert_eq!(
        tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        2,
        "the call and the connection"
    );
    call.abort();
    drop(connection);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    signal(backend, "CONT");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_stopped_backend_does_not_hold_up_a_kill() {
    let server = Server::shared();
    let connection = server.connect().await;
    let backend = pid(&connection).await;
    let call = sleeping(&server, &connection).await;
    signal(backend, "STOP");
    let silent_call =
        connection.ping(Deadline::after(Duration::from_millis(200), "failure_detection_interval"));
    let error = silent_call.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let start = Instant::now();
    connection.kill(silent());
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::HostSilent);
    assert!(start.elapsed() < Duration::from_millis(500));
    signal(backend, "CONT");
}

#[tokio::test]
async fn a_stopped_postmaster_does_not_hang_a_connect() {
    let server = Server::start(&[]);
    signal(server.pid(), "STOP");
    let start = Instant::now();
    let limit = Deadline::after(Duration::from_millis(700), "connect_timeout");
    let error = server.driver().open(&server.target(), limit).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, ErrorClass::Network));
    assert_eq!(error.outcome(), TransactionOutcome::NotSent);
    assert!(error.to_string().contains("connect_timeout"), "{error}");
}

#[tokio::test]
async fn the_transaction_status_is_the_servers() {
    let server = Server::shared();
    let connection = server.connect().await;
    let run = async |sql: &str| connection.run_sql(sql, deadline(5)).await;
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
    run("BEGIN").await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Open);
    let error = run("SELECT 1/0").await.unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Statement, Some("22012")));
    assert_eq!(connection.transaction_status(), TransactionStatus::Failed);
    connection.ping(deadline(5)).await.unwrap();
    run("ROLLBACK").await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
    // A procedure that ends its transaction, and a large answer in many reads.
    run("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$; ").await.unwrap();
    run("CALL p()").await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
    let before = connection.bytes_received();
    let rows = connection
        .fetch_text("BEGIN; SELECT repeat('Z', 40) FROM generate_series(1, 200000)", deadline(60))
        .await
        .unwrap();
    assert_eq!(rows.len(), 200_000);
    assert!(connection.bytes_received() - before > 8_000_000);
    assert_eq!(connection.transaction_status(), TransactionStatus::Open);
    run("ROLLBACK; DROP PROCEDURE p()").await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
}

#[tokio::test]
async fn a_queued_begin_counts_before_it_is_answered() {
    let server = Server::shared();
    let connection = server.connect().await;
    let mut begin = Box::pin(connection.run_sql("BEGIN", deadline(5)));
    assert!(futures_util::poll!(&mut begin).is_pending());
    assert_eq!(connection.transaction_status(), TransactionStatus::Open);
    begin.await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Open);
}

#[tokio::test]
async fn losses_say_what_became_of_the_work() {
    let server = Server::shared();
    let connection = server.connect().await;
    connection.run_sql("BEGIN", deadline(5)).await.unwrap();
    let call = sleeping(&server, &connection).await;
    connection.kill(silent());
    assert_eq!(call.await.unwrap().unwrap_err().outcome(), TransactionOutcome::RolledBack);

    let connection = server.connect().await;
    connection.run_sql("BEGIN", deadline(5)).await.unwrap();
    let call = sleeping(&server, &connection).await;
    let mut commit = Box::pin(connection.run_sql("COMMIT", deadline(5)));
    assert!(futures_util::poll!(&mut commit).is_pending());
    tokio::time::sleep(Duration::from_millis(100)).await;
    connection.kill(silent());
    assert_eq!(commit.await.unwrap_err().outcome(), TransactionOutcome::MayHaveApplied);
    assert_eq!(call.await.unwrap().unwrap_err().outcome(), TransactionOutcome::MayHaveApplied);
}

#[tokio::test]
async fn a_terminated_backend_is_a_loss_with_its_cause() {
    let server = Server::shared();
    let other = server.connect().await;
    let connection = server.connect().await;
    let backend = pid(&connection).await;
    let call = sleeping(&server, &connection).await;
    text(&other, &format!("SELECT pg_terminate_backend({backend})")).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Network, ErrorClass::Network));
    assert_eq!(error.sqlstate(), Some("57P01"));

    // Idle: the driver only says "closed", the cause was kept.
    let connection = server.connect().await;
    let backend = pid(&connection).await;
    text(&other, &format!("SELECT pg_terminate_backend({backend})")).await;
    server.wait_for_count(&format!("pid = {backend}"), 0).await;
    let end = Instant::now() + Duration::from_secs(5);
    while !connection.is_closed() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = connection.ping(deadline(5)).await.unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Network, Some("57P01")));
    assert_eq!(error.outcome(), TransactionOutcome::NotSent);
    let driver = error.find_source::<tokio_postgres::Error>().unwrap();
    assert!(driver.as_db_error().is_some(), "{driver:?}");
    assert_eq!(server.driver().classify(&error), ErrorClass::Network);
    assert_eq!(server.driver().classify(driver), ErrorClass::Network);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let server = Server::shared();
    let open = async |change: &dyn Fn(&mut tokio_postgres::Config)| {
        let mut config = server.config();
        change(&mut config);
        builder(config).build().unwrap().open(&server.target(), deadline(5)).await.unwrap_err()
    };
    let login = open(&|config| {
        config.password("wrong-password");
    })
    .await;
    assert_eq!((login.kind(), login.class()), (ErrorKind::Login, ErrorClass::Login));
    assert_eq!(login.sqlstate(), Some("28P01"));
    assert_eq!(login.operation(), Some("connect"));
    let absent = open(&|config| {
        config.dbname("absent");
    })
    .await;
    assert_eq!((absent.kind(), absent.class()), (ErrorKind::Statement, ErrorClass::Other));
    assert_eq!(absent.sqlstate(), Some("3D000"));
    let role = open(&|config| {
        config.target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadOnly);
    })
    .await;
    assert_eq!(role.kind(), ErrorKind::WrongRole);
    assert!(role.to_string().contains("target_session_attrs=read-only"), "{role}");
    for error in [&login, &absent, &role] {
        let said = format!("{error} {error:?} {:?}", error.source());
        assert!(!said.contains(PASSWORD) && !said.contains("wrong-password"), "{said}");
    }
    server.wait_for_count("datname = 'absent' OR application_name = 'x'", 0).await;

    // Nobody listens on the discard port.
    let target = ConnectTarget::session(HostInfo::new("127.0.0.1", 9, HostRole::Unknown));
    let refused = server.driver().open(&target, deadline(5)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.class()), (ErrorKind::Network, ErrorClass::Network));
    assert_eq!(refused.outcome(), TransactionOutcome::NotSent);
    let io = refused.find_source::<std::io::Error>().unwrap();
    assert_eq!(io.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn too_many_clients_is_busy() {
    let server = Server::start(&["max_connections=4".into(), "superuser_reserved_connections=0".into()]);
    let mut held = Vec::new();
    let error = loop {
        match server.driver().open(&server.target(), deadline(5)).await {
            Ok(connection) => held.push(connection),
            Err(error) => break error,
        }
        assert!(held.len() < 10);
    };
    assert_eq!((error.kind(), error.class()), (ErrorKind::Busy, ErrorClass::Busy));
}

#[tokio::test]
async fn a_cancelled_call_does_not_disturb_the_next() {
    let server = Server::shared();
    let connection = server.connect().await;
    for limit in [0, 1, 5, 20] {
        let slow = connection.fetch_text("SELECT pg_sleep(0.1), 'stale'", deadline(5));
        let _ = tokio::time::timeout(Duration::from_millis(limit), slow).await;
        assert_eq!(text(&connection, "SELECT 'fresh'").await.as_deref(), Some("fresh"));
    }
    let late = Deadline::after(Duration::from_millis(20), "auxiliary_query_timeout_sec");
    let error = connection.fetch_text("SELECT pg_sleep(0.2)", late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("auxiliary_query_timeout_sec"), "{error}");
    assert_eq!(text(&connection, "SELECT 'fresh'").await.as_deref(), Some("fresh"));
}

#[tokio::test]
async fn a_dropped_connect_leaves_nothing_on_the_server() {
    let server = Server::start(&[]);
    for micros in (0..12_000).step_by(400) {
        let driver = server.driver();
        let target = server.target();
        let _ = tokio::time::timeout(Duration::from_micros(micros), driver.open(&target, deadline(5))).await;
    }
    server.wait_for_count("true", 0).await;
}

#[tokio::test]
async fn monitors_show_under_their_own_name() {
    let server = Server::shared();
    let target = ConnectTarget::monitor(server.host());
    let connection = server.driver().connect(&target, deadline(5)).await.unwrap();
    let rows = connection.fetch_text("SHOW application_name", deadline(5)).await.unwrap();
    assert_eq!(rows.get(0, "application_name"), Some(MONITOR_APPLICATION_NAME));
    let own = wrapper_core::driver::downcast::<PgConnection>(connection).unwrap();
    assert_eq!(own.host().key, server.host().key);
}

#[tokio::test]
async fn a_cancel_token_cancels() {
    let server = Server::shared();
    let connection = server.connect().await;
    let call = sleeping(&server, &connection).await;
    connection.cancel_token().cancel(deadline(5)).await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Statement, ErrorClass::Other));
    assert_eq!(error.sqlstate(), Some("57014"));
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_drained_connection_answers_first() {
    let server = Server::shared();
    let connection = server.connect().await;
    let condition = format!("pid = {}", pid(&connection).await);
    let call = connection.fetch_text("SELECT pg_sleep(0.3), 'answer' AS a", deadline(5));
    let (answer, ()) = tokio::join!(call, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.drain();
    });
    assert_eq!(answer.unwrap().get(0, "a"), Some("answer"));
    server.wait_for_count(&condition, 0).await;
    assert!(connection.is_closed());

    // A transaction holds it as long as it is open.
    let connection = server.connect().await;
    connection.run_sql("BEGIN", deadline(5)).await.unwrap();
    connection.drain();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    connection.run_sql("COMMIT", deadline(5)).await.unwrap();
    drop(connection);
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let server = Server::shared();
    let addresses = vec!["127.0.0.77".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let environment = Environment::builder().resolver(Fixed(addresses)).build();
    let driver = server.builder().environment(environment).build().unwrap();
    let target = ConnectTarget::session(HostInfo::new("db.example.com", server.port, HostRole::Unknown));
    let connection = driver.open(&target, deadline(5)).await.unwrap();
    assert_eq!(connection.address(), format!("127.0.0.1:{}", server.port));
    assert_eq!(connection.host().host(), "db.example.com");
}

#[tokio::test]
async fn a_unix_socket_works() {
    let server = Server::shared();
    let folder = server.socket_folder().to_str().unwrap();
    let mut config = server.config();
    config.host(folder).port(server.port);
    let target = ConnectTarget::session(HostInfo::new(folder, server.port, HostRole::Unknown));
    let connection = builder(config).build().unwrap().open(&target, deadline(5)).await.unwrap();
    assert_eq!(text(&connection, "SELECT 7").await.as_deref(), Some("7"));
    assert!(!connection.is_secure());
}

#[tokio::test]
async fn several_statements_that_failed_may_have_committed() {
    let server = Server::shared();
    let connection = server.connect().await;
    let error = connection.run_sql("BEGIN; SELECT 1; COMMIT; SELECT 1/0", deadline(5)).await.unwrap_err();
    assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied);
    let error = connection.run_sql("SELECT 1/0", deadline(5)).await.unwrap_err();
    assert_eq!(error.outcome(), TransactionOutcome::RolledBack);
}

/// The statements that carry the state over, run on another connection, which then must carry the same.
async fn carried(server: &Server, from: &PgConnection) -> Arc<PgConnection> {
    let to = server.connect().await;
    let statements = from.session_state_sql();
    if !statements.is_empty() {
        to.run_sql(&statements.join("; "), deadline(5)).await.unwrap();
    }
    assert_eq!(to.session_state_sql(), statements);
    to
}

#[tokio::test]
async fn session_state_is_carried_over() {
    let server = Server::shared();
    let connection = server.connect().await;
    assert!(connection.session_state_sql().is_empty());
    for sql in [
        "CREATE ROLE plain; GRANT plain TO postgres",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        "SET search_path TO pg_catalog, \"Odd;Name\"",
        "SET TIME ZONE 'Asia/Tokyo'; SET datestyle = 'German'",
        "SET app.tenant = 'it''s $1'",
        "BEGIN; SET statement_timeout = '7s'; SAVEPOINT s; SET lock_timeout = '8s'; ROLLBACK TO s; COMMIT",
        "BEGIN; SET work_mem = '1MB'; ROLLBACK",
        "BEGIN READ WRITE; SET LOCAL work_mem = '2MB'; COMMIT",
        "SET ROLE plain",
    ] {
        connection.run_sql(sql, deadline(5)).await.unwrap();
    }
    connection.run_sql("SET nonsense_setting = 1", deadline(5)).await.unwrap_err();
    let to = carried(&server, &connection).await;
    for name in [
        "transaction_isolation",
        "transaction_read_only",
        "search_path",
        "TimeZone",
        "DateStyle",
        "app.tenant",
        "statement_timeout",
        "lock_timeout",
        "work_mem",
        "role",
    ] {
        let show = format!("SHOW {name}");
        assert_eq!(text(&to, &show).await, text(&connection, &show).await, "{name}");
    }
    assert_eq!(text(&to, "SHOW statement_timeout").await.as_deref(), Some("7s"));
    assert_eq!(text(&to, "SHOW transaction_read_only").await.as_deref(), Some("on"));
    to.run_sql("RESET ROLE", deadline(5)).await.unwrap();
    to.run_sql("DISCARD ALL", deadline(5)).await.unwrap();
    assert!(to.session_state_sql().is_empty(), "{:?}", to.session_state_sql());
    // Tidy up for the tests that share the server.
    to.run_sql("DROP ROLE plain", deadline(5)).await.unwrap();
}

#[tokio::test]
async fn state_of_a_transaction_that_was_lost_is_not_carried() {
    let server = Server::shared();
    let connection = server.connect().await;
    connection.run_sql("SET lock_timeout = '3s'", deadline(5)).await.unwrap();
    connection.run_sql("BEGIN", deadline(5)).await.unwrap();
    connection.run_sql("SET lock_timeout = '4s'; SET TIME ZONE 'Asia/Tokyo'", deadline(5)).await.unwrap();
    connection.kill(silent());
    assert_eq!(connection.session_state_sql(), ["SET lock_timeout = '3s'"]);
}

#[tokio::test]
async fn a_copy_that_is_refused_does_not_shift_the_answers() {
    let server = Server::shared();
    let connection = server.connect().await;
    for _ in 0..3 {
        let copy =
            connection.with_raw(|client| client.copy_in::<_, &'static [u8]>("COPY absent FROM STDIN")).await;
        assert_eq!(copy.err().and_then(|error| error.code().cloned()).unwrap().code(), "42P01");
        for answer in ["one", "two"] {
            assert_eq!(text(&connection, &format!("SELECT '{answer}'")).await.as_deref(), Some(answer));
        }
    }
    // One that is given up in the middle, and one that ends well.
    connection.run_sql("CREATE TEMP TABLE c (a int)", deadline(5)).await.unwrap();
    let sink = connection.with_raw(|client| client.copy_in("COPY c FROM STDIN")).await.unwrap();
    drop::<tokio_postgres::CopyInSink<&'static [u8]>>(sink);
    assert_eq!(text(&connection, "SELECT count(*) FROM c").await.as_deref(), Some("0"));
    for data in [&b"1\n2\n"[..], b"nonsense\n"] {
        let sink = connection.with_raw(|client| client.copy_in("COPY c FROM STDIN")).await.unwrap();
        let mut sink = Box::pin(sink);
        futures_util::SinkExt::send(&mut sink, data).await.unwrap();
        let _ = sink.as_mut().finish().await;
        assert_eq!(text(&connection, "SELECT count(*) FROM c").await.as_deref(), Some("2"));
    }
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
}

#[tokio::test]
async fn a_copy_that_nobody_feeds_gives_the_connection_up() {
    let server = Server::shared();
    let connection = server.connect().await;
    connection.run_sql("CREATE TEMP TABLE c (a int)", deadline(5)).await.unwrap();
    let error = connection.run_sql("COPY c FROM STDIN", deadline(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver);
    let later = connection.ping(deadline(5)).await.unwrap_err();
    assert_eq!((later.kind(), later.outcome()), (ErrorKind::Network, TransactionOutcome::NotSent));
    assert!(later.to_string().contains("copy_in"), "{later}");
}
