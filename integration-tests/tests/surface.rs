//! What a failure does to the parts of the client's surface: plugins that panic, statements, streams, COPY, pipelines.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod common;
mod support;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::{builder, connector, within};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use integration_tests::Cut;
use support::{aurora, ended, failed, rows, until};
use wrapper_core::driver::DriverConnection;
use wrapper_core::host::HostInfo;
use wrapper_core::plugin::{
    BuildContext, Call, CallContext, ConnectContext, ConnectNext, Connected, ConnectionChange, ExecuteNext,
    MethodSet, OrderClass, Outcome, Plugin, PluginFactory, Recovery, WatchToken,
};
use wrapper_core::session::Attempt;
use wrapper_pg::{Client, Error, ErrorKind, SimpleQueryMessage, TransactionOutcome};

const NO_PARAMETERS: [i64; 0] = [];

/// Panics in the hook it is told to, once it is told to.
#[derive(Clone, Debug)]
struct Panics {
    hook: MethodSet,
    armed: Arc<AtomicBool>,
}

impl Panics {
    fn in_hook(&self, hook: MethodSet) {
        assert!(self.hook != hook || !self.armed.load(Ordering::Relaxed), "the plugin's own fault");
    }
}

impl PluginFactory for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Plugin>, Error> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Plugin for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }
    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }
    fn subscriptions(&self) -> MethodSet {
        self.hook
    }
    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected, Error> {
        self.in_hook(MethodSet::CONNECT);
        next.run(cx).await
    }
    async fn force_connect(
        &self,
        cx: &mut ConnectContext<'_>,
        next: ConnectNext<'_>,
    ) -> Result<Connected, Error> {
        if !cx.is_monitor() {
            self.in_hook(MethodSet::FORCE_CONNECT);
        }
        next.run(cx).await
    }
    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<(), Error> {
        self.in_hook(MethodSet::EXECUTE);
        next.run(cx).await
    }
    async fn recover(&self, _: &mut CallContext<'_>, error: Error) -> Recovery {
        self.in_hook(MethodSet::RECOVER);
        Recovery::Fail(error)
    }
    fn enter(&self, _: &Call<'_>) {
        self.in_hook(MethodSet::ENTER_LEAVE);
    }
    fn leave(&self, _: &Call<'_>, _: Outcome<'_>) {
        self.in_hook(MethodSet::ENTER_LEAVE);
    }
    fn watch(&self, _: &Arc<dyn DriverConnection>, _: &HostInfo) -> WatchToken {
        self.in_hook(MethodSet::WATCH);
        0
    }
    fn unwatch(&self, _: WatchToken) {
        self.in_hook(MethodSet::WATCH);
    }
    fn refuse(&self, _: &Attempt) -> Result<(), Error> {
        self.in_hook(MethodSet::REFUSE);
        Ok(())
    }
    fn on_connection(&self, _: &ConnectionChange) {
        self.in_hook(MethodSet::NOTIFY);
    }
}

/// A plugin that panics, in whichever hook: a typed error that names it where the hook decides the call, nothing at
/// all where it only listens; the session stays usable, and the panic does not end a failover.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_plugin_is_a_typed_error_and_the_session_goes_on() {
    let cluster = aurora().await;
    let hooks = [
        MethodSet::CONNECT,
        MethodSet::FORCE_CONNECT,
        MethodSet::EXECUTE,
        MethodSet::RECOVER,
        MethodSet::ENTER_LEAVE,
        MethodSet::WATCH,
        MethodSet::NOTIFY,
        MethodSet::REFUSE,
    ];
    let mut sessions: Vec<(MethodSet, Arc<AtomicBool>, wrapper_pg::Connector, Client)> = Vec::new();
    for hook in hooks {
        let armed = Arc::new(AtomicBool::new(false));
        let plugin = Panics { hook, armed: Arc::clone(&armed) };
        let connector = builder(&cluster, &cluster.cluster_endpoint()).plugin(plugin).build().expect("valid");
        let client = within("the connect", connector.connect()).await.expect("connected");
        client.query("SELECT 1", &[]).await.expect("answered");
        armed.store(true, Ordering::Relaxed);
        sessions.push((hook, armed, connector, client));
    }
    let is_plugins = |error: &Error, hook: MethodSet| {
        assert_eq!(error.kind(), ErrorKind::Plugin, "{hook:?}: {error:?}");
        assert!(error.to_string().contains("the plugin's own fault"), "{hook:?}: {error}");
    };
    for (hook, armed, connector, client) in &sessions {
        let result = within("the call", client.query("SELECT 1", &[])).await;
        if *hook == MethodSet::EXECUTE {
            is_plugins(&failed(result, "the call"), *hook);
        } else {
            result.unwrap_or_else(|error| panic!("{hook:?}: {error:?}"));
        }
        // A statement's own error reaches the plugins that recover.
        let error = failed(within("the call", client.query("SELECT 1/0", &[])).await, "a division by zero");
        if [MethodSet::EXECUTE, MethodSet::RECOVER].contains(hook) {
            is_plugins(&error, *hook);
        } else {
            assert_eq!(error.sqlstate(), Some("22012"), "{hook:?}: {error:?}");
        }
        if *hook == MethodSet::CONNECT {
            is_plugins(&failed(within("a connect", connector.connect()).await, "a connect"), *hook);
        }
        if ![MethodSet::REFUSE, MethodSet::FORCE_CONNECT].contains(hook) {
            armed.store(*hook == MethodSet::NOTIFY, Ordering::Relaxed);
        }
        if !armed.load(Ordering::Relaxed) {
            within("the next call", client.query("SELECT 1", &[])).await.expect("the session is usable");
        }
    }
    // The hooks that act only when the writer changes.
    cluster.fail_over().await.expect("failed over");
    for (hook, armed, connector, client) in &sessions {
        let error = failed(within("the call", client.query("SELECT 1", &[])).await, "a call after a crash");
        match *hook {
            MethodSet::REFUSE => {
                until("the writer's change is known", || async { connector.cluster().writer_epoch() > 1 })
                    .await;
            }
            MethodSet::FORCE_CONNECT => {}
            _ => assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{hook:?}: {error:?}"),
        }
        if armed.swap(false, Ordering::Relaxed) && *hook == MethodSet::FORCE_CONNECT {
            let text = error.to_string();
            assert!(text.contains("the plugin's own fault"), "{hook:?}: {text}");
        }
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while let Err(error) = within("the call", client.query("SELECT 1", &[])).await {
            assert!(std::time::Instant::now() < end, "{hook:?}: the session stays unusable: {error:?}");
        }
    }
    for (_, _, connector, client) in sessions {
        drop(client);
        ended(&connector).await;
    }
}

/// R13: a statement prepared before the crash works after it, and is prepared once for a hundred concurrent users.
#[tokio::test(flavor = "multi_thread")]
async fn statements_survive_a_crash_and_are_prepared_once() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    let insert = client.prepare("INSERT INTO t VALUES ($1)").await.expect("prepared");
    let add = client.prepare("SELECT $1::bigint + $2::bigint").await.expect("prepared");
    client.execute(&insert, &[&1_i64]).await.expect("inserted");
    cluster.fail_over().await.expect("failed over");
    let error = failed(within("the call", client.execute(&insert, &[&2_i64])).await, "the call");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");

    let inserts = join_all((0..100_i64).map(|_| client.execute(&insert, &[&3_i64])));
    let sums = join_all((0..100_i64).map(|i| {
        let (client, add) = (&client, &add);
        async move { (i, client.query_one_scalar::<i64, _>(add, &[&i, &1_i64]).await) }
    }));
    let (inserts, sums) = within("the calls", async { tokio::join!(inserts, sums) }).await;
    for inserted in inserts {
        assert_eq!(inserted.expect("inserted"), 1);
    }
    for (i, sum) in sums {
        assert_eq!(sum.expect("added"), i + 1);
    }
    assert_eq!(rows(&cluster, 3).await, 100);
    let sql = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%$1%'";
    let messages = client.simple_query(sql).await.expect("counted");
    let count = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    assert_eq!(count.as_deref(), Some("2"), "each statement once");
    drop(client);
    ended(&connector).await;
}

/// A row stream that breaks in the middle ends with an error, never as if it were complete; the next call switches
/// the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_stream_that_breaks_ends_with_an_error() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    let reader = within("the connect", connector.connect()).await.expect("connected");
    // More than all buffers between here and the server.
    let big = "SELECT i, repeat('x', 1000) FROM generate_series(1, 200000) i";
    let mut read = pin!(reader.query_raw(big, NO_PARAMETERS).await.expect("opened"));
    let write = "INSERT INTO t SELECT 5 FROM generate_series(1, 100000) RETURNING repeat('x', 1000)";
    let mut written = pin!(client.query_raw(write, NO_PARAMETERS).await.expect("opened"));
    within("a row", read.next()).await.expect("a row").expect("a row");
    within("a row", written.next()).await.expect("a row").expect("a row");
    cluster.fail_over().await.expect("failed over");
    for (stream, what) in [(&mut read, "the read"), (&mut written, "the write")] {
        let mut got = 1;
        let error = loop {
            match within("a row", stream.next()).await {
                Some(Ok(_)) => got += 1,
                Some(Err(error)) => break error,
                None => panic!("{what} ended as if it were complete after {got} rows"),
            }
        };
        println!("{what} broke after {got} rows: {error}");
        assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
        assert_eq!(error.outcome(), TransactionOutcome::MayHaveApplied, "{what} was sent: {error:?}");
    }
    for client in [&client, &reader] {
        let error = failed(within("the call", client.query("SELECT 1", &[])).await, "the call");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
        within("the call", client.query("SELECT 1", &[])).await.expect("answered");
    }
    assert_eq!(rows(&cluster, 5).await, 0);
    ended(&connector).await;
}

/// A COPY that is lost ends with an error; one into the database was undone, unless its end was on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_lost_ends_with_an_error() {
    let cluster = aurora().await;
    let connector = support::watchful(&cluster).build().expect("valid");
    let connect = || async { within("the connect", connector.connect()).await.expect("connected") };
    let (reading, writing, finishing) = (connect().await, connect().await, connect().await);
    let out = "COPY (SELECT i, repeat('x', 1000) FROM generate_series(1, 200000) i) TO STDOUT";
    let mut out = pin!(reading.copy_out(out).await.expect("opened"));
    within("data", out.next()).await.expect("data").expect("data");
    let mut sink = pin!(writing.copy_in::<_, &'static [u8]>("COPY t FROM STDIN").await.expect("opened"));
    sink.send(&b"6\n6\n"[..]).await.expect("sent");
    let mut ending = pin!(finishing.copy_in::<_, &'static [u8]>("COPY t FROM STDIN").await.expect("opened"));
    ending.send(&b"7\n7\n"[..]).await.expect("sent");
    let old = cluster.writer();
    cluster.cut(old, Cut::Stall).await.expect("answers are held back");
    let finish = async { failed(ending.as_mut().finish().await, "the end of the copy") };
    let fault = async {
        until("the server has the rows", || async { support::rows_on(&cluster, old, 7).await == 2 }).await;
        cluster.promote(cluster.readers()[0]).await.expect("promoted");
        cluster.cut(old, Cut::Reset).await.expect("reset");
    };
    let (finished, ()) = within("the copy", async { tokio::join!(finish, fault) }).await;
    assert_eq!(finished.outcome(), TransactionOutcome::MayHaveApplied, "{finished:?}");
    let lost = loop {
        match within("the copy out", out.next()).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the copy ended as if it were complete"),
        }
    };
    println!("copy out: {lost}");
    let refused = async {
        loop {
            if let Err(error) = sink.send(&b"6\n"[..]).await {
                break error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let refused = within("the copy in", refused).await;
    assert_eq!(refused.outcome(), TransactionOutcome::RolledBack, "{refused:?}");
    failed(within("the end of the copy", sink.as_mut().finish()).await, "the end of a lost copy");
    for client in [&reading, &writing, &finishing] {
        let error = failed(within("the call", client.query("SELECT 1", &[])).await, "the call");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
        within("the call", client.query("SELECT 1", &[])).await.expect("answered");
    }
    assert_eq!((rows(&cluster, 6).await, rows(&cluster, 7).await), (0, 2));
    ended(&connector).await;
}

/// R4: calls of one client reach the server in the order of their first polls, also right after a switch.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_calls_keep_their_order() {
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.batch_execute("CREATE TABLE o (place bigserial, id bigint)").await.expect("created");
    let insert = client.prepare("INSERT INTO o (id) VALUES ($1)").await.expect("prepared");
    let check = async |ids: std::ops::Range<i64>| {
        let values: Vec<i64> = ids.clone().collect();
        let calls = join_all(values.iter().map(|id| {
            let (client, insert) = (&client, &insert);
            async move { client.execute(insert, &[id]).await }
        }));
        for result in within("the calls", calls).await {
            result.expect("inserted");
        }
        let sql = "SELECT id FROM o WHERE id >= $1 AND id < $2 ORDER BY place";
        let order: Vec<i64> = client.query_scalar(sql, &[&ids.start, &ids.end]).await.expect("read");
        assert_eq!(order, values);
    };
    check(0..200).await;
    cluster.fail_over().await.expect("failed over");
    let error = failed(within("the call", client.query("SELECT 1", &[])).await, "the call");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    // The first of these prepares the statement again; the others wait for it and keep their order.
    check(1000..1200).await;
    check(2000..2200).await;
    drop(client);
    ended(&connector).await;
}
