//! Faults over a scripted driver, under paused time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wrapper_core::env::{Deadline, Instant};
use wrapper_core::{Error, ErrorKind};

use super::{Dev, Fault};
use crate::tests::{CALL, CONNECT, Driver, World, call, given_up};

fn fail(text: &'static str) -> Fault {
    Fault::Fail(Error::new(ErrorKind::Network, text))
}

fn world(settings: &str) -> (World, Dev) {
    let dev = Dev::new();
    (World::new(settings, vec![Arc::new(dev.clone())], Driver::default()), dev)
}

fn now(world: &World) -> Instant {
    world.core.cluster().env().now()
}

#[tokio::test(start_paused = true)]
async fn the_next_connects_meet_their_faults_in_line() {
    let (world, dev) = world("");
    dev.next_connect(fail("first"));
    dev.next_connect(Fault::Delay(Duration::from_millis(100)));
    assert_eq!(world.open().await.unwrap_err().message(), "first");
    assert_eq!(world.driver.connects.load(Ordering::SeqCst), 0, "the driver was not asked");
    let began = now(&world);
    world.open().await.unwrap();
    assert_eq!(now(&world) - began, CONNECT + Duration::from_millis(100));
    assert_eq!(dev.waiting(), 0);
    world.open().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delay_does_not_outlive_the_connects_deadline() {
    let (world, dev) = world("connect_timeout=2s");
    dev.next_connect(Fault::Delay(Duration::from_secs(3600)));
    let began = now(&world);
    let error = world.open().await.unwrap_err();
    assert_eq!((error.kind(), now(&world) - began), (ErrorKind::Timeout, Duration::from_secs(2)), "{error}");
    assert!(error.to_string().contains("connect_timeout") && error.to_string().contains("`dev`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn monitors_connects_are_not_touched() {
    let (world, dev) = world("");
    dev.next_connect(fail("for a session"));
    let deadline = Deadline::after(Duration::from_secs(1), "test");
    world.core.cluster().core().open_monitor(world.core.endpoint(), deadline).await.unwrap();
    assert_eq!(dev.waiting(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_call_of_a_method_meets_its_fault() {
    let (world, dev) = world("");
    let session = world.open().await.unwrap();
    dev.next_call_of("query", fail("the query's"));
    dev.next_call(Fault::Delay(Duration::from_millis(7)));
    let began = now(&world);
    call(&session, "execute", None).await.unwrap();
    assert_eq!(now(&world) - began, CALL + Duration::from_millis(7));
    call(&session, "execute", None).await.unwrap();
    let calls = world.driver.calls.load(Ordering::SeqCst);
    let error = call(&session, "query", None).await.unwrap_err();
    assert_eq!((error.message(), error.kind()), ("the query's", ErrorKind::Network), "as it was given");
    assert_eq!(world.driver.calls.load(Ordering::SeqCst), calls, "nothing was sent");
    call(&session, "query", None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn callbacks_decide_about_what_nothing_in_line_is_for() {
    let (world, dev) = world("");
    let session = world.open().await.unwrap();
    dev.on_call(|call| (call.method == "query").then(|| fail("by the callback")));
    dev.on_connect(|target| target.host.host().starts_with("instance-1").then(|| fail("no way in")));
    dev.next_call(fail("in line"));
    assert_eq!(call(&session, "query", None).await.unwrap_err().message(), "in line");
    assert_eq!(call(&session, "query", None).await.unwrap_err().message(), "by the callback");
    call(&session, "execute", None).await.unwrap();
    assert_eq!(world.open().await.unwrap_err().message(), "no way in");
    dev.clear();
    call(&session, "query", None).await.unwrap();
    world.open().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_callback_may_use_the_handle() {
    let (world, dev) = world("");
    let session = world.open().await.unwrap();
    let handle = dev.clone();
    dev.on_call(move |_| {
        handle.clear();
        Some(fail("only once"))
    });
    assert!(call(&session, "query", None).await.is_err());
    call(&session, "query", None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn by_name_the_handle_is_the_clusters() {
    let world = World::new("plugins=dev", Vec::new(), Driver::default());
    let session = world.open().await.unwrap();
    Dev::of(world.core.cluster()).next_call(fail("found"));
    assert_eq!(call(&session, "query", None).await.unwrap_err().message(), "found");
    let other = World::new("plugins=developer", Vec::new(), Driver::default());
    Dev::of(world.core.cluster()).next_connect(fail("not for another cluster"));
    other.open().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_in_its_delay_has_used_it_up() {
    let (world, dev) = world("");
    let session = world.open().await.unwrap();
    dev.next_call(Fault::Delay(Duration::from_secs(5)));
    assert!(given_up(Duration::from_secs(1), call(&session, "query", None)).await);
    assert_eq!(dev.waiting(), 0);
    let began = now(&world);
    call(&session, "query", None).await.unwrap();
    assert_eq!(now(&world) - began, CALL);
}
