//! Several calls, connections and hosts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wrapper_core::ErrorKind;
use wrapper_core::observe::Event;

use super::world::{HOST, OTHER, World, ms};
use crate::efm::HostMonitoring;

fn monitoring() -> HostMonitoring {
    HostMonitoring::new().grace(ms(1000)).interval(ms(200)).count(3)
}

#[tokio::test(start_paused = true)]
async fn one_verdict_closes_every_overdue_connection_and_spares_the_young() {
    let world = World::new();
    let old: Vec<_> = (0..5).map(|_| world.client(&monitoring()).start(None)).collect();
    sleep(ms(2000)).await;
    let young_began = Instant::now();
    let young = world.client(&monitoring()).start(None);
    world.server().freeze();
    let mut first = None;
    for call in old {
        let at = call.silent_at().await;
        assert_eq!(*first.get_or_insert(at), at);
    }
    let closed = |count: usize| {
        world.log.count(
            |event| matches!(event, Event::HostSilent { closed, failures: 3.., .. } if *closed == count),
        )
    };
    assert_eq!(closed(5), 1);
    assert!(!young.is_finished(), "a call younger than the grace is spared");
    // It is closed when its own grace ends: the host is known to be silent.
    let took = young.silent_at().await - young_began;
    assert!((ms(1000)..=ms(1010)).contains(&took), "{took:?}");
    assert_eq!(closed(1), 1);
    assert_eq!(world.monitors().watched(), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_connection_are_closed_together() {
    let world = World::new();
    let client = world.client(&monitoring());
    let calls: Vec<_> = (0..300).map(|_| client.start(None)).collect();
    sleep(ms(1)).await;
    assert_eq!(world.monitors().watched(), 300);
    world.server().freeze();
    for call in calls {
        call.silent_at().await;
    }
    assert_eq!(world.log.count(|event| matches!(event, Event::HostSilent { closed: 1, .. })), 1);
    assert_eq!(world.log.silent(), 1);
    assert_eq!(world.monitors().watched(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_stalled_path_to_a_host_that_answers_is_not_its_silence() {
    let world = World::new();
    let (stalled, well) = (world.client(&monitoring()), world.client(&monitoring()));
    stalled.connection.stall();
    let lost = stalled.start(ms(5));
    assert!(well.query(ms(60_000)).await.is_ok());
    assert!(!lost.is_finished(), "`socket_timeout` is for this");
    assert_eq!(world.log.silent(), 0);
    lost.abort();
}

#[tokio::test(start_paused = true)]
async fn hosts_are_judged_apart_and_share_nothing() {
    let world = World::new();
    let here = world.client_on(HOST, &monitoring()).start(None);
    let there = world.client_on(OTHER, &monitoring()).start(ms(60_000));
    sleep(ms(1500)).await;
    assert_eq!(world.monitors().monitors(), 2);
    world.server().freeze();
    here.silent_at().await;
    assert!(there.end().await.0.is_ok());
    assert_eq!(world.log.silent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_are_watched_over_one() {
    let world = World::new();
    let calls: Vec<_> = (0..1000).map(|_| world.client(&monitoring()).start(ms(5000))).collect();
    sleep(ms(2000)).await;
    assert_eq!((world.monitors().monitors(), world.monitors().watched()), (1, 1000));
    for call in calls {
        assert!(call.end().await.0.is_ok());
    }
    assert_eq!(world.server().most_open(), 1);
    assert_eq!(world.server().connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_parameters_have_a_monitor_of_their_own() {
    let world = World::new();
    let slow = world.client(&HostMonitoring::new()).start(None);
    let fast = world.client(&monitoring()).start(None);
    world.server().freeze();
    let began = Instant::now();
    assert!(fast.silent_at().await - began < ms(1700));
    assert_eq!(world.monitors().monitors(), 2);
    let took = slow.silent_at().await - began;
    assert!((Duration::from_secs(43)..=ms(43_100)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_host_speaks_to_is_not_closed() {
    let world = World::new();
    let client = world.client(&monitoring());
    // The probes find the server frozen, but rows still come in.
    let call = client.start(None);
    world.server().freeze();
    for _ in 0..100 {
        sleep(ms(100)).await;
        client.connection.receive(1);
    }
    assert!(!call.is_finished());
    assert_eq!(world.log.silent(), 0);
    let stopped = Instant::now();
    let took = call.silent_at().await - stopped;
    assert!(took <= ms(200 + 2 * 200 + 200 + 50), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_since_the_first_failed_probe_put_the_verdict_off_once() {
    let world = World::new();
    let (silent, spoken) = (world.client(&monitoring()), world.client(&monitoring()));
    world.server().freeze();
    let began = Instant::now();
    let (silent_call, spoken_call) = (silent.start(None), spoken.start(None));
    // Probes start at 1000, 1200 and 1400; the last one is over at 1600.
    sleep(ms(900)).await;
    silent.connection.receive(1);
    sleep(ms(200)).await;
    spoken.connection.receive(1);
    let (silent_at, spoken_at) = (silent_call.silent_at().await, spoken_call.silent_at().await);
    assert!((ms(1600)..ms(1650)).contains(&(silent_at - began)), "{:?}", silent_at - began);
    assert!((ms(1800)..ms(1850)).contains(&(spoken_at - began)), "{:?}", spoken_at - began);
}

#[tokio::test(start_paused = true)]
async fn on_a_silent_host_a_call_is_closed_at_the_end_of_its_grace_also_between_two_probes() {
    let world = World::new();
    let monitoring = monitoring().interval(Duration::from_secs(60)).count(2);
    world.server().freeze();
    let old = world.client(&monitoring).start(None);
    // Probes start at 1 s and 61 s, each has 3 s: the verdict comes at 64 s, the next probe would at 121 s.
    sleep(ms(63_500)).await;
    let young = world.client(&monitoring).start(None);
    let began = Instant::now();
    old.silent_at().await;
    assert!(!young.is_finished());
    let took = young.silent_at().await - began;
    assert!((ms(1000)..ms(1010)).contains(&took), "{took:?}");
    assert_eq!(world.server().connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn bytes_restart_the_grace_when_asked_to() {
    for restart in [false, true] {
        let world = World::new();
        let client = world.client(&monitoring().restart_grace_on_bytes(restart));
        let call = client.start(None);
        for _ in 0..100 {
            sleep(ms(100)).await;
            client.connection.receive(1);
        }
        // Restarted graces never end, so the host is never asked.
        assert_eq!(world.server().connects(), u64::from(!restart));
        world.server().freeze();
        let stopped = Instant::now();
        let took = call.silent_at().await - stopped;
        let grace = if restart { 2000 } else { 0 };
        assert!(took <= ms(grace + 200 + 2 * 200 + 200 + 50), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn host_states_are_told_in_pairs() {
    use std::sync::Mutex;
    use wrapper_core::plugin::{Chain, HostStateChange, MethodSet, OrderClass, Plugin};

    #[derive(Debug, Default)]
    struct Listener(Mutex<Vec<bool>>);
    impl Plugin for Listener {
        fn name(&self) -> &'static str {
            "listener"
        }
        fn class(&self) -> OrderClass {
            OrderClass::Observe
        }
        fn subscriptions(&self) -> MethodSet {
            MethodSet::NOTIFY
        }
        fn on_host_state(&self, change: &HostStateChange) {
            assert_eq!(change.host.host(), "instance-1.xyz.us-east-2.rds.amazonaws.com");
            self.0.lock().unwrap().push(change.up);
        }
    }

    let world = World::new();
    let listener = Arc::new(Listener::default());
    let efm = world.build(&monitoring()).unwrap();
    let client = world.client(&monitoring());
    let told = world.client_through(HOST, Chain::new(vec![Arc::clone(&listener) as _, efm], true).unwrap());
    let states = || listener.0.lock().unwrap().clone();
    world.server().freeze();
    assert_eq!(client.query(None).await.unwrap_err().kind(), ErrorKind::HostSilent);
    assert_eq!(states(), [false]);
    assert_eq!(world.client(&monitoring()).query(None).await.unwrap_err().kind(), ErrorKind::HostSilent);
    assert_eq!(states(), [false], "it was down already");
    world.server().thaw();
    assert!(world.client(&monitoring()).query(ms(2000)).await.is_ok());
    assert_eq!(states(), [false, true]);
    drop(told);
}
