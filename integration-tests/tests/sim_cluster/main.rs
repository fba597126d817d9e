//! The simulated cluster, seen through the bare `tokio-postgres`.
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; these tests drive real sockets and time"
)]
#![allow(clippy::expect_used, reason = "a helper of tests may panic as the tests do")]

use std::error::Error as StdError;
use std::time::Duration;

use integration_tests::sim::SimCluster;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

mod faults;
mod login;
mod metadata;
mod sessions;
mod sql;

type Result<T, E = Box<dyn StdError + Send + Sync>> = std::result::Result<T, E>;

/// No wait in these tests is meant to be longer.
const PATIENCE: Duration = Duration::from_secs(10);

async fn cluster() -> Result<SimCluster> {
    Ok(SimCluster::builder().start().await?)
}

fn config(cluster: &SimCluster, node: usize) -> Result<Config> {
    let address = cluster.address(node)?;
    let mut config = Config::new();
    config
        .hostaddr(address.ip())
        .port(address.port())
        .user("app")
        .dbname("shop")
        .application_name("sim-test");
    Ok(config)
}

async fn connect(cluster: &SimCluster, node: usize) -> Result<Client> {
    Ok(connect_with(&config(cluster, node)?).await?)
}

async fn connect_with(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn state(error: &Error) -> &str {
    error.code().map_or("none", SqlState::code)
}

fn failed<T>(outcome: Result<T, Error>) -> Error {
    outcome.err().expect("the statement should have failed")
}

/// The values of a simple query, as text.
async fn text(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let messages = client.simple_query(sql).await?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

async fn one(client: &Client, sql: &str) -> Result<Option<String>, Error> {
    Ok(text(client, sql).await?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
}
