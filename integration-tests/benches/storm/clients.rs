//! The clients: each writes a row at its own pace; a write that failed is repeated at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use integration_tests::{LocalCluster, NodeId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Config, NoTls};
use wrapper_pg::Connector;

use crate::support::Outcome;

const INSERT: &str = "INSERT INTO load (id) VALUES ($1)";
/// The pause before the bare driver tries again to connect to the address that it was told.
const BARE_RETRY: Duration = Duration::from_millis(10);

/// What the clients have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    acknowledged: Vec<i64>,
    /// When each client's first write after its loss was acknowledged.
    back: Vec<Instant>,
    failures: Vec<String>,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of the rows whose write was acknowledged.
    pub(crate) fn acknowledged(&self) -> Vec<i64> {
        self.lock().acknowledged.clone()
    }

    /// When clients wrote again, in order.
    pub(crate) fn back(&self) -> Vec<Instant> {
        self.lock().back.clone()
    }

    /// What calls failed with.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.lock().failures.clone()
    }
}

/// One client's own part of [`Seen`].
struct Pace {
    seen: Seen,
    ticks: tokio::time::Interval,
    id: i64,
    lost: bool,
}

impl Pace {
    /// Clients begin spread over `every`, so that they write at different times.
    fn new(seen: &Seen, every: Duration, client: usize, of: usize) -> Self {
        let begin = tokio::time::Instant::now() + every.mul_f64(client as f64 / of as f64);
        let mut ticks = tokio::time::interval_at(begin, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { seen: seen.clone(), ticks, id: (client as i64) << 32, lost: false }
    }

    async fn next(&mut self) -> i64 {
        if !self.lost {
            self.ticks.tick().await;
        }
        self.id += 1;
        self.id
    }

    fn acknowledged(&mut self) {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        seen.acknowledged.push(self.id);
        if self.lost {
            seen.back.push(now);
        }
        drop(seen);
        self.lost = false;
    }

    fn failed(&mut self, what: String) {
        self.seen.lock().failures.push(what);
        self.lost = true;
    }
}

/// Connects `count` of the library's clients and lets them write until the set is dropped.
pub(crate) async fn wrapped(
    connector: &Connector,
    count: usize,
    every: Duration,
    seen: &Seen,
) -> Outcome<JoinSet<()>> {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(connector.connect().await?);
    }
    let mut tasks = JoinSet::new();
    for (number, client) in open.into_iter().enumerate() {
        let insert = client.prepare(INSERT).await?;
        let mut pace = Pace::new(seen, every, number, count);
        tasks.spawn(async move {
            loop {
                let id = pace.next().await;
                match client.execute(&insert, &[&id]).await {
                    Ok(_) => pace.acknowledged(),
                    Err(error) => pace.failed(format!("{:?}", error.kind())),
                }
            }
        });
    }
    Ok(tasks)
}

/// What tells the bare program where the writer is.
pub(crate) type Told = watch::Receiver<NodeId>;

/// Connects `count` bare clients and lets them write until the set is dropped. One that lost its connection waits
/// until it is told of another writer, and connects to that.
pub(crate) async fn bare(
    cluster: &LocalCluster,
    count: usize,
    every: Duration,
    told: Told,
    seen: &Seen,
) -> Outcome<JoinSet<()>> {
    let configs: Arc<Vec<Config>> =
        Arc::new(cluster.nodes().iter().map(|node| cluster.app_config(*node)).collect());
    let first = *told.borrow();
    let mut tasks = JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(connect(&configs[first.index()]).await?);
    }
    for (number, mut client) in open.into_iter().enumerate() {
        let mut insert = client.prepare(INSERT).await?;
        let mut pace = Pace::new(seen, every, number, count);
        let (configs, mut told, mut at) = (Arc::clone(&configs), told.clone(), first);
        tasks.spawn(async move {
            loop {
                let id = pace.next().await;
                let Err(error) = client.execute(&insert, &[&id]).await else {
                    pace.acknowledged();
                    continue;
                };
                pace.failed(error.code().map_or("closed", |code| code.code()).to_owned());
                let Ok(now) = told.wait_for(|now| *now != at).await.map(|now| *now) else { return };
                at = now;
                loop {
                    if let Ok(new) = connect(&configs[at.index()]).await
                        && let Ok(prepared) = new.prepare(INSERT).await
                    {
                        (client, insert) = (new, prepared);
                        break;
                    }
                    tokio::time::sleep(BARE_RETRY).await;
                }
            }
        });
    }
    Ok(tasks)
}

async fn connect(config: &Config) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // Its error reaches the client's calls.
        let _ = connection.await;
    });
    Ok(client)
}
