//! Session state over a switch: scenarios 29 to 33 of the catalogue, and LISTEN.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::{builder, connector, on_each, within};
use integration_tests::Flavour;
use support::{aurora, ended, failed, polled, started};
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Deadline;
use wrapper_core::session::SwitchHook;
use wrapper_pg::{Client, Error, ErrorKind, Message};

const STEP: Duration = Duration::from_secs(30);

/// The settings that the tests look at.
const SETTINGS: &[&str] = &[
    "default_transaction_read_only",
    "default_transaction_isolation",
    "search_path",
    "TimeZone",
    "statement_timeout",
    "lock_timeout",
    "application_name",
    "DateStyle",
    "work_mem",
    "idle_in_transaction_session_timeout",
];

async fn settings(client: &Client) -> Vec<String> {
    let mut values = Vec::new();
    for setting in SETTINGS {
        let sql = format!("SELECT current_setting('{setting}')");
        values.push(client.query_one_scalar(&sql, &[]).await.expect("a setting"));
    }
    values
}

/// Calls until the session has moved; each error must be a finished failover.
async fn moved(client: &Client) {
    let error = failed(within("the call", client.query("SELECT 1", &[])).await, "a call after the switch");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
}

/// Scenarios 29, 30 and 33: what a session has set is in force after a planned switchover and after a crash; what
/// failed, was undone or was meant for one transaction is not; another session has the server's defaults.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_set_is_carried_over() {
    on_each([Flavour::Aurora, Flavour::MultiAz], what_a_session_has_set_is_carried_over_on).await;
}

async fn what_a_session_has_set_is_carried_over_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    let other = within("the connect", connector.connect()).await.expect("connected");
    let defaults = settings(&other).await;
    client.batch_execute("CREATE SCHEMA one; CREATE SCHEMA \"Two x\"").await.expect("created");
    let texts = [
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET search_path TO one, \"Two x\", public",
        "SET TIME ZONE 'Asia/Tokyo'; SET statement_timeout = '47s'",
        "BEGIN; SET lock_timeout TO '13s'; COMMIT",
        "SET application_name = 'it''s \"mine\"'",
        "SET DateStyle = 'German, DMY'",
        "BEGIN; SET LOCAL work_mem = '5MB'; COMMIT",
        "BEGIN; SET work_mem = '6MB'; ROLLBACK",
        "BEGIN; SAVEPOINT a; SET work_mem = '7MB'; ROLLBACK TO a; COMMIT",
        "SET work_mem = '8MB'; RESET work_mem",
    ];
    for text in texts {
        client.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    client.execute("SET idle_in_transaction_session_timeout = '23min'", &[]).await.expect("set");
    for wrong in ["SET idle_in_transaction_session_timeout = 'never'", "SET work_mem = 'much'"] {
        failed(client.batch_execute(wrong).await, wrong);
    }
    client.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await.expect("set");
    let set = settings(&client).await;
    assert_eq!(set[..2], ["on".to_owned(), "serializable".to_owned()]);
    assert_eq!(set[8], defaults[8], "nothing that was tried changes work_mem");
    assert_eq!(set[9], "23min");

    cluster.planned_switchover(cluster.readers()[0]).await.expect("switched over");
    moved(&client).await;
    assert_eq!(settings(&client).await, set, "after the switchover");
    moved(&other).await;
    assert_eq!(settings(&other).await, defaults, "another session");

    cluster.wait_until_healthy(STEP).await.expect("healthy again");
    client.batch_execute("SET lock_timeout = '14s'").await.expect("set");
    let set = settings(&client).await;
    cluster.fail_over().await.expect("failed over");
    moved(&client).await;
    assert_eq!(settings(&client).await, set, "after the crash");
    let fresh = within("the connect", connector.connect()).await.expect("connected");
    assert_eq!(settings(&fresh).await, defaults, "a new session");
    drop((client, other, fresh));
    ended(&connector).await;
}

/// Scenario 31, as far as there is a way for a session from the writer to a reader and back (`reader_or_writer`; routing
/// of reads is to come): after each of several switches a statement outside of a transaction commits by itself, and
/// what the session has set is in force.
#[tokio::test(flavor = "multi_thread")]
async fn switches_between_writer_and_reader_keep_autocommit() {
    let cluster = aurora().await;
    let connector = support::watchful(&cluster)
        .set("failover_mode", "reader_or_writer")
        .set("reader_host_selector_strategy", "round_robin")
        .build()
        .expect("valid");
    let client = within("the connect", connector.connect()).await.expect("connected");
    client
        .batch_execute("SET lock_timeout = '13s'; SELECT set_config('my.tenant', '7', false)")
        .await
        .expect("set");
    let mut written = 0_i64;
    for to_writer in [false, true, false, true] {
        // Everything but where the session is to go falls silent.
        for node in cluster.nodes() {
            let stays = (node == cluster.writer()) == to_writer;
            if stays {
                cluster.heal(node).await.expect("healed");
            } else {
                cluster.cut(node, integration_tests::Cut::StallBothWays).await.expect("cut");
            }
        }
        moved(&client).await;
        let on_reader: bool =
            client.query_one_scalar("SELECT pg_is_in_recovery()", &[]).await.expect("asked");
        assert_eq!(on_reader, !to_writer);
        let sql = "SELECT current_setting('lock_timeout') || ' ' || current_setting('my.tenant')";
        let set: String = client.query_one_scalar(sql, &[]).await.expect("asked");
        assert_eq!(set, "13s 7");
        if to_writer {
            written += 1;
            client.execute("INSERT INTO t VALUES ($1)", &[&written]).await.expect("written");
            assert_eq!(support::rows_on(&cluster, cluster.writer(), written).await, 1, "committed by itself");
        }
    }
    drop(client);
    ended(&connector).await;
}

/// Scenario 30: what a statement has set whose caller dropped the call is carried over too, as the server has it: also
/// when it was run by a prepared statement, or in a transaction, which decides; and LISTEN.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_call_has_set_is_carried_over() {
    on_each([Flavour::Aurora, Flavour::MultiAz], what_a_dropped_call_has_set_is_carried_over_on).await;
}

async fn what_a_dropped_call_has_set_is_carried_over_on(flavour: Flavour) {
    let cluster = started(flavour).await;
    let connector = connector(&cluster);
    let mut client = within("the connect", connector.connect()).await.expect("connected");
    client.batch_execute("SET idle_in_transaction_session_timeout = '3min'").await.expect("set");
    // Each is sent by its first poll and dropped after it.
    let prepared = client.prepare("SET work_mem = '6MB'").await.expect("prepared");
    assert!(polled(client.execute(&prepared, &[]), 1).await.is_none(), "dropped before its answer");
    for text in [
        "SET lock_timeout = '21s'; SELECT set_config('my.tenant', '7', false)",
        "SET statement_timeout = 'never'",
        "RESET idle_in_transaction_session_timeout",
        "LISTEN jobs",
    ] {
        assert!(polled(client.batch_execute(text), 1).await.is_none(), "dropped before its answer");
    }
    let set = settings(&client).await;
    assert_eq!((&*set[5], &*set[8], &*set[9]), ("21s", "6MB", "0"));

    cluster.fail_over().await.expect("failed over");
    moved(&client).await;
    assert_eq!(settings(&client).await, set, "after the crash");
    let sql = "SELECT current_setting('my.tenant') || (SELECT string_agg(c, ' ') FROM pg_listening_channels() AS c)";
    let text: String = client.query_one_scalar(sql, &[]).await.expect("asked");
    assert_eq!(text, "7jobs");

    cluster.wait_until_healthy(STEP).await.expect("healthy again");
    for commits in [false, true] {
        let transaction = client.transaction().await.expect("begun");
        let text = if commits { "SET lock_timeout = '23s'" } else { "SET work_mem = '8MB'" };
        assert!(polled(transaction.batch_execute(text), 1).await.is_none(), "dropped before its answer");
        transaction.batch_execute("SELECT 1").await.expect("the transaction goes on");
        if commits {
            transaction.commit().await.expect("committed");
        } else {
            transaction.rollback().await.expect("rolled back");
        }
    }
    let set = settings(&client).await;
    assert_eq!((&*set[5], &*set[8]), ("23s", "6MB"));
    cluster.fail_over().await.expect("failed over");
    moved(&client).await;
    assert_eq!(settings(&client).await, set, "after the second crash");
    drop(client);
    ended(&connector).await;
}

#[derive(Clone, Debug, Default)]
struct Counting {
    carried: Arc<AtomicUsize>,
    installed: Arc<AtomicUsize>,
    handles: bool,
}

#[async_trait]
impl SwitchHook for Counting {
    async fn carry(
        &self,
        _: &Arc<dyn DriverConnection>,
        new: &Arc<dyn DriverConnection>,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        self.carried.fetch_add(1, Ordering::Relaxed);
        new.run_sql("SET work_mem = '9MB'", deadline).await?;
        Ok(self.handles)
    }

    fn installed(&self, _: &Arc<dyn DriverConnection>, _: &Arc<dyn DriverConnection>) {
        self.installed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Scenario 32: the user's hook runs once a switch, and may stand in for the transfer; with the transfer off a
/// switched session has the server's defaults.
#[tokio::test(flavor = "multi_thread")]
async fn the_hook_runs_once_and_the_transfer_can_be_off() {
    let cluster = aurora().await;
    let plain = Counting::default();
    let handling = Counting { handles: true, ..Counting::default() };
    let at = || builder(&cluster, &cluster.cluster_endpoint());
    let hooked = at().switch_hook(plain.clone()).build().expect("valid");
    let handled = at().switch_hook(handling.clone()).build().expect("valid");
    let off = at().set("transfer_session_state_on_switch", "false").build().expect("valid");
    let mut clients = Vec::new();
    for connector in [&hooked, &handled, &off] {
        let client = within("the connect", connector.connect()).await.expect("connected");
        client.batch_execute("SET lock_timeout = '13s'").await.expect("set");
        clients.push(client);
    }
    cluster.fail_over().await.expect("failed over");
    for client in &clients {
        moved(client).await;
    }
    let of = |values: &[String]| (values[5].clone(), values[8].clone());
    let expected = [("13s", "9MB"), ("0", "9MB"), ("0", "4MB")];
    for (client, (lock, memory)) in clients.iter().zip(expected) {
        assert_eq!(of(&settings(client).await), (lock.to_owned(), memory.to_owned()));
    }
    for hook in [&plain, &handling] {
        assert_eq!(hook.carried.load(Ordering::Relaxed), 1);
        assert_eq!(hook.installed.load(Ordering::Relaxed), 1);
    }
    drop(clients);
    for connector in [&hooked, &handled, &off] {
        ended(connector).await;
    }
}

/// LISTEN is in force again after a switch, a gap marks the switch, and what was unlistened stays so.
#[tokio::test(flavor = "multi_thread")]
async fn listen_is_in_force_again_after_a_switch() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    let mut messages = client.notifications();
    for text in
        ["LISTEN one", "LISTEN \"Two x\"; LISTEN three", "UNLISTEN three", "BEGIN; LISTEN four; ROLLBACK"]
    {
        client.batch_execute(text).await.expect(text);
    }
    let notify = "NOTIFY three, 'x'; NOTIFY four, 'x'; NOTIFY \"Two x\", 'b'; NOTIFY one, 'a'";
    support::sql(&cluster, notify).await;
    let mut next = async || match within("a message", messages.recv()).await {
        Some(Message::Notification(notification)) => notification.payload().to_owned(),
        Some(Message::Gap) => "gap".to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!([next().await, next().await], ["b", "a"]);
    cluster.fail_over().await.expect("failed over");
    moved(&client).await;
    assert_eq!(next().await, "gap");
    support::sql(&cluster, notify).await;
    assert_eq!([next().await, next().await], ["b", "a"]);
    drop(client);
    ended(&connector).await;
}
