//! The plugin over a scripted driver, under paused time.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Level, subscriber};
use wrapper_core::observe::catalog::spans::{EXECUTE, TARGET_EXECUTE};
use wrapper_core::observe::{CallTiming, Ending, Event};
use wrapper_core::{Error, ErrorKind};

use super::ExecuteTime;
use crate::tests::{CALL, Driver, Log, World, call, given_up};

fn timings(world: &World) -> Vec<CallTiming> {
    let timed = |event| if let Event::CallTimed(timing) = event { Some(timing) } else { None };
    world.events.all().into_iter().filter_map(timed).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_is_told_as_a_line_in_its_span_and_as_an_event() {
    let log = Log::new(Level::TRACE);
    let _guard = subscriber::set_default(log.clone());
    let world = World::new("plugins=execute_time", Vec::new(), Driver::default());
    let session = world.open().await.unwrap();
    call(&session, "query", None).await.unwrap();
    let [timing] = timings(&world).try_into().unwrap();
    assert_eq!((timing.method, timing.elapsed, timing.attempts), ("query", CALL, 1));
    let [line] = log.of(TARGET_EXECUTE).try_into().unwrap();
    assert_eq!((line.level, line.span.as_deref()), (Some(Level::DEBUG), Some(EXECUTE)));
    assert_eq!((line.fields["elapsed"].as_str(), line.fields["method"].as_str()), ("5ms", "query"));
    assert!(!format!("{line:?}").contains("SELECT"), "no SQL: {line:?}");
    assert_eq!(log.open(), 0, "the span has ended");
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_and_calls_that_are_cancelled_are_told_too() {
    let world = World::new("plugins=execute_time", Vec::new(), Driver::default());
    let session = world.open().await.unwrap();
    let refused = Error::new(ErrorKind::Statement, "no such table");
    assert!(call(&session, "query", Some(refused)).await.is_err());
    assert!(given_up(Duration::from_millis(2), call(&session, "execute", None)).await);
    let [failed, cancelled] = timings(&world).try_into().unwrap();
    assert_eq!(failed.ending.error_type(), Some("statement"));
    assert!(matches!(cancelled.ending, Ending::Cancelled), "{cancelled:?}");
    assert_eq!((cancelled.elapsed, cancelled.method), (Duration::from_millis(2), "execute"));
}

#[tokio::test(start_paused = true)]
async fn slow_calls_are_warnings() {
    for (slow, warnings) in [(CALL, 1), (CALL * 2, 0)] {
        let log = Log::new(Level::WARN);
        let _guard = subscriber::set_default(log.clone());
        let world = World::new("", vec![Arc::new(ExecuteTime::new().slow(slow))], Driver::default());
        call(&world.open().await.unwrap(), "query", None).await.unwrap();
        assert_eq!(log.of(TARGET_EXECUTE).len(), warnings);
        let setting = format!("plugins=execute_time&execute_time_slow={}ms", slow.as_millis());
        let world = World::new(&setting, Vec::new(), Driver::default());
        call(&world.open().await.unwrap(), "query", None).await.unwrap();
        assert_eq!(log.of(TARGET_EXECUTE).len(), 2 * warnings);
    }
}
