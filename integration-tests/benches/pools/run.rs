//! Failovers under load, a pool through many of them: when the pool's callers have a connection to the new writer, and
//! whether any got one to the old.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::{LocalCluster, MySqlCluster};

use crate::cell::{self, Cell, Ground, Kind, SIZE, TASKS};
use crate::load::Seen;
use crate::sqlx_support::site::Site;
use crate::support::page::{Table, keep};
use crate::support::stats::{Millis, Samples, millis};
use crate::support::{Arguments, Outcome};
use crate::{library, sqlx_pools};

/// How long the load goes on before the writer is lost, and after all tasks are back.
const AROUND: Duration = Duration::from_millis(300);
/// No pool may need longer to be back.
const LIMIT: Duration = Duration::from_secs(60);
const HEADING: [&str; 8] = [
    "pool and loss of the writer",
    "failovers",
    "first acquire of the pool: median, p99",
    "first acquire of each task: median, p99",
    "acquires",
    "to a demoted host",
    "acquires that failed, most in a failover",
    "opened on the new writer, most (monitor's)",
];

/// What one failover showed; times in milliseconds since the cluster accepted writes.
struct Run {
    first: f64,
    tasks: Vec<f64>,
    acquires: usize,
    demoted: usize,
    refused: Vec<String>,
    opened: Option<(usize, usize)>,
}

/// Runs what the arguments ask for.
pub(crate) async fn all(arguments: &Arguments) -> Outcome {
    let runs: usize = arguments.value("--runs")?.unwrap_or(3);
    let main: usize = arguments.value("--main")?.unwrap_or(runs);
    let only: Option<String> = arguments.value("--pool")?;
    let chosen: Vec<Cell> = cell::all()
        .into_iter()
        .filter(|cell| {
            only.as_ref().is_none_or(|codes| codes.split(',').any(|code| code == cell.kind.code()))
        })
        .collect();
    if chosen.is_empty() {
        let codes: Vec<_> = cell::all().iter().map(|cell| cell.kind.code()).collect();
        return Err(format!("`--pool {}`: expected one of {codes:?}", only.unwrap_or_default()).into());
    }
    let mut table = Table::new(&HEADING);
    let (mut figures, mut servers) = (Vec::new(), std::collections::BTreeSet::new());
    for cell in &chosen {
        let runs = if cell.is_main() { main } else { runs };
        let (done, server) = if cell.kind.is_mysql() {
            through::<MySqlCluster>(cell, runs).await?
        } else {
            through::<LocalCluster>(cell, runs).await?
        };
        servers.insert(server);
        figures.push((cell.title(), done.iter().map(|run| run.first).collect()));
        table.row(row(cell, &done));
    }
    table.print();
    if arguments.has("--write") {
        let servers: Vec<String> = servers.into_iter().collect();
        let note = format!("Servers: {}. A pool of {SIZE}, {TASKS} tasks.", servers.join(", "));
        table.write("pools", &arguments.command("pools"), &[note])?;
        keep("pools", &figures)?;
    }
    Ok(())
}

fn row(cell: &Cell, runs: &[Run]) -> [String; 8] {
    let first = Samples::new(runs.iter().map(|run| run.first));
    let tasks = Samples::new(runs.iter().flat_map(|run| run.tasks.iter().copied()));
    let both =
        |samples: &Samples| format!("{}, {}", Millis(samples.median()), Millis(samples.quantile(0.99)));
    let opened = runs.iter().filter_map(|run| run.opened).max();
    [
        cell.title(),
        runs.len().to_string(),
        both(&first),
        both(&tasks),
        runs.iter().map(|run| run.acquires).sum::<usize>().to_string(),
        runs.iter().map(|run| run.demoted).sum::<usize>().to_string(),
        runs.iter().map(|run| run.refused.len()).max().unwrap_or(0).to_string(),
        opened.map_or_else(|| "–".to_owned(), |(all, monitors)| format!("{all} ({monitors})")),
    ]
}

/// One pool through all failovers of a row; and the server.
async fn through<P: Plays>(cell: &Cell, runs: usize) -> Outcome<(Vec<Run>, String)> {
    let (cluster, authority) = cell::start::<P>(cell.tls).await?;
    let server = cluster.server().await?;
    cluster.make_t().await?;
    let done = cluster.play(cell, authority.as_deref(), runs).await;
    cluster.stop().await;
    Ok((done?, server))
}

/// Makes the pool of a row and sends it through the failovers.
trait Plays: Ground {
    async fn play(&self, cell: &Cell, authority: Option<&str>, runs: usize) -> Outcome<Vec<Run>>;
}

impl Plays for LocalCluster {
    async fn play(&self, cell: &Cell, authority: Option<&str>, runs: usize) -> Outcome<Vec<Run>> {
        let refresh = cell.refresh;
        match cell.kind {
            Kind::Sqlx09Pg => with(self, sqlx_pools::pg(self, authority, refresh).await, cell, runs).await,
            Kind::Sqlx08Pg => {
                with(self, sqlx_pools::pg_0_8(self, authority, refresh).await, cell, runs).await
            }
            Kind::ClusterPg => {
                with(self, sqlx_pools::cluster_pg(self, authority, refresh).await?, cell, runs).await
            }
            Kind::DeadpoolPg => with(self, library::deadpool_pg(self, refresh)?, cell, runs).await,
            Kind::Bb8Pg => with(self, library::bb8_pg(self, refresh).await?, cell, runs).await,
            Kind::DeadpoolPostgres => {
                with(self, library::deadpool_postgres(self, refresh)?, cell, runs).await
            }
            _ => Err(format!("{:?} is not of PostgreSQL", cell.kind).into()),
        }
    }
}

impl Plays for MySqlCluster {
    async fn play(&self, cell: &Cell, authority: Option<&str>, runs: usize) -> Outcome<Vec<Run>> {
        let refresh = cell.refresh;
        match cell.kind {
            Kind::Sqlx09MySql => {
                with(self, sqlx_pools::mysql(self, authority, refresh).await, cell, runs).await
            }
            Kind::Sqlx08MySql => {
                with(self, sqlx_pools::mysql_0_8(self, authority, refresh).await, cell, runs).await
            }
            Kind::ClusterMySql => {
                with(self, sqlx_pools::cluster_mysql(self, authority, refresh).await?, cell, runs).await
            }
            Kind::DeadpoolMySql => with(self, library::deadpool_mysql(self, refresh)?, cell, runs).await,
            Kind::Bb8MySql => with(self, library::bb8_mysql(self, refresh).await?, cell, runs).await,
            _ => Err(format!("{:?} is not of the MySQL family", cell.kind).into()),
        }
    }
}

async fn with<G: Ground, S: Site>(cluster: &G, site: S, cell: &Cell, runs: usize) -> Outcome<Vec<Run>> {
    let mut done = Vec::new();
    for number in 1..=runs {
        let run = once(cluster, &site, cell).await?;
        println!(
            "{} {number}/{runs}: first {}, tasks {} (worst {}), {} acquires, {} demoted, opened {:?}, {} refused {:?}",
            cell.title(),
            Millis(run.first),
            Millis(Samples::new(run.tasks.iter().copied()).median()),
            Millis(Samples::new(run.tasks.iter().copied()).greatest()),
            run.acquires,
            run.demoted,
            run.opened,
            run.refused.len(),
            run.refused.first(),
        );
        done.push(run);
    }
    site.end().await;
    Ok(done)
}

async fn once<G: Ground, S: Site>(cluster: &G, site: &S, cell: &Cell) -> Outcome<Run> {
    cluster.make_t().await?;
    let seen = Seen::default();
    let marks = cluster.logs()?;
    let load = join_all((0..TASKS).map(|task| seen.write(task, site)));
    let script = async {
        let record = async {
            let pause = AROUND + Duration::from_millis(fastrand::u64(..250));
            tokio::time::sleep(pause).await;
            let record = cluster.lose_writer(cell.loss).await?;
            let end = Instant::now() + LIMIT;
            while firsts(&seen, &record).1.len() < TASKS {
                if Instant::now() >= end {
                    let back = firsts(&seen, &record).1.len();
                    let last = seen.refused.borrow().last().cloned();
                    return Err(format!("{back} of {TASKS} tasks are back after {LIMIT:?}: {last:?}").into());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(AROUND).await;
            Outcome::Ok(record)
        }
        .await;
        seen.stop();
        record
    };
    let (_, record) = tokio::join!(load, script);
    let record = record?;
    let (first, tasks) = firsts(&seen, &record);
    let there = cluster.t().await?;
    if let Some(lost) = seen.acknowledged.borrow().iter().find(|id| !there.contains(id)) {
        return Err(format!("the acknowledged write {lost} is lost").into());
    }
    let mark = marks.iter().find(|(node, _)| *node == record.new_writer);
    let opened = match mark {
        Some((_, mark)) => {
            let opened = mark.opened_by(&cluster.app_user())?;
            Some((opened.all, opened.monitors))
        }
        None => None,
    };
    cluster.mend(cell.loss, &record).await?;
    let run = Run {
        first: first.ok_or("no task is back")?,
        tasks,
        acquires: seen.acquired.borrow().len(),
        demoted: seen.demoted.get(),
        refused: seen.refused.take(),
        opened,
    };
    Ok(run)
}

/// When the pool, and when each task that is back, first had a connection to the new writer over which a write was
/// acknowledged.
fn firsts(seen: &Seen, record: &integration_tests::FailoverRecord) -> (Option<f64>, Vec<f64>) {
    let mut tasks = [None::<f64>; TASKS];
    for acquired in seen.acquired.borrow().iter() {
        // A connection that was there before, over which the write waited, was acquired at once.
        if acquired.node == record.new_writer && acquired.wrote {
            let after = millis(acquired.got.saturating_duration_since(record.t_accepting));
            tasks[acquired.task].get_or_insert(after);
        }
    }
    let tasks: Vec<f64> = tasks.into_iter().flatten().collect();
    (tasks.iter().copied().reduce(f64::min), tasks)
}
