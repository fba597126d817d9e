//! A plugin in sessions: on quiet and on bad days, dropped anywhere, and gone in the end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::plugin::PluginSubject;
use super::{Checked, Conformance, deadline, ensure};
use crate::plugin::Plugin;
use crate::testkit::{
    Abandon, FailoverPlan, FakeClient, ScriptedCluster, Stage, Statement, enumerate_cancellations,
};

/// What happens to the cluster.
#[derive(Clone, Copy)]
enum Day {
    Quiet,
    Crash,
    Freeze,
    Switchover,
}

pub(super) async fn ask(found: &mut Conformance, subject: &PluginSubject) {
    found.ask("calls-go-through", calls_go_through(subject)).await;
    found.ask("session-ends", session_ends(subject)).await;
    found.ask("no-circle", no_circle(subject)).await;
    found.ask("connect-ends", connect_ends(subject)).await;
    found.ask("cancelled-connect", cancelled_connect(subject, Day::Quiet)).await;
    found.ask("cancelled-connect-in-a-crash", cancelled_connect(subject, Day::Crash)).await;
    found.ask("cancelled-connect-to-a-silent-host", cancelled_connect(subject, Day::Freeze)).await;
    found.ask("cancelled-call", cancelled_call(subject, Day::Quiet)).await;
    found.ask("cancelled-call-in-a-crash", cancelled_call(subject, Day::Crash)).await;
    found.ask("cancelled-call-to-a-silent-host", cancelled_call(subject, Day::Freeze)).await;
    found.ask("cancelled-call-in-a-switchover", cancelled_call(subject, Day::Switchover)).await;
}

async fn client(stage: &Stage) -> Result<FakeClient, String> {
    stage.client().await.map_err(|error| format!("a session with the plugin cannot be opened: {error}"))
}

async fn calls_go_through(subject: &PluginSubject) -> Checked {
    let stage = subject.stage()?;
    let client = client(&stage).await?;
    for number in 1..=5 {
        let answer = client.run(&Statement::append(number)).await;
        let answer = answer.map_err(|error| format!("a call on a quiet day fails: {error}"))?;
        ensure(answer.statement == number, || "a call got another one's answer".to_owned())?;
    }
    let transaction = client.begin(6).await.map_err(|error| format!("a BEGIN fails: {error}"))?;
    let run = transaction.run(&Statement::append(7)).await;
    run.map_err(|error| format!("a call of a transaction fails: {error}"))?;
    transaction.commit(8).await.map_err(|error| format!("a COMMIT fails: {error}"))?;
    let executed = stage.cluster().executed();
    let runs = |number: u64| executed.iter().filter(|executed| executed.statement == number).count();
    let wrong = (1..=8).find(|number| runs(*number) != 1);
    ensure(wrong.is_none(), || {
        format!("of eight statements on a quiet day, not each was run once: {wrong:?}")
    })?;
    stage.check_next_user(&client).await?;
    stage.check_at_rest(client).await
}

/// A session's plugin, without keeping it.
fn weak(subject: &PluginSubject, client: &FakeClient, stage: &Stage) -> Result<Weak<dyn Plugin>, String> {
    let name = subject.build(stage)?.name();
    let plugins = client.session().chain().plugins();
    let plugin = plugins.iter().find(|plugin| plugin.name() == name);
    plugin.map(Arc::downgrade).ok_or_else(|| "the plugin is not in its session's chain".to_owned())
}

async fn rest(cluster: &ScriptedCluster) {
    cluster.env().sleep(Duration::from_secs(3)).await;
}

async fn session_ends(subject: &PluginSubject) -> Checked {
    let before = Handle::current().metrics().num_alive_tasks();
    let stage = subject.stage()?;
    let cluster = stage.cluster().clone();
    let client = client(&stage).await?;
    let plugin = weak(subject, &client, &stage)?;
    let transaction = client.begin(1).await.map_err(|error| error.to_string())?;
    drop(transaction);
    let slow = Statement::append(2).taking(Duration::from_millis(50));
    let (_, ()) = futures_util::future::join(client.run(&slow), async {
        cluster.env().sleep(Duration::from_millis(10)).await;
        cluster.fail_over(FailoverPlan::crash(1)).await;
    })
    .await;
    cluster.env().sleep(Duration::from_secs(1)).await;
    drop(client);
    rest(&cluster).await;
    ensure(plugin.strong_count() == 0, || "somebody keeps the plugin when its session has ended".to_owned())?;
    stage.check_at_rest(()).await?;
    rest(&cluster).await;
    let after = Handle::current().metrics().num_alive_tasks();
    ensure(after <= before, || format!("{} tasks that are no cluster's go on", after - before))
}

async fn no_circle(subject: &PluginSubject) -> Checked {
    let stage = subject.stage()?;
    let cluster = stage.cluster().clone();
    let client = client(&stage).await?;
    let plugin = weak(subject, &client, &stage)?;
    let (chain, core) =
        (Arc::downgrade(client.session().chain()), Arc::downgrade(stage.core().cluster().core()));
    client.run(&Statement::append(1)).await.map_err(|error| error.to_string())?;
    // Without a shutdown: the last handle dropped ends everything.
    drop(client);
    drop(stage);
    rest(&cluster).await;
    ensure(plugin.strong_count() == 0, || "the plugin keeps itself alive".to_owned())?;
    ensure(chain.strong_count() == 0, || "the chain is kept alive".to_owned())?;
    ensure(core.strong_count() == 0, || "the cluster is kept alive".to_owned())?;
    let open = (cluster.sessions().open, cluster.monitors().open);
    ensure(open == (0, 0), || format!("sockets of sessions and monitors are left: {open:?}"))
}

async fn connect_ends(subject: &PluginSubject) -> Checked {
    let stage = subject.stage()?;
    (0..3).for_each(|host| stage.cluster().freeze(host));
    let limit = deadline(Duration::from_secs(600));
    let opened = limit.run("a connect", async { Ok(stage.open().await.map(drop)) }).await;
    (0..3).for_each(|host| stage.cluster().thaw(host));
    let opened = opened.map_err(|_| "a connect to a silent cluster goes on after ten minutes".to_owned())?;
    ensure(opened.is_err(), || "a connect to a silent cluster succeeds".to_owned())?;
    stage.check_at_rest(()).await
}

/// Has the day break on a task of its own, `after` some time.
fn breaks(day: Day, cluster: &ScriptedCluster, after: Duration) {
    let mut plan = match day {
        Day::Quiet => return,
        Day::Crash => FailoverPlan::crash(1),
        Day::Freeze => FailoverPlan::crash(1).old(Abandon::Freezes),
        Day::Switchover => FailoverPlan::switchover(1),
    };
    plan.promotion = Duration::from_millis(40);
    plan.stale_dns = Duration::from_millis(200);
    let cluster = cluster.clone();
    // The servers' task, not the library's.
    drop(Handle::current().spawn(async move {
        cluster.env().sleep(after).await;
        cluster.fail_over(plan).await;
        cluster.env().sleep(Duration::from_millis(300)).await;
        cluster.thaw(0);
    }));
}

async fn cancelled_connect(subject: &PluginSubject, day: Day) -> Checked {
    let found = enumerate_cancellations(
        async || {
            let stage = subject.stage()?;
            // In the middle of the connect, which takes two.
            breaks(day, stage.cluster(), Duration::from_millis(1));
            Ok(stage)
        },
        async |stage: &Result<Stage, String>| {
            if let Ok(stage) = stage {
                drop(stage.open().await);
            }
        },
        async |stage, _| {
            let stage = stage?;
            stage.cluster().env().sleep(Duration::from_secs(2)).await;
            let open = stage.cluster().sessions().open;
            ensure(open == 0, || format!("{open} sockets of a connect that was dropped"))?;
            let client = client(&stage).await?;
            stage.check_next_user(&client).await?;
            stage.check_at_rest(client).await
        },
    )
    .await;
    found.map(drop).map_err(|poisoned| poisoned.to_string())
}

async fn cancelled_call(subject: &PluginSubject, day: Day) -> Checked {
    let found = enumerate_cancellations(
        async || {
            let stage = subject.stage()?;
            let client = client(&stage).await?;
            breaks(day, stage.cluster(), Duration::from_millis(5));
            Ok((stage, client))
        },
        async |world: &Result<(Stage, FakeClient), String>| {
            let Ok((_, client)) = world else { return };
            let Ok(transaction) = client.begin(1).await else { return };
            let slow = Statement::append(2).taking(Duration::from_millis(60));
            let _ = transaction.run(&slow).await;
            let _ = transaction.commit(3).await;
            let _ = client.run(&Statement::append(4)).await;
        },
        async |world, _| {
            let (stage, client) = world?;
            stage.cluster().env().sleep(Duration::from_secs(1)).await;
            stage.check_next_user(&client).await?;
            stage.check_at_rest(client).await
        },
    )
    .await;
    found.map(drop).map_err(|poisoned| poisoned.to_string())
}
