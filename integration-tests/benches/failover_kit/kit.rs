//! One failover per seed on the test kit's scripted cluster, under paused time: how long after the cluster accepts
//! writes again the client's first write is acknowledged.
//!
//! What lives here: the runs. What may not: printing, checking.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use wrapper_core::config::Settings;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::session::SessionOptions;
use wrapper_core::testkit::{
    Abandon, FailoverPlan, FakeClient, FakeConnection, ScriptedCluster, Statement, parts,
};

/// The pause between two writes.
const EVERY: Duration = Duration::from_millis(10);

/// How the writer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Crash,
    Planned,
    Freeze,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From the moment when the cluster accepts writes again to the first acknowledged write, in milliseconds.
    pub(crate) late: f64,
    /// From the loss of the writer to the first acknowledged write, in milliseconds.
    pub(crate) downtime: f64,
    /// Acknowledged writes that the store does not hold.
    pub(crate) lost: usize,
}

fn between(draw: &mut fastrand::Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(draw.u64(from..=to))
}

/// The phases of this seed: the promotion's end falls anywhere between the library's questions; topology late by up to two
/// seconds, DNS by 30 s, round trips of 0.2 to 2 ms.
fn plan(loss: Loss, restarts: bool, draw: &mut fastrand::Rng) -> FailoverPlan {
    let to = draw.usize(1..3);
    let mut plan = match loss {
        Loss::Crash => FailoverPlan::crash(to),
        Loss::Planned => FailoverPlan::switchover(to),
        Loss::Freeze => FailoverPlan::crash(to).old(Abandon::Freezes),
    };
    plan.promotion = match loss {
        Loss::Crash => between(draw, 300, 900),
        Loss::Planned => between(draw, 300, 900),
        Loss::Freeze => Duration::from_millis(1),
    };
    plan.restart = restarts.then(|| between(draw, 100, 400));
    plan.stale_topology = between(draw, 0, 2000);
    plan.stale_dns = Duration::from_secs(30);
    plan
}

/// One run. The same arguments give the same result.
pub(crate) fn run(loss: Loss, restarts: bool, seed: u64) -> Result<Run, wrapper_core::Error> {
    // Nothing is lost by short promotions: the search asks at the same pace for its first 30 s.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    #[allow(clippy::expect_used, reason = "no runtime, no measurement")]
    runtime.expect("a runtime").block_on(on_the_kit(loss, restarts, seed))
}

async fn on_the_kit(loss: Loss, restarts: bool, seed: u64) -> Result<Run, wrapper_core::Error> {
    let mut draw = fastrand::Rng::with_seed(seed);
    let cluster = ScriptedCluster::new(3, seed);
    for host in 0..3 {
        cluster.set_latency(host, Duration::from_micros(draw.u64(200..=2000)));
    }
    let settings = Settings::builder()
        .set("failure_detection_time", "1s")
        .set("failure_detection_interval", "200ms")
        .set("failure_detection_count", "3");
    let mut made = parts(&cluster, settings, Vec::new(), Vec::new())?;
    made.registry = wrapper_plugins::registry();
    made.default_plugins = wrapper_plugins::default_plugins();
    let core = ConnectorCore::new(made)?;
    let client = FakeClient::new(core.open::<FakeConnection>(SessionOptions::default()).await?);

    let acked = RefCell::new(Vec::new());
    let env = cluster.env();
    let begun = env.now();
    let writing = async {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1_u64.. {
            ticks.tick().await;
            if client.run(&Statement::append(number)).await.is_ok() {
                acked.borrow_mut().push((number, env.now(), client.session().load().generation));
            }
        }
    };
    let losing = async {
        env.sleep(between(&mut draw, 100, 200)).await;
        let lost_at = env.now();
        cluster.fail_over(plan(loss, restarts, &mut draw)).await;
        let accepts = env.now();
        while acked.borrow().last().is_none_or(|(_, _, generation)| *generation < 2) {
            env.sleep(EVERY).await;
            if accepts.elapsed() > Duration::from_secs(600) {
                break;
            }
        }
        env.sleep(EVERY * 20).await;
        (lost_at, accepts)
    };
    let (lost_at, accepts) = tokio::select! {
        biased;
        moments = losing => moments,
        () = writing => unreachable!("it writes for ever"),
    };
    let acked = acked.into_inner();
    let first = acked.iter().find(|(_, _, generation)| *generation > 1).map(|(_, at, _)| *at);
    let log: std::collections::BTreeSet<u64> =
        cluster.log().iter().map(|written| written.statement).collect();
    let lost = acked.iter().filter(|(number, ..)| !log.contains(number)).count();
    drop(client);
    core.shutdown().await;
    let since = |from: tokio::time::Instant| {
        first.map_or(f64::INFINITY, |first| (first - begun).as_secs_f64() - (from - begun).as_secs_f64())
            * 1000.0
    };
    Ok(Run { late: since(accepts), downtime: since(lost_at), lost })
}
