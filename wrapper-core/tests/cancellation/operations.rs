//! What core does, dropped everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::cluster::MonitorPermit;
use wrapper_core::config::Settings;
use wrapper_core::host::HostRole;
use wrapper_core::plugin::{
    BuildContext, CallContext, Connected, ExecuteNext, MethodSet, OrderClass, Plugin, PluginFactory,
};
use wrapper_core::session::{Disposal, Search, SessionSeam, SwitchContext, SwitchPlan};
use wrapper_core::testkit::{
    Abandon, DropPoint, FailoverPlan, FakeClient, ScriptedCluster, Stage, Statement, enumerate_cancellations,
};
use wrapper_core::{Error, ErrorKind, Result};

use super::{enumerate, erased, slow, soon, world};

#[tokio::test(start_paused = true)]
async fn calls_of_a_session() {
    let found = enumerate(async |(_, client)| client.run(&slow(Statement::append(1))).await).await.unwrap();
    assert!(found.polls >= 2, "{found:?}");
    enumerate(async |(_, client)| client.run(&Statement::read(1)).await).await.unwrap();
    enumerate(async |(_, client)| {
        let (first, second) = (Statement::append(1), Statement::read(2));
        tokio::join!(client.run(&first), client.run(&second))
    })
    .await
    .unwrap();
}

/// Goes around every call, so that the call takes the nested path.
#[derive(Clone, Debug)]
struct Around;

impl PluginFactory for Around {
    fn name(&self) -> &'static str {
        "around"
    }
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Plugin for Around {
    fn name(&self) -> &'static str {
        "around"
    }
    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }
    fn subscriptions(&self) -> MethodSet {
        MethodSet::EXECUTE
    }
    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<()> {
        let env = cx.session().cluster().env().clone();
        env.sleep(Duration::from_millis(1)).await;
        let result = next.run(cx).await;
        env.sleep(Duration::from_millis(1)).await;
        result
    }
}

#[tokio::test(start_paused = true)]
async fn calls_through_a_nested_chain_and_under_a_socket_timeout() {
    for (timeout, takes) in [("off", 50), ("20ms", 5), ("20ms", 500)] {
        let found = enumerate_cancellations(
            async || {
                let mut settings = Settings::builder();
                if timeout != "off" {
                    settings = settings.set("socket_timeout", timeout);
                }
                let cluster = ScriptedCluster::new(3, 11);
                let stage = Stage::with_settings(cluster, settings, vec![Arc::new(Around)]).unwrap();
                let client = stage.client().await.unwrap();
                (stage, client)
            },
            async |(_, client)| client.run(&Statement::append(1).taking(Duration::from_millis(takes))).await,
            async |(stage, client), _| {
                stage.check_next_user(&client).await?;
                stage.check_at_rest(client).await
            },
        )
        .await
        .unwrap_or_else(|poisoned| panic!("{timeout} {takes}: {poisoned}"));
        assert!(found.polls >= 4, "{found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_are_whole_or_gone() {
    for ending in ["commit", "rollback", "drop"] {
        let found = enumerate_cancellations(
            world,
            async |(_, client)| {
                let transaction = client.begin(1).await?;
                transaction.run(&Statement::add(2, 1, -5)).await?;
                transaction.run(&Statement::add(3, 2, 5)).await?;
                match ending {
                    "commit" => transaction.commit(4).await.map(|_| ()),
                    "rollback" => transaction.rollback(4).await.map(|_| ()),
                    _ => Ok(()),
                }
            },
            async |(stage, client), at| {
                stage.check_next_user(&client).await?;
                let written: Vec<u64> = stage
                    .cluster()
                    .log()
                    .iter()
                    .map(|written| written.statement)
                    .filter(|n| *n < 10)
                    .collect();
                let whole = ending == "commit" && written == [2, 3];
                let gone = written.is_empty() && (ending != "commit" || !matches!(at, DropPoint::Ended(_)));
                if !whole && !gone {
                    return Err(format!("half a transaction is there: {written:?}"));
                }
                stage.check_at_rest(client).await
            },
        )
        .await
        .unwrap_or_else(|poisoned| panic!("{ending}: {poisoned}"));
        assert!(found.drops >= 6, "{found:?}");
    }
}

async fn none_yet() -> Stage {
    Stage::new(ScriptedCluster::new(3, 11), Vec::new()).unwrap()
}

/// After whatever was dropped, sessions can be opened and used, and nothing is left of what was not handed out.
async fn opens(stage: Stage) -> Result<(), String> {
    stage.cluster().env().sleep(Duration::from_secs(1)).await;
    let open = stage.cluster().sessions().open;
    if open != 0 {
        return Err(format!("{open} sockets of a connect that was dropped"));
    }
    let client = stage.client().await.map_err(|error| format!("the next connect fails: {error}"))?;
    stage.check_next_user(&client).await?;
    stage.check_at_rest(client).await
}

#[tokio::test(start_paused = true)]
async fn a_connect_closes_what_it_opened() {
    let found = enumerate_cancellations(
        none_yet,
        async |stage| stage.open().await,
        async |stage, _| opens(stage).await,
    )
    .await
    .unwrap();
    assert!(found.polls >= 3, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_to_a_silent_host_closes_what_it_opened() {
    enumerate_cancellations(
        async || {
            let stage = none_yet().await;
            stage.cluster().freeze(0);
            stage
        },
        async |stage| stage.open().await.map(drop),
        async |stage, _| {
            stage.cluster().thaw(0);
            opens(stage).await
        },
    )
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn verified_connects_of_every_role() {
    for role in [HostRole::Unknown, HostRole::Writer, HostRole::Reader] {
        let found = enumerate(async |(stage, client)| {
            let (cluster, chain) = (stage.core().cluster(), client.session().chain());
            cluster.connect_verified(chain, &stage.cluster().host(1), role, soon()).await.map(drop)
        })
        .await
        .unwrap_or_else(|poisoned| panic!("{role}: {poisoned}"));
        assert!(found.polls >= 4, "{found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn learning_the_topology_and_searching_the_writer() {
    enumerate(async |(stage, client)| {
        let core = stage.core().cluster().core();
        core.learn_topology(&erased(client), soon()).await.unwrap();
    })
    .await
    .unwrap();
    for plan in
        [FailoverPlan::crash(1), FailoverPlan::switchover(2), FailoverPlan::crash(1).old(Abandon::Freezes)]
    {
        let found = enumerate_cancellations(
            async || {
                let (stage, client) = world().await;
                let core = stage.core().cluster().core();
                core.learn_topology(&erased(&client), soon()).await.unwrap();
                let cluster = stage.cluster().clone();
                tokio::spawn(async move { cluster.fail_over(plan).await });
                (stage, client)
            },
            async |(stage, _)| stage.core().cluster().core().search_writer(soon()).await.map(drop),
            async |(stage, client), _| {
                // What the search found is there for the next one; the client's host is gone.
                let found = stage.core().cluster().core().search_writer(soon()).await;
                found.map_err(|error| format!("the next search fails: {error}"))?;
                stage.check_at_rest(client).await
            },
        )
        .await
        .unwrap_or_else(|poisoned| panic!("{plan:?}: {poisoned}"));
        assert!(found.polls >= 2, "{found:?}");
    }
}

/// Opens a connection to one host.
struct To {
    host: usize,
    cluster: ScriptedCluster,
}

#[async_trait]
impl Search for To {
    async fn find(&mut self, cx: &SwitchContext) -> Result<Connected> {
        let host = self.cluster.host(self.host);
        cx.cluster.connect_verified(&cx.chain, &host, HostRole::Unknown, cx.deadline).await
    }
}

async fn switch(stage: &Stage, client: &FakeClient) -> Result<()> {
    let reason = Error::new(ErrorKind::Network, "the test says so");
    let plan = SwitchPlan {
        failed: client.session().current(),
        cause: reason.clone(),
        disposal: Disposal::Kill(reason),
        deadline: soon(),
        search: Box::new(To { host: 1, cluster: stage.cluster().clone() }),
    };
    SessionSeam::switch(&**client.session(), plan).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_switch_goes_on_without_its_callers() {
    // Both are on a reader then, which refuses the write of the check: the host is made one that takes it.
    let check = async |(stage, client): (Stage, FakeClient), at: DropPoint| {
        stage.cluster().env().sleep(Duration::from_secs(1)).await;
        let generation = client.session().load().generation;
        let wanted = if at == DropPoint::Unpolled { 1 } else { 2 };
        if generation != wanted {
            return Err(format!("the session stands on generation {generation}, not on {wanted}"));
        }
        stage.cluster().fail_over(FailoverPlan::crash(1).old(Abandon::Unaware)).await;
        stage.check_next_user(&client).await?;
        stage.check_at_rest(client).await
    };
    let found = enumerate_cancellations(world, async |(stage, client)| switch(stage, client).await, check)
        .await
        .unwrap();
    assert!(found.polls >= 2, "{found:?}");
    enumerate_cancellations(
        world,
        async |(stage, client)| {
            // Two callers of one generation share the flight; dropping both does not end it.
            let (first, second) = tokio::join!(switch(stage, client), switch(stage, client));
            first.and(second)
        },
        check,
    )
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_switch_ends_with_its_session() {
    enumerate_cancellations(
        async || {
            let (stage, client) = world().await;
            stage.cluster().freeze(1);
            (stage, client)
        },
        async |(stage, client)| {
            let wait = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                client.session().close();
            };
            tokio::join!(switch(stage, client), wait)
        },
        async |(stage, client), _| stage.check_at_rest(client).await,
    )
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_goes_on() {
    enumerate_cancellations(
        async || {
            let (stage, client) = world().await;
            let core = stage.core().cluster().core();
            core.learn_topology(&erased(&client), soon()).await.unwrap();
            stage.cluster().env().sleep(Duration::from_millis(5)).await;
            (stage, client)
        },
        async |(stage, _)| stage.core().shutdown().await,
        async |(stage, client), at| {
            stage.cluster().env().sleep(Duration::from_secs(1)).await;
            let tasks = stage.core().cluster().task_count();
            if at != DropPoint::Unpolled && tasks != 0 {
                return Err(format!("{tasks} tasks go on after the shutdown"));
            }
            stage.check_next_user(&client).await?;
            stage.check_at_rest(client).await
        },
    )
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn turns_of_monitors_go_to_the_next_one() {
    let crowded = async || {
        let settings = Settings::builder().set("max_monitor_connections", "1");
        let stage = Stage::with_settings(ScriptedCluster::new(3, 11), settings, Vec::new()).unwrap();
        let held = stage.core().cluster().budget().permit().await.unwrap();
        let env = stage.cluster().env().clone();
        let released = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&released);
        tokio::spawn(async move {
            env.sleep(Duration::from_millis(10)).await;
            drop::<MonitorPermit>(held);
            count.fetch_add(1, Ordering::Relaxed);
        });
        stage
    };
    let next = async |stage: Stage, _: DropPoint| {
        let opened = stage.core().cluster().core().open_monitor(&stage.cluster().host(0), soon()).await;
        drop(opened.map_err(|error| format!("the next one has no turn: {error}"))?);
        stage.check_at_rest(()).await
    };
    enumerate_cancellations(
        crowded,
        async |stage| stage.core().cluster().budget().permit().await.map(drop),
        next,
    )
    .await
    .unwrap();
    let found = enumerate_cancellations(
        crowded,
        async |stage| {
            stage.core().cluster().core().open_monitor(&stage.cluster().host(0), soon()).await.map(drop)
        },
        next,
    )
    .await
    .unwrap();
    assert!(found.polls >= 4, "{found:?}");
}
