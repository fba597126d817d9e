//! The client itself is paused: nothing that happened meanwhile is held against the host.

use tokio::time::{advance, sleep};

use super::world::{World, ms};
use crate::efm::HostMonitoring;

fn monitoring(count: u32) -> HostMonitoring {
    HostMonitoring::new().grace(ms(1000)).interval(ms(200)).count(count)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_after_a_pause_counts() {
    let world = World::new();
    let server = world.server();
    server.set_round_trip(ms(50));
    let call = world.client(&monitoring(1)).start(ms(60_000));
    // The probe connection is there when the first pause comes.
    sleep(ms(1150)).await;
    for _ in 0..10 {
        sleep(ms(1000)).await;
        // The answer is on its way during the pause and read a little after it.
        server.freeze();
        sleep(ms(30)).await;
        advance(ms(10_000)).await;
        sleep(ms(20)).await;
        server.thaw();
    }
    assert!(call.end().await.0.is_ok());
    assert_eq!((world.log.silent(), world.log.skipped()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_during_a_connect_skips_the_verdict() {
    let world = World::new();
    let server = world.server();
    let call = world.client(&monitoring(1)).start(ms(60_000));
    // The connect takes from 1000 to 1020.
    sleep(ms(1010)).await;
    server.freeze();
    advance(ms(10_000)).await;
    sleep(ms(1)).await;
    server.thaw();
    assert!(call.end().await.0.is_ok());
    assert_eq!((world.log.silent(), world.log.skipped()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pause_during_a_probe_skips_the_verdict() {
    let world = World::new();
    let server = world.server();
    let call = world.client(&monitoring(3)).start(None);
    sleep(ms(1100)).await;
    server.freeze();
    // Two probes have failed, the third is under way.
    sleep(ms(620)).await;
    advance(ms(5000)).await;
    sleep(ms(250)).await;
    assert_eq!((world.log.silent(), world.log.skipped()), (0, 1));
    assert!(!call.is_finished());
    // A host that is silent after the pause too is found by a whole new series.
    let resumed = tokio::time::Instant::now();
    let took = call.silent_at().await - resumed;
    assert!((ms(350)..=ms(650)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_probes_skips_the_verdict() {
    let world = World::new();
    let server = world.server();
    let monitoring = monitoring(3).interval(ms(4000));
    let call = world.client(&monitoring).start(None);
    sleep(ms(1100)).await;
    server.freeze();
    // Probes at 1000 (good), 5000, 9000 (failed after 3 s each); the task sleeps from 12000 to 13000.
    sleep(ms(11_200)).await;
    advance(ms(60_000)).await;
    server.thaw();
    sleep(ms(1)).await;
    assert_eq!((world.log.silent(), world.log.skipped()), (0, 1));
    sleep(ms(20_000)).await;
    assert!(!call.is_finished());
    server.freeze();
    call.silent_at().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_with_a_healthy_host_says_nothing() {
    let world = World::new();
    let call = world.client(&monitoring(1)).start(ms(300_000));
    for _ in 0..20 {
        sleep(ms(777)).await;
        advance(ms(10_000)).await;
    }
    assert!(call.end().await.0.is_ok());
    assert_eq!((world.log.silent(), world.log.skipped()), (0, 0));
    assert_eq!(world.server().connects(), 1);
}
