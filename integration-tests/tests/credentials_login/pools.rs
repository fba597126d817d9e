//! Pools of others, whose managers connect through the connector: connections over four lives of a token.

use std::time::Duration;

use deadpool_postgres::{ManagerConfig, RecyclingMethod};
use integration_tests::sim::Engine;

use super::support::{World, iam, within};

/// How many connections most pools open.
const FEW: u32 = 60;
/// How many one of them opens.
const MANY: u32 = 200;

/// Moved by this after each of so many connections, the clock passes four lives of a token.
fn step(count: u32) -> Duration {
    Duration::from_secs(4 * 900) / count
}

async fn postgres() -> (World, wrapper_pg::Connector) {
    let world = World::start(Engine::Postgres).await;
    let builder = world.postgres().set("plugins", "").set("connect_timeout", "60s");
    let connector = builder.plugin(iam()).build().unwrap();
    (world, connector)
}

async fn mysql() -> (World, wrapper_mysql::Connector) {
    let world = World::start(Engine::Mysql).await;
    let builder = world.mysql().set("plugins", "").set("connect_timeout", "60s");
    let connector = builder.plugin(iam()).build().unwrap();
    (world, connector)
}

/// No login was refused, and tokens were replaced on the way.
fn all_let_in(world: &World, count: u32) {
    assert_eq!(world.faults(), []);
    let judged = world.judged();
    assert!(judged.len() >= count as usize, "{} logins", judged.len());
    let mut tokens: Vec<_> = judged.into_iter().map(|login| login.password).collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert!(tokens.len() >= 4, "{} tokens", tokens.len());
}

#[tokio::test]
async fn deadpool_over_four_lives_of_a_token() {
    let (world, connector) = postgres().await;
    let manager = wrapper_pg::pool::Manager::new(connector.clone());
    let pool: deadpool::managed::Pool<wrapper_pg::pool::Manager> =
        deadpool::managed::Pool::builder(manager).max_size(4).build().unwrap();
    for _ in 0..MANY {
        let client = within("the checkout", pool.get()).await.unwrap();
        // Out of the pool: the next checkout opens another one.
        drop(deadpool::managed::Object::take(client));
        world.clock.step(step(MANY));
    }
    all_let_in(&world, MANY);
    connector.shutdown().await;
}

#[tokio::test]
async fn deadpool_of_mysql_over_four_lives_of_a_token() {
    let (world, connector) = mysql().await;
    let manager = wrapper_mysql::pool::Manager::new(connector.clone());
    let pool: deadpool::managed::Pool<wrapper_mysql::pool::Manager> =
        deadpool::managed::Pool::builder(manager).max_size(4).build().unwrap();
    for _ in 0..FEW {
        let conn = within("the checkout", pool.get()).await.unwrap();
        drop(deadpool::managed::Object::take(conn));
        world.clock.step(step(FEW));
    }
    all_let_in(&world, FEW);
    connector.shutdown().await;
}

#[tokio::test]
async fn bb8_over_four_lives_of_a_token() {
    let (world, connector) = postgres().await;
    let manager = wrapper_pg::pool::Manager::new(connector.clone());
    for _ in 0..FEW / 4 {
        let pool = bb8::Pool::builder().max_size(4).build(manager.clone()).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(within("the checkout", pool.get()).await.unwrap());
            world.clock.step(step(FEW));
        }
    }
    all_let_in(&world, FEW);
    connector.shutdown().await;
}

#[tokio::test]
async fn deadpool_postgres_over_four_lives_of_a_token() {
    let (world, connector) = postgres().await;
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let raw = wrapper_pg::pool::RawConnect::new(connector.clone());
    let pool = raw.pool(config).max_size(4).build().unwrap();
    for _ in 0..FEW {
        let client = within("the checkout", pool.get()).await.unwrap();
        drop(deadpool_postgres::Object::take(client));
        world.clock.step(step(FEW));
    }
    all_let_in(&world, FEW);
    connector.shutdown().await;
}
