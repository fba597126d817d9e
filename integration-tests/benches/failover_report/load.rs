//! One row every 10 ms, by the library's client or by the bare driver.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use integration_tests::LocalCluster;
use integration_tests::names::NameTable;
use tokio::time::MissedTickBehavior;
use tokio_postgres::NoTls;
use wrapper_pg::{Client, Error};

/// The pause between two writes.
pub(crate) const EVERY: Duration = Duration::from_millis(10);
/// The pause before the bare driver connects again, and the limit of that connect.
const BARE_RETRY: Duration = Duration::from_millis(50);
const BARE_CONNECT: Duration = Duration::from_secs(1);
const INSERT: &str = "INSERT INTO load (id) VALUES ($1)";

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) id: i64,
    pub(crate) at: Instant,
    /// Counts the client's connections, from 1.
    pub(crate) generation: u64,
}

/// What a load has seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    acks: Vec<Ack>,
    failures: Vec<String>,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ack(&self, id: i64, generation: u64) {
        self.lock().acks.push(Ack { id, at: Instant::now(), generation });
    }

    fn fail(&self, what: impl Into<String>) {
        self.lock().failures.push(what.into());
    }

    /// The acknowledged writes.
    pub(crate) fn acks(&self) -> Vec<Ack> {
        self.lock().acks.clone()
    }

    /// The first write that was acknowledged on another connection than the first.
    pub(crate) fn first_after(&self) -> Option<Ack> {
        self.lock().acks.iter().find(|ack| ack.generation > 1).copied()
    }

    /// What the client's calls failed with, in order.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.lock().failures.clone()
    }
}

/// Writes by the library's client until the future is dropped. A failed call is not repeated; the next row is
/// written at its own time.
pub(crate) async fn wrapped(client: Client, seen: Seen) -> Result<(), Error> {
    let insert = client.prepare(INSERT).await?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for id in 1_i64.. {
        ticks.tick().await;
        match client.execute(&insert, &[&id]).await {
            Ok(_) => seen.ack(id, client.generation()),
            Err(error) => seen.fail(format!("{:?}", error.kind())),
        }
    }
    Ok(())
}

/// Where the bare driver connects to: the cluster endpoint, resolved anew each time.
pub(crate) struct Endpoint {
    names: NameTable,
    host: String,
    port: u16,
    login: tokio_postgres::Config,
}

impl Endpoint {
    /// The writer endpoint of `cluster`.
    pub(crate) fn of(cluster: &LocalCluster) -> Self {
        let app = cluster.app();
        let mut login = tokio_postgres::Config::new();
        login.user(&app.user).password(&app.password).dbname(&app.database).connect_timeout(BARE_CONNECT);
        Self { names: cluster.names(), host: cluster.cluster_endpoint(), port: cluster.port(), login }
    }

    async fn connect(&self) -> Option<tokio_postgres::Client> {
        let address = SocketAddr::new(self.names.lookup(&self.host)?, self.port);
        let mut config = self.login.clone();
        config.host(address.ip().to_string()).port(address.port());
        let (client, connection) =
            tokio::time::timeout(BARE_CONNECT, config.connect(NoTls)).await.ok()?.ok()?;
        tokio::spawn(async move {
            // Its error reaches the client's calls.
            let _ = connection.await;
        });
        Some(client)
    }
}

/// Writes by the bare driver until the future is dropped; any error makes it connect again.
pub(crate) async fn bare(endpoint: Endpoint, seen: Seen) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut id, mut generation) = (0, 0);
    loop {
        if let Some(client) = endpoint.connect().await {
            let Ok(insert) = client.prepare(INSERT).await else { continue };
            generation += 1;
            loop {
                ticks.tick().await;
                id += 1;
                match client.execute(&insert, &[&id]).await {
                    Ok(_) => seen.ack(id, generation),
                    Err(error) => {
                        let code = error.code().map_or("closed", |code| code.code());
                        seen.fail(code);
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(BARE_RETRY).await;
    }
}
