//! The plugin over a scripted driver, under paused time.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Level, subscriber};
use wrapper_core::ErrorKind;
use wrapper_core::env::Deadline;
use wrapper_core::observe::catalog::spans::{CONNECT as SPAN, TARGET_CONNECT};
use wrapper_core::observe::{ConnectTiming, Ending, Event};

use super::ConnectTime;
use crate::tests::{CONNECT, Driver, Log, World, given_up};

fn timings(world: &World) -> Vec<ConnectTiming> {
    let timed = |event| if let Event::ConnectTimed(timing) = event { Some(timing) } else { None };
    world.events.all().into_iter().filter_map(timed).collect()
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_told_as_a_line_in_its_span_and_as_an_event() {
    let log = Log::new(Level::TRACE);
    let _guard = subscriber::set_default(log.clone());
    let world = World::new("plugins=connect_time", Vec::new(), Driver::default());
    drop(world.open().await.unwrap());
    let [timing] = timings(&world).try_into().unwrap();
    assert_eq!((timing.elapsed, timing.purpose_name(), timing.ending.as_str()), (CONNECT, "session", "ok"));
    let [line] = log.of(TARGET_CONNECT).try_into().unwrap();
    assert_eq!((line.level, line.span.as_deref()), (Some(Level::DEBUG), Some(SPAN)));
    assert_eq!((line.message.as_str(), line.fields["elapsed"].as_str()), ("connect", "30ms"));
    assert_eq!(line.fields["server.address"], "instance-1.xyz.us-east-2.rds.amazonaws.com");
    let (_, span) = log.spans.lock().unwrap()[0].clone();
    assert_eq!((span.fields["outcome"].as_str(), span.fields["purpose"].as_str()), ("ok", "session"));
    assert_eq!(log.open(), 0, "the span has ended");
}

#[tokio::test(start_paused = true)]
async fn connects_that_fail_and_connects_that_are_cancelled_are_told_too() {
    let log = Log::new(Level::DEBUG);
    let _guard = subscriber::set_default(log.clone());
    let world = World::new("plugins=connect_time", Vec::new(), Driver { locked: true, ..Driver::default() });
    assert_eq!(world.open().await.unwrap_err().kind(), ErrorKind::Login);
    assert!(given_up(Duration::from_millis(10), world.open()).await);
    let [failed, cancelled] = timings(&world).try_into().unwrap();
    assert!(matches!(&failed.ending, Ending::Failed(error) if error.kind() == ErrorKind::Login));
    assert!(matches!(cancelled.ending, Ending::Cancelled));
    assert_eq!(cancelled.elapsed, Duration::from_millis(10));
    let lines = log.of(TARGET_CONNECT);
    assert_eq!(lines[0].fields["error.type"], "login");
    assert_eq!(lines[1].fields["outcome"], "cancelled");
    assert_eq!(log.open(), 0, "the span of a cancelled connect has ended");
}

#[tokio::test(start_paused = true)]
async fn monitors_connects_are_told_apart() {
    let world = World::new("plugins=connect_time", Vec::new(), Driver::default());
    let deadline = Deadline::after(Duration::from_secs(1), "test");
    drop(world.core.cluster().core().open_monitor(world.core.endpoint(), deadline).await.unwrap());
    let [timing] = timings(&world).try_into().unwrap();
    assert_eq!(timing.purpose_name(), "monitor");
}

#[tokio::test(start_paused = true)]
async fn slow_connects_are_warnings() {
    for (slow, level) in [(CONNECT, Level::WARN), (CONNECT * 2, Level::DEBUG)] {
        let log = Log::new(Level::DEBUG);
        let _guard = subscriber::set_default(log.clone());
        let world = World::new("", vec![Arc::new(ConnectTime::new().slow(slow))], Driver::default());
        drop(world.open().await.unwrap());
        assert_eq!(log.of(TARGET_CONNECT)[0].level, Some(level));
    }
    let log = Log::new(Level::WARN);
    let _guard = subscriber::set_default(log.clone());
    let world = World::new("plugins=connect_time&connect_time_slow=30ms", Vec::new(), Driver::default());
    drop(world.open().await.unwrap());
    assert_eq!(log.of(TARGET_CONNECT).len(), 1, "the setting is read");
}
