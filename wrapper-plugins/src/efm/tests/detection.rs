//! When a silent host is found: never later than the formula says, never before the rule allows it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wrapper_core::ErrorKind;
use wrapper_core::testkit::Door;

use super::world::{World, ms};
use crate::efm::HostMonitoring;

/// What timers and the driver may add.
const SLACK: Duration = Duration::from_millis(50);

fn monitoring(grace: u64, interval: u64, count: u32) -> HostMonitoring {
    HostMonitoring::new().grace(ms(grace)).interval(ms(interval)).count(count)
}

fn probe_timeout(interval: u64) -> u64 {
    interval.min(3000)
}

/// One outage: a call starts, the server freezes `outage` after it (before it when negative). With `phase`, another
/// call has been waiting for that long already, so that probes are under way. Returns the time that detection took
/// and the longest that it may take.
async fn outage(
    grace: u64,
    interval: u64,
    count: u32,
    outage: i64,
    phase: Option<u64>,
) -> (Duration, Duration) {
    let world = World::new();
    let server = world.server();
    server.set_connect_time(ms(interval / 3));
    let monitoring = monitoring(grace, interval, count);
    let other = world.client(&monitoring);
    let other = phase.map(|_| other.start(None));
    sleep(ms(phase.unwrap_or(0))).await;
    if outage < 0 {
        server.freeze();
        sleep(ms(outage.unsigned_abs())).await;
    }
    let began = Instant::now();
    let call = world.client(&monitoring).start(None);
    let mut frozen = began;
    if outage >= 0 {
        sleep(ms(outage.unsigned_abs())).await;
        server.freeze();
        frozen = Instant::now();
    }
    let from = frozen.max(began);
    let grace_left = ms(grace).saturating_sub(from - began);
    let at = call.silent_at().await;
    // A call that the other one's verdict has spared keeps its whole grace.
    assert!(at - began >= ms(grace), "killed {:?} after its start", at - began);
    if let Some(other) = other {
        other.silent_at().await;
    }
    world.cluster.shutdown().await;
    let (interval, timeout) = (ms(interval), ms(probe_timeout(interval)));
    let bound = grace_left.max(interval) + (count - 1) * interval.max(timeout) + timeout + SLACK;
    (at - from, bound)
}

#[tokio::test(start_paused = true)]
async fn detection_keeps_to_the_formula() {
    let mut runs = 0;
    for grace in [0, 30, 1000, 30_000] {
        for interval in [60, 200, 1000, 5000] {
            for count in [1, 2, 3, 5] {
                let (g, i) = (grace as i64, interval as i64);
                let outages = [
                    -3 * i,
                    -1,
                    0,
                    1,
                    g / 2,
                    g - 1,
                    g,
                    g + 1,
                    g + i / 6,
                    g + i / 3 + 1,
                    g + i / 3 + 3,
                    g + i / 2,
                    g + i - 1,
                    g + i,
                    g + i + 1,
                    g + i + i / 2,
                    g + 4 * i + i / 7,
                ];
                for at in outages {
                    for phase in
                        [None, Some(interval / 4), Some(grace + interval / 3), Some(grace + 2 * interval)]
                    {
                        let (took, bound) = outage(grace, interval, count, at, phase).await;
                        assert!(
                            took <= bound,
                            "{took:?} > {bound:?}: {grace}/{interval}/{count}, outage at {at}, phase {phase:?}"
                        );
                        runs += 1;
                    }
                }
            }
        }
    }
    assert_eq!(runs, 4 * 4 * 4 * 17 * 4);
}

#[tokio::test(start_paused = true)]
async fn detection_keeps_to_the_formula_with_a_connect_slower_than_the_interval() {
    let (grace, interval, limit) = (500, 100, 1000);
    for (connect, count) in [(20, 3), (90, 1), (350, 1), (350, 3), (990, 3)] {
        for at in (0..3000).step_by(37) {
            let world = World::new();
            let server = world.server();
            server.set_connect_time(ms(connect));
            let client = world.client(&monitoring(grace, interval, count).connect_timeout(ms(limit)));
            let call = client.start(None);
            sleep(ms(at)).await;
            server.freeze();
            let frozen = Instant::now();
            let took = call.silent_at().await - frozen;
            let bound = ms(grace.saturating_sub(at).max(interval)) + count * ms(limit) + SLACK;
            assert!(took <= bound, "{took:?} > {bound:?}: connect {connect}, count {count}, outage at {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_verdict_needs_the_whole_series() {
    // Nothing was wrong before the freeze, so a verdict takes at least `count` probes and their limits.
    for (interval, count) in [(200, 3), (1000, 5), (5000, 3)] {
        let (took, _) = outage(100, interval, count, 100 + 3 * interval as i64, None).await;
        let least = (count - 1) * ms(interval) + ms(probe_timeout(interval)) - ms(2);
        assert!(took >= least, "{took:?} < {least:?} at {interval}/{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_bar_of_one_second_and_a_fifth_and_three() {
    let (took, _) = outage(1000, 200, 3, 0, None).await;
    assert!(took <= ms(1000 + 2 * 200 + 200 + 50), "{took:?}");
    let (took, _) = outage(1000, 200, 3, 5000, None).await;
    assert!(took <= ms(200 + 2 * 200 + 200 + 50), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_error_says_what_was_silent_and_by_which_settings() {
    let world = World::new();
    world.server().freeze();
    let client = world.client(&monitoring(1000, 200, 3));
    let error = client.query(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostSilent);
    let text = error.to_string();
    for part in [
        "instance-1.xyz.us-east-2.rds.amazonaws.com:5432 is silent",
        "3 probes in a row",
        "`failure_detection_time=1s`",
        "`failure_detection_interval=200ms`",
        "`failure_detection_count=3`",
        "`monitoring_connect_timeout`",
    ] {
        assert!(text.contains(part), "{part} not in: {text}");
    }
    assert_eq!(world.log.silent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_healthy_slow_query_is_never_closed() {
    let world = World::new();
    let client = world.client(&monitoring(100, 50, 1));
    assert!(client.query(Duration::from_secs(1800)).await.is_ok());
    assert_eq!(world.log.silent(), 0);
    // One probe an interval, on one connection.
    assert_eq!(world.server().connects(), 1);
    let pings = world.server().pings();
    assert!((35_900..=36_000).contains(&pings), "{pings} pings in 1800 s");
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_resets_nothing_but_the_count() {
    let world = World::new();
    let server = world.server();
    let client = world.client(&monitoring(100, 200, 3));
    let call = client.start(None);
    for _ in 0..20 {
        sleep(ms(1000)).await;
        server.freeze();
        sleep(ms(390)).await;
        server.thaw();
    }
    assert!(!call.is_finished());
    assert_eq!(world.log.silent(), 0);
    server.freeze();
    call.silent_at().await;
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_is_a_failed_probe() {
    let world = World::new();
    world.server().set_door(Door::Hangs);
    let began = Instant::now();
    let call = world.client(&monitoring(1000, 200, 3)).start(None);
    let took = call.silent_at().await - began;
    assert!((ms(1600)..=ms(1650)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_longer_connect_timeout_is_used_for_connects_only() {
    let world = World::new();
    let server = world.server();
    server.set_connect_time(ms(700));
    let client = world.client(&monitoring(100, 200, 3).connect_timeout(ms(1000)));
    assert!(client.query(ms(5000)).await.is_ok());
    // With the default limit every connect fails, although the server answers them.
    let client = world.client(&monitoring(100, 200, 3));
    assert_eq!(client.query(ms(5000)).await.unwrap_err().kind(), ErrorKind::HostSilent);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_an_answer() {
    for kind in
        [ErrorKind::Login, ErrorKind::Busy, ErrorKind::Statement, ErrorKind::Config, ErrorKind::Plugin]
    {
        let world = World::new();
        world.server().refuse(kind);
        let client = world.client(&monitoring(100, 200, 2));
        assert!(client.query(ms(60_000)).await.is_ok(), "{kind:?}");
        assert_eq!(world.log.silent(), 0, "{kind:?}");
        let warned = usize::from(kind != ErrorKind::Statement);
        assert_eq!(world.log.warnings("refused, as scripted"), warned, "{kind:?}");
    }
    // Failing logins come once a second, not five times.
    let world = World::new();
    world.server().refuse(ErrorKind::Login);
    world.client(&monitoring(100, 200, 2)).query(ms(60_000)).await.unwrap();
    assert!(world.server().connects() <= 60, "{}", world.server().connects());
    // A refusal of the network is none.
    let world = World::new();
    world.server().refuse(ErrorKind::Network);
    let client = world.client(&monitoring(100, 200, 2));
    assert_eq!(client.query(ms(60_000)).await.unwrap_err().kind(), ErrorKind::HostSilent);
}

#[tokio::test(start_paused = true)]
async fn a_probe_connection_that_the_server_closes_is_opened_again_at_once() {
    let world = World::new();
    let server = world.server();
    let call = world.client(&monitoring(100, 200, 1)).start(ms(3000));
    sleep(ms(1000)).await;
    // While a ping is on its way.
    let answered = server.pings();
    while server.pings() == answered {
        sleep(ms(1)).await;
    }
    server.reset_monitors();
    assert!(call.end().await.0.is_ok());
    assert_eq!(server.connects(), 2);
    assert_eq!(world.log.silent(), 0);
}
