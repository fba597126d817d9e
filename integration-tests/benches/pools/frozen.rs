//! A writer that falls silent behind TLS: how long an acquire waits once the monitor knows another writer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::{LocalCluster, MySqlCluster};

use crate::cell::{self, Ground, REFRESH, SIZE};
use crate::sqlx_pools;
use crate::sqlx_support::site::Site;
use crate::support::engine::{Engine, Loss};
use crate::support::page::Table;
use crate::support::stats::{Millis, Samples, millis};
use crate::support::{Arguments, Outcome};

const HEADING: [&str; 6] = [
    "pool",
    "freezes",
    "slowest acquire while half the pool idled: median, worst",
    "slowest acquire after callers gave the other half up: median, worst",
    "slowest of as many acquires of an empty pool on a healthy writer",
    "acquires that failed, or led to the old writer",
];
/// How long a caller waits for a silent host.
const PATIENCE: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(60);

struct Run {
    idle: f64,
    held: f64,
    wrong: usize,
}

/// Runs what the arguments ask for.
pub(crate) async fn all(arguments: &Arguments) -> Outcome {
    let runs: usize = arguments.value("--runs")?.unwrap_or(3);
    let mut table = Table::new(&HEADING);
    let postgres = {
        let (cluster, authority) = cell::start::<LocalCluster>(true).await?;
        let authority = authority.as_deref();
        let pool = async || Ok(sqlx_pools::pg(&cluster, authority, REFRESH).await);
        table.row(row("`PgPool` of sqlx 0.9, TLS", &cluster, runs, pool).await?);
        let pool = async || Ok(sqlx_pools::pg_0_8(&cluster, authority, REFRESH).await);
        table.row(row("`PgPool` of sqlx 0.8, TLS", &cluster, runs, pool).await?);
        let pool = async || sqlx_pools::cluster_pg(&cluster, authority, REFRESH).await;
        table.row(row("`PgClusterPool`, TLS", &cluster, runs, pool).await?);
        let server = cluster.server().await?;
        cluster.stop().await;
        server
    };
    let mysql = {
        let (cluster, authority) = cell::start::<MySqlCluster>(true).await?;
        let authority = authority.as_deref();
        let pool = async || Ok(sqlx_pools::mysql(&cluster, authority, REFRESH).await);
        table.row(row("`MySqlPool` of sqlx 0.9, TLS", &cluster, runs, pool).await?);
        let pool = async || Ok(sqlx_pools::mysql_0_8(&cluster, authority, REFRESH).await);
        table.row(row("`MySqlPool` of sqlx 0.8, TLS", &cluster, runs, pool).await?);
        let pool = async || sqlx_pools::cluster_mysql(&cluster, authority, REFRESH).await;
        table.row(row("`MySqlClusterPool`, TLS", &cluster, runs, pool).await?);
        let server = cluster.server().await?;
        cluster.stop().await;
        server
    };
    table.print();
    if arguments.has("--write") {
        let note = format!("Servers: {postgres}, {mysql}. A pool of {SIZE}.");
        table.write("pools_frozen", &arguments.command("pools"), &[note])?;
    }
    Ok(())
}

async fn row<G: Ground, S: Site>(
    title: &str,
    cluster: &G,
    runs: usize,
    pool: impl AsyncFn() -> Outcome<S>,
) -> Outcome<[String; 6]> {
    let (mut done, mut empty) = (Vec::new(), Vec::new());
    for number in 1..=runs {
        let site = pool().await?;
        // What it takes to open so many connections at once, with nothing in the way.
        let (took, opened) = slowest(&site, SIZE as usize / 2).await;
        drop(opened);
        site.end().await;
        let site = pool().await?;
        let run = once(cluster, &site).await?;
        site.end().await;
        println!(
            "{title} {number}/{runs}: {} and {}, empty pool {}, {} wrong",
            Millis(run.idle),
            Millis(run.held),
            Millis(took),
            run.wrong
        );
        empty.push(took);
        done.push(run);
    }
    let both = |samples: Samples| format!("{}, {}", Millis(samples.median()), Millis(samples.greatest()));
    Ok([
        title.to_owned(),
        runs.to_string(),
        both(Samples::new(done.iter().map(|run| run.idle))),
        both(Samples::new(done.iter().map(|run| run.held))),
        both(Samples::new(empty)),
        done.iter().map(|run| run.wrong).sum::<usize>().to_string(),
    ])
}

/// So many acquires at once: the longest, and what they gave.
async fn slowest<S: Site>(site: &S, count: usize) -> (f64, Vec<Option<S::Connection>>) {
    let acquires = (0..count).map(|_| async {
        let began = Instant::now();
        let connection = site.acquire().await;
        if let Err(error) = &connection {
            println!("an acquire failed: {error:?}");
        }
        (millis(began.elapsed()), connection.ok())
    });
    let (times, connections): (Vec<f64>, Vec<_>) = join_all(acquires).await.into_iter().unzip();
    (times.into_iter().fold(0.0, f64::max), connections)
}

async fn once<G: Ground, S: Site>(cluster: &G, site: &S) -> Outcome<Run> {
    let half = SIZE as usize / 2;
    let (_, mut held) = slowest(site, 2 * half).await;
    drop(held.split_off(half));
    let record = cluster.lose_writer(Loss::Freeze).await?;
    let end = Instant::now() + LIMIT;
    while site.known_writer() != Some(record.new_writer) {
        if Instant::now() >= end {
            return Err(format!("the monitor does not know the new writer after {LIMIT:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (idle, mut fresh) = slowest(site, half).await;
    for connection in held.iter_mut().flatten() {
        // It is silent, or already ended.
        let _ = tokio::time::timeout(PATIENCE, site.insert(connection, -1)).await;
    }
    drop(held);
    let (held, rest) = slowest(site, half).await;
    fresh.extend(rest);
    let mut wrong = 0;
    for connection in &mut fresh {
        let node = match connection {
            Some(connection) => site.node_of(connection).await,
            None => None,
        };
        wrong += usize::from(node != Some(record.new_writer));
    }
    drop(fresh);
    cluster.mend(Loss::Freeze, &record).await?;
    Ok(Run { idle, held, wrong })
}
