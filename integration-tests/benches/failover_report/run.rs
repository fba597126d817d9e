//! Runs scenarios, checks that no acknowledged write was lost, and prints the table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use integration_tests::FailoverRecord;
use wrapper_core::observe::{Event, Observer};

use crate::load::{self, Seen};
use crate::scenario::{Scenario, all as scenarios};
use crate::support::engine::{Connector, Engine, Loss};
use crate::support::page::{Table, keep};
use crate::support::stats::{Millis, Samples, millis};
use crate::support::{Arguments, Outcome};

/// How long writes go on before the fault; a part of a second is added so that the phases of timers average out.
const BEFORE: Duration = Duration::from_millis(700);
/// How long the client may take to write again; more than the DNS lag that the bare driver waits for.
const LIMIT: Duration = Duration::from_secs(60);
const HEADING: [&str; 9] = [
    "scenario",
    "runs",
    "median",
    "p95",
    "worst",
    "detection, median (worst)",
    "downtime, median (worst)",
    "acknowledged writes lost",
    "what calls failed with",
];

/// What one run showed, in milliseconds.
struct Run {
    /// From the cluster accepting writes to the first acknowledged write.
    after: f64,
    /// From the fault to the first acknowledged write.
    downtime: f64,
    /// From the fault to the verdict that the host is silent.
    detection: Option<f64>,
    lost: usize,
    failures: Vec<String>,
    report: Option<String>,
}

/// Keeps the times at which the library saw what it saw.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<(Instant, String, bool)>>>);

impl Observer for Log {
    fn on_event(&self, event: &Event) {
        let silent = matches!(event, Event::HostSilent { .. });
        let mut text = format!("{event:?}");
        text.truncate(text.char_indices().nth(260).map_or(text.len(), |(at, _)| at));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), text, silent));
    }
}

/// The detection times of the bar for a silent host.
const QUICK: [(&str, &str); 3] = [
    ("failure_detection_time", "1s"),
    ("failure_detection_interval", "200ms"),
    ("failure_detection_count", "3"),
];

/// Runs what the arguments ask for.
pub(crate) async fn all<E: Engine>(arguments: &Arguments) -> Outcome {
    let runs: usize = arguments.value("--runs")?.unwrap_or(3);
    let only: Option<String> = arguments.value("--scenario")?;
    let known = scenarios();
    let chosen: Vec<Scenario> = match &only {
        None => known,
        Some(codes) => {
            let codes: Vec<&str> = codes.split(',').collect();
            if let Some(code) = codes.iter().find(|code| known.iter().all(|row| row.code != **code)) {
                let names: Vec<&str> = known.iter().map(|row| row.code).collect();
                return Err(format!("`--scenario {code}`: expected one of {}", names.join(", ")).into());
            }
            known.into_iter().filter(|row| codes.contains(&row.code)).collect()
        }
    };
    let mut table = Table::new(&HEADING);
    let (mut figures, mut server) = (Vec::new(), String::new());
    for scenario in &chosen {
        let cluster = E::start(scenario.setup()).await?;
        server = cluster.server().await?;
        // A run of the bare driver lasts as long as the DNS lag.
        let runs = if scenario.bare { runs.min(2) } else { runs };
        let mut done = Vec::new();
        for number in 1..=runs {
            let run = once(scenario, &cluster, arguments.has("--verbose")).await?;
            println!(
                "{} {number}/{runs}: first write after {}, downtime {}{}, lost {}, {}",
                scenario.code,
                Millis(run.after),
                Millis(run.downtime),
                run.detection.map(|ms| format!(", detected after {}", Millis(ms))).unwrap_or_default(),
                run.lost,
                counted(&run.failures)
            );
            done.push(run);
        }
        cluster.stop().await;
        if let Some(worst) = done.iter().max_by(|a, b| a.after.total_cmp(&b.after)) {
            println!("worst run of {}:\n{}\n", scenario.code, worst.report.as_deref().unwrap_or("no report"));
        }
        figures.push((scenario.title.to_owned(), done.iter().map(|run| run.after).collect()));
        table.row(row(scenario, &done));
    }
    table.print();
    println!("server: {server}");
    if arguments.has("--write") {
        let section = E::section("failover", &server);
        table.write(&section, &arguments.command("failover_report"), &[format!("Server: {server}.")])?;
        keep(&section, &figures)?;
    }
    Ok(())
}

fn row(scenario: &Scenario, runs: &[Run]) -> [String; 9] {
    let after = Samples::new(runs.iter().map(|run| run.after));
    let detection = Samples::new(runs.iter().filter_map(|run| run.detection));
    let downtime = Samples::new(runs.iter().map(|run| run.downtime));
    let failures: Vec<String> = runs.iter().flat_map(|run| run.failures.iter().cloned()).collect();
    // A drawn promotion time says nothing of the client: only a frozen writer is promoted at once.
    let both = |samples: &Samples| {
        if samples.is_empty() || scenario.loss != Loss::Freeze {
            "–".to_owned()
        } else {
            format!("{} ({})", Millis(samples.median()), Millis(samples.greatest()))
        }
    };
    [
        scenario.title.to_owned(),
        runs.len().to_string(),
        Millis(after.median()).to_string(),
        Millis(after.quantile(0.95)).to_string(),
        Millis(after.greatest()).to_string(),
        both(&detection),
        both(&downtime),
        runs.iter().map(|run| run.lost).sum::<usize>().to_string(),
        counted(&failures),
    ]
}

fn counted(failures: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for failure in failures {
        *counts.entry(failure).or_default() += 1;
    }
    counts.iter().map(|(what, count)| format!("{what} x{count}")).collect::<Vec<_>>().join(", ")
}

async fn once<E: Engine>(scenario: &Scenario, cluster: &E, verbose: bool) -> Outcome<Run> {
    cluster.make_table().await?;
    let seen = Seen::default();
    let log = Log::default();
    let mut ours: Option<E::Connector> = None;
    let task = if scenario.bare {
        tokio::spawn(load::bare(cluster.endpoint(), seen.clone()))
    } else {
        let settings: &[_] = if scenario.loss == Loss::Freeze { &QUICK } else { &[] };
        let connector = ours.insert(cluster.connector(log.clone(), settings)?);
        let client = connector.connect().await?;
        tokio::spawn(load::wrapped(client, seen.clone()))
    };
    tokio::time::sleep(BEFORE + Duration::from_millis(fastrand::Rng::new().u64(..250))).await;
    let record = cluster.lose_writer(scenario.loss).await?;
    let first = first_write(&seen).await;
    // A few more writes, to be looked for in the table.
    tokio::time::sleep(load::EVERY * 20).await;
    task.abort();
    let report = ours.as_ref().map(|connector| told(&connector.reports(), &log, &record));
    if let Some(connector) = ours {
        connector.shutdown().await;
    }
    let first = first?;
    // Acknowledged writes that the present writer does not have.
    let there = cluster.ids().await?;
    let lost = seen.acks().iter().filter(|ack| !there.contains(&ack.id)).count();
    let detection = log
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .find(|entry| entry.2)
        .map(|entry| entry.0);
    if verbose {
        println!("{}", report.as_deref().unwrap_or_default());
    }
    let run = Run {
        after: signed(record.t_accepting, first),
        downtime: signed(record.t_crash, first),
        detection: detection.map(|at| signed(record.t_crash, at)),
        lost,
        failures: seen.failures(),
        report,
    };
    cluster.mend(scenario.loss, &record).await?;
    Ok(run)
}

async fn first_write(seen: &Seen) -> Outcome<Instant> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(ack) = seen.first_after() {
            return Ok(ack.at);
        }
        if Instant::now() >= end {
            return Err(
                format!("no write for {LIMIT:?} after the failover: {}", counted(&seen.failures())).into()
            );
        }
        tokio::time::sleep(load::EVERY).await;
    }
}

/// The library's own report and events, on the clock of the cluster.
fn told(reports: &[String], log: &Log, record: &FailoverRecord) -> String {
    let mut text = format!("  {record}\n");
    for (at, what, _) in log.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if *at >= record.t_crash {
            text.push_str(&format!("  {:>+10.1} ms  {what}\n", signed(record.t_accepting, *at)));
        }
    }
    for report in reports {
        text.push_str(report);
        text.push('\n');
    }
    text
}

fn signed(from: Instant, to: Instant) -> f64 {
    if to >= from { millis(to - from) } else { -millis(from - to) }
}
