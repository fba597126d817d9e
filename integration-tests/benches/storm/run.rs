//! Runs both programs in turn through failovers of one cluster, and prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use integration_tests::{Flavour, LocalCluster};
use tokio::sync::watch;

use crate::clients::{self, Seen};
use crate::support::page::{Table, keep};
use crate::support::server_log::Mark;
use crate::support::stats::{Millis, Samples, millis};
use crate::support::{Arguments, Outcome, alloc, cluster::connector};

/// All clients together write about so many rows a second.
const ROWS_A_SECOND: usize = 1000;
/// How long the clients may take to write again.
const LIMIT: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(1);
const HEADING: [&str; 11] = [
    "clients",
    "runs",
    "half write again, bare",
    "ours (ratio)",
    "all write again, bare",
    "ours (ratio)",
    "cluster accepts writes",
    "most connections opened on the new writer, bare / ours (monitor's)",
    "most in 100 ms, bare / ours",
    "tasks of the runtime, bare / ours",
    "bytes a client, bare / ours / ours after",
];

/// What one failover showed.
struct Run {
    /// From the crash, in milliseconds.
    half: f64,
    all: f64,
    accepting: f64,
    opened: usize,
    monitors: usize,
    busiest_tenth: usize,
    tasks: usize,
    bytes: f64,
    bytes_after: f64,
    /// When each client wrote again, from the crash.
    back: Vec<f64>,
}

pub(crate) async fn all(arguments: &Arguments) -> Outcome {
    let runs: usize = arguments.value("--runs")?.unwrap_or(5);
    let list: String = arguments.value("--clients")?.unwrap_or_else(|| "200,1000".to_owned());
    let mut table = Table::new(&HEADING);
    let mut curves = Vec::new();
    for count in list.split(',') {
        let count: usize = count.parse().map_err(|_| format!("`--clients {list}`: not a list of numbers"))?;
        let every = Duration::from_millis((count * 1000 / ROWS_A_SECOND).max(1) as u64);
        // By the promotion every client has met the crash by a write of its own.
        let promotion = every.max(Duration::from_millis(200));
        let cluster = LocalCluster::builder()
            .flavour(Flavour::Aurora)
            .max_connections(u32::try_from(count)? + 100)
            .promotion_time(promotion..=promotion)
            .rejoin_after(Some(Duration::from_secs(2)))
            .server_setting("log_connections", "on")
            .start()
            .await?;
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for number in 1..=runs {
            for (name, runs) in [("bare", &mut bare), ("ours", &mut ours)] {
                let run = once(&cluster, name == "ours", count, every, arguments.has("--verbose")).await?;
                println!(
                    "{count} clients, {name} {number}: accepting {}, half {}, all {}, opened {} (monitor's {}), \
                     {} in 100 ms, {} tasks, {:.0} bytes a client, {:.0} after",
                    Millis(run.accepting),
                    Millis(run.half),
                    Millis(run.all),
                    run.opened,
                    run.monitors,
                    run.busiest_tenth,
                    run.tasks,
                    run.bytes,
                    run.bytes_after,
                );
                runs.push(run);
            }
        }
        cluster.stop().await;
        table.row(row(count, &bare, &ours));
        for (name, runs) in [("bare, told the new address", bare), ("ours", ours)] {
            curves.extend(middle(runs).map(|run| (format!("{count} clients, {name}"), run.back)));
        }
    }
    table.print();
    if arguments.has("--write") {
        table.write("storm", &arguments.command("storm"), &[])?;
        keep("storm", &curves)?;
    }
    Ok(())
}

/// The run whose last client stands in the middle.
fn middle(mut runs: Vec<Run>) -> Option<Run> {
    runs.sort_by(|a, b| a.all.total_cmp(&b.all));
    let at = runs.len() / 2;
    runs.into_iter().nth(at)
}

fn row(count: usize, bare: &[Run], ours: &[Run]) -> [String; 11] {
    let median = |runs: &[Run], of: fn(&Run) -> f64| Samples::new(runs.iter().map(of)).median();
    let most = |runs: &[Run], of: fn(&Run) -> usize| runs.iter().map(of).max().unwrap_or(0);
    let pair = |of: fn(&Run) -> f64| {
        let (bare, ours) = (median(bare, of), median(ours, of));
        [Millis(bare).to_string(), format!("{} ({:.2})", Millis(ours), ours / bare)]
    };
    let [half_bare, half] = pair(|run| run.half);
    let [all_bare, all] = pair(|run| run.all);
    [
        count.to_string(),
        ours.len().to_string(),
        half_bare,
        half,
        all_bare,
        all,
        Millis(median(ours, |run| run.accepting)).to_string(),
        format!(
            "{} / {} ({})",
            most(bare, |run| run.opened),
            most(ours, |run| run.opened),
            most(ours, |run| run.monitors)
        ),
        format!("{} / {}", most(bare, |run| run.busiest_tenth), most(ours, |run| run.busiest_tenth)),
        format!("{} / {}", most(bare, |run| run.tasks), most(ours, |run| run.tasks)),
        format!(
            "{:.0} / {:.0} / {:.0}",
            median(bare, |run| run.bytes),
            median(ours, |run| run.bytes),
            median(ours, |run| run.bytes_after)
        ),
    ]
}

async fn once(
    cluster: &LocalCluster,
    ours: bool,
    count: usize,
    every: Duration,
    verbose: bool,
) -> Outcome<Run> {
    let old = cluster.writer();
    let setup = cluster.connect_app(old).await?;
    setup.batch_execute("DROP TABLE IF EXISTS load; CREATE TABLE load (id bigint PRIMARY KEY)").await?;
    drop(setup);
    let app = cluster.app();
    let runtime = tokio::runtime::Handle::current().metrics();
    let (tasks_before, before) = (runtime.num_alive_tasks(), alloc::live());
    let seen = Seen::default();
    let (tell, told) = watch::channel(old);
    let connector = if ours { Some(connector(cluster).build()?) } else { None };
    let tasks = match &connector {
        Some(connector) => clients::wrapped(connector, count, every, &seen).await?,
        None => clients::bare(cluster, count, every, told, &seen).await?,
    };
    tokio::time::sleep(every + SETTLE).await;
    // What the clients note grows with time; a few bytes a row.
    let bytes = (alloc::live() - before) as f64 / count as f64;
    let alive = runtime.num_alive_tasks() - tasks_before;
    let marks: Vec<(_, Mark)> = cluster
        .nodes()
        .into_iter()
        .map(|node| Ok((node, Mark::at_end(cluster.log_file(node))?)))
        .collect::<Outcome<_>>()?;
    let record = cluster.fail_over().await?;
    tell.send_replace(record.new_writer);
    let end = Instant::now() + LIMIT;
    while seen.back().len() < count {
        if Instant::now() >= end {
            return Err(format!(
                "{} of {count} clients write again {LIMIT:?} after the failover; {}",
                seen.back().len(),
                counted(&seen.failures())
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(every + SETTLE).await;
    let bytes_after = (alloc::live() - before) as f64 / count as f64;
    if verbose {
        println!("{record}; calls failed with {}", counted(&seen.failures()));
        for report in connector.iter().flat_map(|connector| connector.reports()).take(3) {
            println!("{report}");
        }
    }
    drop(tasks);
    drop(tell);
    if let Some(connector) = connector {
        connector.shutdown().await;
    }
    let mark = marks.iter().find(|(node, _)| *node == record.new_writer);
    let opened = mark.ok_or("the new writer is a node")?.1.opened_by(&app.user)?;
    let since = |at: Instant| millis(at.saturating_duration_since(record.t_crash));
    let back: Vec<f64> = seen.back().into_iter().take(count).map(since).collect();
    let samples = Samples::new(back.iter().copied());
    let lost = lost(cluster, &seen).await?;
    if lost > 0 {
        return Err(format!("{lost} acknowledged writes are lost").into());
    }
    cluster.wait_until_healthy(LIMIT).await?;
    Ok(Run {
        half: samples.median(),
        all: samples.greatest(),
        accepting: since(record.t_accepting),
        opened: opened.all,
        monitors: opened.monitors,
        busiest_tenth: opened.busiest_tenth,
        tasks: alive,
        bytes,
        bytes_after,
        back,
    })
}

/// Acknowledged writes that the present writer does not have.
async fn lost(cluster: &LocalCluster, seen: &Seen) -> Outcome<usize> {
    let writer = cluster.connect_app(cluster.writer()).await?;
    let rows = writer.query("SELECT id FROM load", &[]).await?;
    let there: BTreeSet<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(seen.acknowledged().iter().filter(|id| !there.contains(id)).count())
}

fn counted(failures: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for failure in failures {
        *counts.entry(failure).or_default() += 1;
    }
    counts.iter().map(|(what, count)| format!("{what} x{count}")).collect::<Vec<_>>().join(", ")
}
