//! Tasks, probe connections, budget: what is there when, and that it goes away.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wrapper_core::ErrorKind;
use wrapper_core::plugin::{MethodSet, OrderClass};
use wrapper_core::testkit::Door;

use super::world::{HOST, OTHER, World, ms};
use crate::efm::HostMonitoring;

fn monitoring() -> HostMonitoring {
    HostMonitoring::new().grace(ms(1000)).interval(ms(200)).count(3)
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_leaves_nothing_behind() {
    let world = World::new();
    world.server().freeze();
    let client = world.client(&monitoring());
    for wait in [0, 1, 999, 1001, 1100, 1300, 1599] {
        assert!(timeout(ms(wait), client.query(None)).await.is_err());
        assert_eq!(world.monitors().watched(), 0);
    }
    sleep(Duration::from_secs(60)).await;
    assert!(!client.session().is_closed(), "nobody was waiting when the series would have ended");
    assert_eq!(world.log.silent(), 0);
    assert_eq!((world.server().open(), world.monitors().probing()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn short_calls_are_not_probed_for() {
    let world = World::new();
    let client = world.client(&monitoring());
    for _ in 0..2000 {
        client.query(ms(10)).await.unwrap();
    }
    assert_eq!(world.server().connects(), 0);
    assert_eq!(world.monitors().monitors(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_short_calls_share_one_connection_and_one_probe_an_interval() {
    let world = World::new();
    let client = world.client(&monitoring().grace(Duration::ZERO));
    for _ in 0..1000 {
        client.query(ms(10)).await.unwrap();
    }
    let pings = world.server().pings();
    assert_eq!(world.server().connects(), 1);
    assert!((40..=60).contains(&pings), "{pings} pings in 10 s");
}

#[tokio::test(start_paused = true)]
async fn the_probe_connection_is_closed_an_interval_after_the_last_long_call() {
    let world = World::new();
    let client = world.client(&monitoring());
    let call = client.start(ms(2000));
    sleep(ms(900)).await;
    assert_eq!((world.server().open(), world.cluster.budget().used()), (0, 0));
    sleep(ms(600)).await;
    assert_eq!((world.server().open(), world.cluster.budget().used()), (1, 1));
    assert_eq!(world.monitors().probing(), 1);
    call.end().await.0.unwrap();
    sleep(ms(201)).await;
    assert_eq!((world.server().open(), world.cluster.budget().used()), (0, 0));
    assert_eq!(world.monitors().probing(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_ends_after_the_disposal_time_and_comes_back() {
    let world = World::new();
    let client = world.client(&monitoring());
    client.query(ms(5)).await.unwrap();
    assert_eq!((world.monitors().monitors(), world.cluster.task_count()), (1, 1));
    sleep(Duration::from_secs(590)).await;
    client.query(ms(5)).await.unwrap();
    sleep(Duration::from_secs(590)).await;
    assert_eq!(world.cluster.task_count(), 1, "the second call has renewed it");
    sleep(Duration::from_secs(20)).await;
    assert_eq!((world.monitors().monitors(), world.cluster.task_count()), (0, 0));
    world.server().freeze();
    assert_eq!(client.query(None).await.unwrap_err().kind(), ErrorKind::HostSilent);
    assert_eq!(world.monitors().monitors(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_longer_than_the_disposal_time_keeps_its_monitor() {
    let world = World::new();
    let client = world.client(&monitoring().disposal_time(ms(500)));
    let call = client.start(None);
    sleep(Duration::from_secs(600)).await;
    world.server().freeze();
    call.silent_at().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_cluster_ends_monitors_and_probes() {
    // By shutdown, in every state of the monitor.
    for at in [1, 500, 1005, 1100, 1500] {
        let world = World::new();
        let client = world.client(&monitoring());
        let call = client.start(None);
        sleep(ms(at)).await;
        world.cluster.shutdown().await;
        assert_eq!((world.cluster.task_count(), world.monitors().monitors()), (0, 0));
        assert_eq!((world.server().open(), world.cluster.budget().used()), (0, 0));
        // Calls go on, unwatched by any task.
        world.client(&monitoring()).query(ms(5)).await.unwrap();
        assert_eq!((world.cluster.task_count(), world.monitors().monitors()), (0, 0));
        call.abort();
    }
    // By dropping the last handle: neither plugin nor monitor keeps the cluster alive.
    let world = World::new();
    let client = world.client(&monitoring());
    let call = client.start(None);
    sleep(ms(1500)).await;
    let (server, core) = (world.server(), std::sync::Arc::downgrade(world.cluster.core()));
    assert_eq!(server.open(), 1);
    call.abort();
    drop((world, client));
    sleep(ms(1)).await;
    assert_eq!(server.open(), 0);
    assert!(core.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_is_no_silence() {
    let world = World::with_cap(1);
    let taken = world.cluster.budget().permit().await.unwrap();
    let call = world.client(&monitoring()).start(None);
    sleep(Duration::from_secs(60)).await;
    world.server().freeze();
    sleep(Duration::from_secs(60)).await;
    assert!(!call.is_finished());
    assert_eq!((world.log.silent(), world.server().connects()), (0, 0));
    assert_eq!(world.log.warnings("max_monitor_connections"), 1);
    drop(taken);
    let freed = Instant::now();
    assert!(call.silent_at().await - freed <= ms(650));
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_probes_take_turns() {
    let world = World::with_cap(1);
    let here = world.client_on(HOST, &monitoring()).start(None);
    let there = world.client_on(OTHER, &monitoring()).start(ms(60_000));
    sleep(Duration::from_secs(30)).await;
    let pings = [HOST, OTHER].map(|host| world.server_of(host).pings());
    assert!(pings.iter().all(|pings| *pings >= 100), "{pings:?}");
    world.server().freeze();
    here.silent_at().await;
    assert!(there.end().await.0.is_ok());
    assert_eq!(world.log.silent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_probe_is_survived() {
    let world = World::new();
    world.server().set_door(Door::Panics);
    let client = world.client(&monitoring());
    let call = client.start(None);
    sleep(Duration::from_secs(20)).await;
    let restarts = world.log.restarts();
    assert!((5..=12).contains(&restarts), "{restarts} restarts in 19 s: pauses grow");
    assert_eq!(world.cluster.budget().used(), 0);
    world.server().set_door(Door::Open);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.server().open(), 1);
    world.server().freeze();
    call.silent_at().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_kill_does_not_save_the_others() {
    let world = World::new();
    let calls = (0..3).map(|_| {
        let client = world.client(&monitoring());
        client.connection.panic_when_killed();
        client.start(None)
    });
    let calls: Vec<_> = calls.collect();
    world.server().freeze();
    for call in calls {
        call.silent_at().await;
    }
    assert_eq!(world.log.restarts(), 0);
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_subscribes_to_nothing() {
    let world = World::new();
    let plugin = world.build(&monitoring().enabled(false)).unwrap();
    assert_eq!((plugin.name(), plugin.subscriptions()), ("efm", MethodSet::NONE));
    assert_eq!(plugin.class(), OrderClass::Monitoring);
    let client = world.client(&monitoring().enabled(false));
    world.server().freeze();
    assert!(timeout(Duration::from_secs(600), client.query(None)).await.is_err());
    assert_eq!(world.cluster.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_range_are_refused_by_name() {
    let world = World::new();
    let wrong = [
        (monitoring().interval(Duration::ZERO), "`failure_detection_interval=0ns`"),
        (monitoring().interval(Duration::from_micros(10)), "`failure_detection_interval=10µs`"),
        (monitoring().count(0), "`failure_detection_count=0`"),
        (monitoring().disposal_time(Duration::ZERO), "`monitor_disposal_time=0ns`"),
        (monitoring().connect_timeout(Duration::ZERO), "`monitoring_connect_timeout=0ns`"),
    ];
    for (monitoring, part) in wrong {
        let error = world.build(&monitoring).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(part) && error.message().contains("at least"), "{error}");
    }
    let never = monitoring().grace(Duration::MAX).interval(Duration::MAX).disposal_time(Duration::MAX);
    world.client(&never.connect_timeout(Duration::MAX)).query(ms(5)).await.unwrap();
}
