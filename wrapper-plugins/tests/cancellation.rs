//! Each plugin's connects, calls and recoveries, dropped at each of their await points (R6): under a crash, a silent
//! host and a switchover, alone and all together.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::Result;
use wrapper_core::config::Settings;
use wrapper_core::plugin::PluginFactory;
use wrapper_core::testkit::{
    Abandon, DropPoint, Enumeration, FailoverPlan, FakeClient, ScriptedCluster, Stage, Statement,
    enumerate_cancellations,
};
use wrapper_plugins::connection_tracker::ConnectionTracker;
use wrapper_plugins::efm::HostMonitoring;
use wrapper_plugins::failover::Failover;
use wrapper_plugins::initial_connection::InitialConnection;

/// The sets of plugins that are tried: each alone, and the default set.
const SETS: [&[&str]; 5] = [
    &["failover"],
    &["efm"],
    &["connection_tracker"],
    &["initial_connection"],
    &["initial_connection", "connection_tracker", "failover", "efm"],
];

fn plugin(name: &str) -> Arc<dyn PluginFactory> {
    match name {
        "failover" => Arc::new(Failover::new()),
        "efm" => Arc::new(HostMonitoring::new()),
        "connection_tracker" => Arc::new(ConnectionTracker::new()),
        _ => Arc::new(InitialConnection::new()),
    }
}

/// What happens to the cluster while the operation runs.
#[derive(Clone, Copy, Debug)]
enum Day {
    Quiet,
    Crash,
    Freeze,
    Switchover,
    /// The old writer does not know that it is one no more.
    Unaware,
}

const BAD_DAYS: [Day; 4] = [Day::Crash, Day::Freeze, Day::Switchover, Day::Unaware];

impl Day {
    fn plan(self) -> Option<FailoverPlan> {
        let mut plan = match self {
            Day::Quiet => return None,
            Day::Crash => FailoverPlan::crash(1),
            Day::Freeze => FailoverPlan::crash(1).old(Abandon::Freezes),
            Day::Switchover => FailoverPlan::switchover(1),
            Day::Unaware => FailoverPlan::crash(1).old(Abandon::Unaware),
        };
        plan.promotion = Duration::from_millis(40);
        plan.stale_dns = Duration::from_millis(500);
        Some(plan)
    }

    fn begins(self, cluster: &ScriptedCluster, after: Duration) {
        let (Some(plan), cluster) = (self.plan(), cluster.clone()) else { return };
        tokio::spawn(async move {
            cluster.env().sleep(after).await;
            cluster.fail_over(plan).await;
            // Without host monitoring a silent host is waited for until it speaks again.
            cluster.env().sleep(Duration::from_millis(300)).await;
            cluster.thaw(0);
        });
    }
}

fn stage(set: &[&str]) -> Stage {
    let settings = Settings::builder()
        .set("connect_timeout", "5s")
        .set("failover_timeout", "10s")
        .set("failure_detection_time", "30ms")
        .set("failure_detection_interval", "20ms")
        .set("failure_detection_count", "3");
    let plugins = set.iter().map(|name| plugin(name)).collect();
    Stage::with_settings(ScriptedCluster::new(3, 23), settings, plugins).unwrap()
}

/// A world with one client, on which `day` breaks after 5 ms.
async fn world(set: &[&str], day: Day) -> (Stage, FakeClient) {
    let stage = stage(set);
    let client = stage.client().await.unwrap();
    day.begins(stage.cluster(), Duration::from_millis(5));
    (stage, client)
}

/// The bad day passes, then the next user comes, then everything ends.
async fn judge(stage: Stage, client: FakeClient, set: &[&str]) -> Result<(), String> {
    stage.cluster().env().sleep(Duration::from_secs(1)).await;
    stage.cluster().thaw(0);
    stage.check_next_user(&client).await?;
    if set.contains(&"failover") && client.session().is_closed() {
        return Err("the session was not switched for the next user".to_owned());
    }
    stage.check_at_rest(client).await
}

async fn enumerate<T>(set: &[&str], day: Day, operation: impl AsyncFn(&FakeClient) -> T) -> Enumeration {
    let found = enumerate_cancellations(
        async || world(set, day).await,
        async |(_, client)| operation(client).await,
        async |(stage, client), _| judge(stage, client, set).await,
    )
    .await;
    found.unwrap_or_else(|poisoned| panic!("{set:?} on a day of {day:?}: {poisoned}"))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_bad_day_meets() {
    for set in SETS {
        for day in BAD_DAYS {
            let statement = Statement::append(1).taking(Duration::from_millis(200));
            let found = enumerate(set, day, async |client| client.run(&statement).await).await;
            assert!(found.polls >= 2, "{set:?} {day:?} {found:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_a_bad_day_meets() {
    for set in SETS {
        for day in BAD_DAYS {
            let found = enumerate(set, day, async |client| -> Result<()> {
                let transaction = client.begin(1).await?;
                transaction.run(&Statement::add(2, 1, -5).taking(Duration::from_millis(100))).await?;
                transaction.run(&Statement::add(3, 2, 5)).await?;
                transaction.commit(4).await.map(|_| ())
            })
            .await;
            assert!(found.polls >= 3, "{set:?} {day:?} {found:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_call_after_a_bad_day() {
    // An idle session learns of the day by its next call: refused by the tracker, or by a socket that is gone.
    for set in SETS {
        for day in BAD_DAYS {
            enumerate_cancellations(
                async || {
                    let (stage, client) = world(set, day).await;
                    stage.cluster().env().sleep(Duration::from_millis(300)).await;
                    (stage, client)
                },
                async |(_, client)| client.run(&Statement::append(1)).await,
                async |(stage, client), _| judge(stage, client, set).await,
            )
            .await
            .unwrap_or_else(|poisoned| panic!("{set:?} after a day of {day:?}: {poisoned}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_only_error_and_the_question_for_the_role() {
    // The writer was made a reader under an open connection, which stays.
    for set in SETS {
        enumerate_cancellations(
            async || {
                let (stage, client) = world(set, Day::Quiet).await;
                stage.cluster().fail_over(FailoverPlan::crash(1).old(Abandon::Unaware)).await;
                stage.cluster().set_role(0, wrapper_core::host::HostRole::Reader);
                (stage, client)
            },
            async |(_, client)| client.run(&Statement::append(1)).await,
            async |(stage, client), _| {
                let set_back = stage.cluster();
                if !set.contains(&"failover") {
                    set_back.set_role(0, wrapper_core::host::HostRole::Writer);
                }
                judge(stage, client, set).await
            },
        )
        .await
        .unwrap_or_else(|poisoned| panic!("{set:?}: {poisoned}"));
    }
}

/// The connect was dropped: no socket stays, and the next connect works.
async fn opens(stage: Stage) -> Result<(), String> {
    stage.cluster().env().sleep(Duration::from_secs(2)).await;
    stage.cluster().thaw(0);
    let open = stage.cluster().sessions().open;
    if open != 0 {
        return Err(format!("{open} sockets of a connect that was dropped"));
    }
    let client = stage.client().await.map_err(|error| format!("the next connect fails: {error}"))?;
    stage.check_next_user(&client).await?;
    stage.check_at_rest(client).await
}

#[tokio::test(start_paused = true)]
async fn a_first_connect_on_any_day() {
    for set in SETS {
        for day in [Day::Quiet, Day::Crash, Day::Freeze, Day::Switchover] {
            for begins in [0, 2] {
                enumerate_cancellations(
                    async || {
                        let stage = stage(set);
                        day.begins(stage.cluster(), Duration::from_millis(begins));
                        tokio::task::yield_now().await;
                        stage
                    },
                    async |stage| stage.open().await.map(drop),
                    async |stage, _| opens(stage).await,
                )
                .await
                .unwrap_or_else(|poisoned| panic!("{set:?} on a day of {day:?}: {poisoned}"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_connect_with_a_known_topology_on_any_day() {
    for set in SETS {
        for day in [Day::Crash, Day::Freeze, Day::Switchover] {
            enumerate_cancellations(
                async || {
                    let stage = stage(set);
                    drop(stage.client().await.unwrap());
                    day.begins(stage.cluster(), Duration::ZERO);
                    stage.cluster().env().sleep(Duration::from_millis(10)).await;
                    stage
                },
                async |stage| stage.open().await.map(drop),
                async |stage, _| opens(stage).await,
            )
            .await
            .unwrap_or_else(|poisoned| panic!("{set:?} on a day of {day:?}: {poisoned}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_callers_of_one_lost_connection() {
    let set = SETS[4];
    for day in BAD_DAYS {
        let found = enumerate(set, day, async |client| {
            let (first, second) = (Statement::append(1), Statement::append(2));
            let (first, second) =
                (first.taking(Duration::from_millis(60)), second.taking(Duration::from_millis(60)));
            tokio::join!(client.run(&first), client.run(&second))
        })
        .await;
        assert!(found.polls >= 3, "{day:?} {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_the_middle_of_a_failover() {
    for set in SETS {
        for day in BAD_DAYS {
            enumerate_cancellations(
                async || {
                    let (stage, client) = world(set, day).await;
                    let caller = client.clone();
                    tokio::spawn(async move {
                        let _ = caller.run(&Statement::append(1).taking(Duration::from_millis(20))).await;
                    });
                    stage.cluster().env().sleep(Duration::from_millis(30)).await;
                    (stage, client)
                },
                async |(stage, _)| stage.core().shutdown().await,
                async |(stage, client), at| {
                    stage.cluster().env().sleep(Duration::from_secs(12)).await;
                    stage.cluster().thaw(0);
                    let tasks = stage.core().cluster().task_count();
                    if at != DropPoint::Unpolled && tasks > 0 {
                        return Err(format!("{tasks} tasks go on after the shutdown"));
                    }
                    stage.check_at_rest(client).await
                },
            )
            .await
            .unwrap_or_else(|poisoned| panic!("{set:?} on a day of {day:?}: {poisoned}"));
        }
    }
}
