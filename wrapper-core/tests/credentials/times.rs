//! How old a credential gets.

use std::time::Duration;

use futures_util::future::join_all;

use super::world::{FETCH, LIFE, World, unreachable};

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_one_is_fetched_before_the_old_one_ends_and_nobody_waits_for_it() {
    let world = World::new();
    drop(world.open().await.unwrap());
    pass(LIFE.as_secs() * 2 / 3 + 1).await;
    let begin = tokio::time::Instant::now();
    drop(world.open().await.unwrap());
    assert!(begin.elapsed() < FETCH, "the connect went on with the old one");
    pass(1).await;
    assert_eq!(world.fetches(), 2);
    drop(world.open().await.unwrap());
    assert_eq!(world.shown(), ["token-1", "token-1", "token-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_three_times_disturbs_nobody() {
    let world = World::new();
    drop(world.open().await.unwrap());
    world.script([unreachable(), unreachable(), unreachable()]);
    pass(LIFE.as_secs() * 2 / 3 + 1).await;
    for _ in 0..40 {
        for result in join_all((0..25).map(|_| world.open())).await {
            drop(result.unwrap());
        }
        pass(1).await;
    }
    assert_eq!(world.fetches(), 5);
    assert_eq!(world.shown().last().map(String::as_str), Some("token-2"));
    assert_eq!(world.decisions(), ["the credential that is there is used on"; 3]);
}

/// The machine slept: the monotonic clock has not moved, the wall clock has. No failed login comes of it.
#[tokio::test(start_paused = true)]
async fn a_jump_of_the_wall_clock_by_thirty_minutes_ends_a_credential() {
    let world = World::new();
    drop(world.open().await.unwrap());
    world.place.wall.jump(1800);
    drop(world.open().await.unwrap());
    assert_eq!((world.fetches(), world.shown()), (2, vec!["token-1".to_owned(), "token-2".to_owned()]));
}

/// The process stood still: both clocks have moved.
#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_for_thirty_minutes_has_a_new_one_fetched() {
    let world = World::new();
    drop(world.open().await.unwrap());
    tokio::time::advance(Duration::from_secs(1800)).await;
    drop(world.open().await.unwrap());
    assert_eq!(world.shown(), ["token-1", "token-2"]);
}

/// A credential that was dated by a clock that ran ahead is refused once the clock is right, and replaced.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_costs_one_refused_login() {
    let world = World::new();
    drop(world.open().await.unwrap());
    world.place.wall.set_back(7200);
    drop(world.open().await.unwrap());
    drop(world.open().await.unwrap());
    assert_eq!(world.shown(), ["token-1", "token-1", "token-2", "token-2"]);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_connections_over_four_lifetimes_meet_no_refusal() {
    let world = World::new();
    let step = LIFE.as_secs() * 4 / 200;
    for turn in 0..200 {
        // By turns, the time passes while the process runs and while it does not.
        if turn % 7 == 0 {
            world.place.wall.jump(step)
        } else {
            pass(step).await
        }
        drop(world.open().await.unwrap());
    }
    assert_eq!(world.shown().len(), 200, "no login was tried twice");
    assert!(world.fetches() <= 9, "{}", world.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_credential_without_a_life_serves_who_waited_for_it() {
    let world = World::new();
    *world.place.life.lock().unwrap() = Duration::ZERO;
    for _ in 0..3 {
        drop(world.open().await.unwrap());
    }
    assert_eq!(world.fetches(), 3);
}
