//! Who fetches, and for whom.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use wrapper_core::ErrorKind;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole};

use super::world::{FETCH, Next, World, unreachable};

#[tokio::test(start_paused = true)]
async fn a_thousand_connects_with_a_cold_cache_cause_one_fetch() {
    let world = World::new();
    for result in join_all((0..1000).map(|_| world.open())).await {
        drop(result.unwrap());
    }
    assert_eq!(world.fetches(), 1);
    drop(world.open().await.unwrap());
    assert_eq!(world.fetches(), 1, "later ones use it too");
}

#[tokio::test(start_paused = true)]
async fn a_monitor_logs_in_with_the_same_credential_and_each_host_has_its_own() {
    let world = World::new();
    drop(world.open().await.unwrap());
    let deadline = Deadline::after(Duration::from_secs(5), "test");
    let cluster = world.core.cluster().core();
    drop(cluster.open_monitor(world.core.endpoint(), deadline).await.unwrap());
    assert_eq!((world.fetches(), world.shown()), (1, vec!["token-1".to_owned(); 2]));
    let other = HostInfo::new("instance-2.xyz.us-east-2.rds.amazonaws.com", 5432, HostRole::Unknown);
    drop(cluster.open_monitor(&other, deadline).await.unwrap());
    assert_eq!((world.fetches(), world.shown()[2].as_str()), (2, "token-2"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_takes_nothing_from_the_others() {
    let world = World::new();
    let first = tokio::time::timeout(FETCH / 2, world.open()).await;
    assert!(first.is_err(), "it was dropped during the fetch that it had started");
    drop(world.open().await.unwrap());
    assert_eq!(world.fetches(), 1);
    assert_eq!(world.core.cluster().task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_asked_again() {
    let world = World::new();
    world.script([Next::Panic]);
    let errors = join_all((0..10).map(|_| world.open())).await;
    for error in errors.into_iter().map(|result| result.err().unwrap()) {
        assert_eq!(error.kind(), ErrorKind::Plugin, "{error}");
        assert!(error.to_string().contains("`scripted` panicked"), "{error}");
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(world.open().await.unwrap());
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_never_answers_ends_a_connect_at_its_time() {
    let world = World::new();
    world.script([Next::Hang]);
    let error = world.open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("connect_timeout"), "{error}");
    assert!(error.to_string().contains("scripted for user `app` at instance-1"), "{error}");
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(world.open().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_fetch_and_who_waits_for_it() {
    let world = World::new();
    world.script([Next::Hang]);
    let core = world.core.clone();
    let (opened, ()) = tokio::join!(world.open(), async {
        tokio::time::sleep(FETCH * 3).await;
        core.shutdown().await;
    });
    assert_eq!(opened.err().unwrap().kind(), ErrorKind::Closed);
    assert_eq!(core.cluster().task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_for_a_moment_delays_a_connect_and_no_more() {
    let world = World::new();
    world.script([unreachable(), unreachable(), unreachable()]);
    let results = join_all((0..100).map(|_| world.open())).await;
    assert!(results.into_iter().all(|result| result.is_ok()));
    assert_eq!(world.fetches(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_does_not_pass_is_told_at_once_and_not_asked_for_again_by_each() {
    let world = World::new();
    let missing = || Next::Fail(wrapper_core::Error::config("there is no such profile"));
    world.script([missing(), missing(), missing()]);
    for _ in 0..50 {
        let error = world.open().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("no such profile"), "{error}");
    }
    assert_eq!(world.fetches(), 1);
    let twins = Arc::clone(&world.place);
    tokio::time::advance(Duration::from_secs(60)).await;
    twins.script.lock().unwrap().clear();
    drop(world.open().await.unwrap());
}
