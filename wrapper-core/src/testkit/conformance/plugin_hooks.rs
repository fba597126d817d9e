//! A plugin's hooks, each called by hand.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use tokio::sync::oneshot;

use super::plugin::{Bench, PluginSubject};
use super::{Checked, Conformance, ample, deadline, ensure};
use crate::driver::{ConnectTarget, DriverConnection};
use crate::error::{Error, ErrorKind, Result, TransactionOutcome};
use crate::host::{HostInfo, HostRole};
use crate::plugin::{
    Call, ConnectContext, Connected, ConnectionChange, ExecuteNext, HostStateChange, MethodSet, Outcome,
    Recovery, Terminal, TopologyChange,
};
use crate::session::SessionSeam;
use crate::testkit::{MockConnect, MockExecute, MockSession};
use crate::topology::Topology;

const WORDS: &str = "an error that is nobody's business";

pub(super) async fn ask(found: &mut Conformance, subject: &PluginSubject) {
    found.ask("connect-passes", connect_passes(subject, false)).await;
    found.ask("connect-error-unchanged", connect_error(subject, false)).await;
    found.ask("force-connect-passes", connect_passes(subject, true)).await;
    found.ask("force-connect-error-unchanged", connect_error(subject, true)).await;
    found.ask("execute-runs-next", execute_runs_next(subject)).await;
    found.ask("execute-error-unchanged", execute_error(subject)).await;
    found.ask("recover-error-unchanged", recover_error(subject)).await;
    found.ask("transaction-state-unknown", transaction_state_unknown(subject)).await;
    found.ask("calls-side-by-side", calls_side_by_side(subject)).await;
    found.ask("enter-leave", enter_leave(subject)).await;
    found.ask("watch-unwatch", watch_unwatch(subject)).await;
    found.ask("refuse-healthy", refuse_healthy(subject)).await;
    found.ask("notifications", notifications(subject)).await;
    found.ask("select-host", select_host(subject)).await;
    found.ask("unsubscribed-hooks", unsubscribed(subject)).await;
}

fn unrelated() -> Error {
    Error::new(ErrorKind::Statement, WORDS)
        .with_sqlstate("22012")
        .with_outcome(TransactionOutcome::RolledBack)
}

fn unchanged(sent: &Error, got: &Error) -> Checked {
    let told = |error: &Error| (error.kind(), error.outcome(), error.sqlstate().map(str::to_owned));
    ensure(told(sent) == told(got), || format!("{:?} became {:?}: {got}", told(sent), told(got)))?;
    ensure(got.to_string().contains(sent.message()), || format!("the words are lost: {got}"))
}

async fn run_connect(
    bench: &Bench,
    rest: &MockConnect,
    forced: bool,
) -> (Result<Connected>, Vec<ConnectTarget>) {
    let cluster = bench.stage.core().cluster();
    let target = ConnectTarget::session(bench.stage.cluster().host(0));
    let mut cx = ConnectContext::new(cluster, target, ample());
    cx.initial = !forced;
    let connected = match forced {
        true => bench.plugin.force_connect(&mut cx, rest.forced_cursor()).await,
        false => bench.plugin.connect(&mut cx, rest.cursor()).await,
    };
    (connected, rest.targets())
}

async fn connect_passes(subject: &PluginSubject, forced: bool) -> Checked {
    let bench = subject.bench().await?;
    let epoch = bench.stage.core().cluster().writer_epoch();
    let given = Connected::new(Arc::clone(&bench.connection), bench.stage.cluster().host(0), epoch);
    let rest = (0..8).fold(MockConnect::new(), |rest, _| rest.answer(Ok(given.clone())));
    let (connected, targets) = run_connect(&bench, &rest, forced).await;
    let connected = connected.map_err(|error| format!("a connect that works fails: {error}"))?;
    ensure(!targets.is_empty(), || "the rest of the chain was not run".to_owned())?;
    ensure(Arc::ptr_eq(&connected.connection, &given.connection), || {
        "the connection that came out is not the one that the rest of the chain gave".to_owned()
    })?;
    ensure(!connected.connection.is_closed(), || "the connection that came out is closed".to_owned())?;
    if forced {
        let moved = targets.iter().find(|target| target.host.key != given.host.key);
        ensure(moved.is_none(), || format!("a forced connect was led to {moved:?}"))?;
    }
    Ok(())
}

async fn connect_error(subject: &PluginSubject, forced: bool) -> Checked {
    let bench = subject.bench().await?;
    let rest = (0..8).fold(MockConnect::new(), |rest, _| rest.answer(Err(unrelated())));
    let (connected, targets) = run_connect(&bench, &rest, forced).await;
    ensure(!targets.is_empty(), || "the rest of the chain was not run".to_owned())?;
    let error = connected.err().ok_or_else(|| "an error was swallowed".to_owned())?;
    unchanged(&unrelated(), &error)
}

fn session(bench: &Bench) -> Result<MockSession, String> {
    let cluster = bench.stage.core().cluster();
    let session = MockSession::new(cluster, Arc::clone(&bench.connection), bench.host.clone());
    session.map_err(|error| error.to_string())
}

async fn execute_runs_next(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    for call in
        [Call::new("query").sql("SELECT 1"), Call::new("copy_in").once(), Call::new("commit").pinned()]
    {
        let session = session(&bench)?;
        let mut rest = MockExecute::new().answer(Ok(()));
        let mut cx = session.call(call);
        let result = bench.plugin.execute(&mut cx, rest.cursor()).await;
        result.map_err(|error| format!("a call of `{}` that works fails: {error}", call.method))?;
        let runs = rest.runs();
        ensure(runs.len() == 1, || {
            format!("a call of `{}` that works was run {} times", call.method, runs.len())
        })?;
        let same = Arc::ptr_eq(&runs[0], &bench.connection);
        ensure(same, || "the call was run on another connection than the attempt's".to_owned())?;
    }
    Ok(())
}

async fn execute_error(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    for call in [Call::new("query"), Call::new("copy_in").once(), Call::new("query").pinned()] {
        let session = session(&bench)?;
        let mut rest = (0..8).fold(MockExecute::new(), |rest, _| rest.answer(Err(unrelated())));
        let mut cx = session.call(call);
        let result = bench.plugin.execute(&mut cx, rest.cursor()).await;
        let error = result.err().ok_or_else(|| "an error was swallowed".to_owned())?;
        unchanged(&unrelated(), &error)?;
        let runs = rest.runs().len();
        ensure(runs == 1, || format!("a call that failed by itself was run {runs} times"))?;
        ensure(session.plans().is_empty(), || "the session was switched for it".to_owned())?;
    }
    Ok(())
}

async fn recover_error(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    for call in [Call::new("query"), Call::new("copy_in").once(), Call::new("query").pinned()] {
        let session = session(&bench)?;
        let mut cx = session.call(call);
        match bench.plugin.recover(&mut cx, unrelated()).await {
            Recovery::Fail(error) => unchanged(&unrelated(), &error)?,
            Recovery::Rerun => return Err("a call that failed by itself is to be run again".to_owned()),
        }
        ensure(session.plans().is_empty(), || "the session was switched for it".to_owned())?;
    }
    Ok(())
}

async fn transaction_state_unknown(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let unknown = || {
        Error::new(ErrorKind::TransactionStateUnknown, WORDS).with_outcome(TransactionOutcome::MayHaveApplied)
    };
    let pinned = Call::new("commit").pinned();
    let session = session(&bench)?.fails(unrelated());
    let mut rest = (0..8).fold(MockExecute::new(), |rest, _| rest.answer(Err(unknown())));
    let result = bench.plugin.execute(&mut session.call(pinned), rest.cursor()).await;
    let error = result.err().ok_or_else(|| "an unknown transaction was taken for a success".to_owned())?;
    ensure(error.kind() == ErrorKind::TransactionStateUnknown, || format!("`execute` hides it: {error}"))?;
    match bench.plugin.recover(&mut session.call(pinned), unknown()).await {
        Recovery::Fail(error) if error.kind() == ErrorKind::TransactionStateUnknown => Ok(()),
        other => Err(format!("`recover` hides it: {other:?}")),
    }
}

/// A call that waits until it is let go.
struct Waiting(Option<oneshot::Receiver<()>>);

impl Terminal for Waiting {
    fn invoke<'s>(&'s mut self, _: &'s Arc<dyn DriverConnection>) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move {
            if let Some(wait) = self.0.take() {
                let _ = wait.await;
            }
            Ok(())
        })
    }
}

async fn calls_side_by_side(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let session = session(&bench)?;
    let (go, wait) = oneshot::channel();
    let (mut slow, mut quick) = (Waiting(Some(wait)), Waiting(None));
    let (mut first, mut second) = (session.call(Call::new("query")), session.call(Call::new("query")));
    let slow = pin!(bench.plugin.execute(&mut first, ExecuteNext::new(&[], &mut slow)));
    let a_while = pin!(bench.stage.cluster().env().sleep(Duration::from_secs(1)));
    let Either::Right(((), slow)) = select(slow, a_while).await else {
        return Err("a call ends before the rest of the chain has".to_owned());
    };
    let quick = bench.plugin.execute(&mut second, ExecuteNext::new(&[], &mut quick));
    let ended = deadline(Duration::from_secs(60)).run("the second call", quick).await;
    ended.map_err(|error| format!("a call waits for another one of its session: {error}"))?;
    let _ = go.send(());
    slow.await.map_err(|error| format!("a call that works fails: {error}"))
}

async fn enter_leave(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let (call, error) = (Call::new("query").sql("SELECT 1"), unrelated());
    let outcomes = [Outcome::Done, Outcome::Failed(&error), Outcome::Cancelled];
    for outcome in outcomes {
        bench.plugin.enter(&call);
        bench.plugin.leave(&call, outcome);
    }
    // Calls of one session overlap.
    (0..100).for_each(|_| bench.plugin.enter(&call));
    (0..100).for_each(|index| bench.plugin.leave(&call, outcomes[index % 3]));
    Ok(())
}

async fn watch_unwatch(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let connection = Arc::clone(&bench.connection);
    let handles = Arc::strong_count(&connection);
    let tokens: Vec<_> = (0..50).map(|_| bench.plugin.watch(&connection, &bench.host)).collect();
    let (odd, even): (Vec<_>, Vec<_>) = tokens.iter().enumerate().partition(|(index, _)| index % 2 == 1);
    // Waits end in any order.
    odd.iter().chain(even.iter().rev()).for_each(|(_, token)| bench.plugin.unwatch(**token));
    let cluster = bench.stage.cluster();
    cluster.env().sleep(Duration::from_secs(2)).await;
    let left = Arc::strong_count(&connection) - handles;
    ensure(left == 0, || format!("{left} handles on the connection are kept after its waits have ended"))?;
    ensure(!connection.is_closed(), || "the connection is closed, though its host is well".to_owned())
}

async fn refuse_healthy(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let attempt = bench.client.session().current();
    bench
        .plugin
        .refuse(&attempt)
        .map_err(|error| format!("a connection to a healthy writer is refused: {error}"))
}

async fn notifications(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let cluster = bench.stage.cluster();
    let core = bench.stage.core().cluster().core();
    let learnt = core.learn_topology(&bench.connection, ample()).await;
    learnt.map_err(|error| error.to_string())?;
    let now = core.topology().ok_or("the cluster has no topology")?;
    let mut empty = now.clone();
    empty.topology = Arc::new(Topology::default());
    for (before, now) in [(None, &now), (Some(&now), &now), (Some(&now), &empty), (Some(&empty), &now)] {
        bench.plugin.on_topology(&TopologyChange::new(before.cloned(), now.clone()));
    }
    for up in [false, false, true] {
        bench.plugin.on_host_state(&HostStateChange::new(cluster.host(0).key, up));
    }
    let to = cluster.host(1);
    let change = ConnectionChange::new(bench.host.clone(), to, 2, Arc::clone(&bench.connection));
    bench.plugin.on_connection(&change);
    bench.plugin.on_stream_error(&unrelated());
    bench.plugin.on_stream_error(&Error::new(ErrorKind::Network, "reset"));
    Ok(())
}

async fn select_host(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let hosts: Vec<HostInfo> = (0..3).map(|host| bench.stage.cluster().host(host)).collect();
    for hosts in [&hosts[..], &[]] {
        let chosen = bench.plugin.select_host("a strategy of nobody's", HostRole::Reader, hosts);
        ensure(chosen.is_none(), || format!("a strategy that nobody knows is answered by {chosen:?}"))?;
    }
    Ok(())
}

/// A hook that was not subscribed is never called; one that would do something is a subscription that was forgotten.
async fn unsubscribed(subject: &PluginSubject) -> Checked {
    let bench = subject.bench().await?;
    let set = bench.plugin.subscriptions();
    let forgotten =
        |hook: &str| format!("`{hook}` does something, and is not subscribed to: it is never called");
    let (call, error) = (Call::new("query"), unrelated());
    let before = format!("{:?}", bench.plugin);
    if !set.contains(MethodSet::ENTER_LEAVE) {
        bench.plugin.enter(&call);
        bench.plugin.leave(&call, Outcome::Failed(&error));
        ensure(format!("{:?}", bench.plugin) == before, || forgotten("enter or leave"))?;
    }
    if !set.contains(MethodSet::WATCH) {
        let token = bench.plugin.watch(&bench.connection, &bench.host);
        bench.plugin.unwatch(token);
        ensure(token == 0 && format!("{:?}", bench.plugin) == before, || forgotten("watch or unwatch"))?;
    }
    if !set.contains(MethodSet::NOTIFY) {
        bench.plugin.on_stream_error(&error);
        bench.plugin.on_host_state(&HostStateChange::new(bench.host.key.clone(), false));
        ensure(format!("{:?}", bench.plugin) == before, || forgotten("a notification"))?;
    }
    if !set.contains(MethodSet::EXECUTE) {
        let session = session(&bench)?;
        let mut rest = MockExecute::new().answer(Ok(()));
        let done = bench.plugin.execute(&mut session.call(call), rest.cursor()).await.is_ok();
        ensure(done && format!("{:?}", bench.plugin) == before, || forgotten("execute"))?;
    }
    if !set.contains(MethodSet::CONNECT) {
        let epoch = bench.stage.core().cluster().writer_epoch();
        let given = Connected::new(Arc::clone(&bench.connection), bench.stage.cluster().host(0), epoch);
        let rest = MockConnect::new().answer(Ok(given));
        let (connected, targets) = run_connect(&bench, &rest, false).await;
        let plain = connected.is_ok() && targets.len() == 1 && format!("{:?}", bench.plugin) == before;
        ensure(plain, || forgotten("connect"))?;
    }
    if !set.contains(MethodSet::REFUSE) {
        let mut attempt = bench.client.session().current();
        attempt.epoch = 0;
        ensure(bench.plugin.refuse(&attempt).is_ok(), || forgotten("refuse"))?;
    }
    Ok(())
}
