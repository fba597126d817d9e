//! The run: set up, two writers, the failover, reading back, clean-up; each step with a limit.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::live::{self, Phase};
use crate::options::{Engine, Options, Place};
use crate::place::{self, Running};
use crate::read_back::{self, Tables};
use crate::result::{ClientResult, RunResult, Timeline};
use crate::tally::Tally;
use crate::{picture, summary, writer};

/// How long both clients write before the writer is lost.
const LEAD: Duration = Duration::from_secs(2);

/// How long both write on after the later of them has come back.
const TAIL: Duration = Duration::from_millis(1500);

/// How much longer than the DNS lag the demo waits for both clients.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time for a user to trigger the failover of an own cluster.
const OWN_SECONDS: Duration = Duration::from_secs(120);

/// The limit of starting, of reading back and of cleaning up, each.
const STEP: Duration = Duration::from_secs(60);

/// Runs the demo; says whether the wrapper did what it is for.
pub(crate) async fn run(options: &Options, interrupted: &CancellationToken) -> Result<bool, String> {
    picture::check(&options.out)?;
    println!("starting {}", place_name(options));
    let running = unless(interrupted, limited("starting the cluster", place::start(options))).await?;
    let result = observe(options, &running, interrupted).await;
    let shown = result.and_then(|result| {
        println!();
        summary::print(&result);
        picture::write(&options.out, &picture::draw(options, running.title, &result))?;
        println!("\nThe picture is in {}", options.out.display());
        Ok(result.is_good())
    });
    // A cluster that does not stop in time is ended with this process.
    let stop = async {
        running.stop().await;
        Ok(())
    };
    let _ = limited("stopping the cluster", stop).await;
    shown
}

fn place_name(options: &Options) -> &'static str {
    match (&options.place, options.engine) {
        (Place::Simulated, Engine::Postgres) => "a simulated Aurora cluster of three, in this process",
        (Place::Simulated, Engine::Mysql) => "a simulated Aurora MySQL cluster of three, in this process",
        (Place::Local, Engine::Postgres) => "three PostgreSQL servers on this machine",
        (Place::Local, Engine::Mysql) => "three MariaDB servers on this machine",
        (Place::Url(_), _) => "against your cluster",
    }
}

async fn observe(
    options: &Options,
    running: &Running,
    interrupted: &CancellationToken,
) -> Result<RunResult, String> {
    let tables = Tables::new(running.is_ours());
    unless(interrupted, limited("creating the tables", read_back::create(&*running.drivers, &tables)))
        .await?;
    let result = write(options, running, &tables, interrupted).await;
    if !running.is_ours() {
        let dropped = limited("dropping the tables", read_back::drop_tables(&*running.drivers, &tables));
        if let Err(error) = dropped.await {
            eprintln!("the tables {tables} are still there, drop them: {error}");
        }
    }
    result
}

async fn write(
    options: &Options,
    running: &Running,
    tables: &Tables,
    interrupted: &CancellationToken,
) -> Result<RunResult, String> {
    let start = Instant::now();
    let (wrapped, bare) = (Arc::new(Tally::new(start)), Arc::new(Tally::new(start)));
    let (phase, phases) = watch::channel(Phase::Before);
    // Ended by the guard also when this future is dropped.
    let ending = CancellationToken::new();
    let guard = ending.clone().drop_guard();
    let (drivers, [wrapped_name, bare_name]) = (&running.drivers, running.drivers.names());
    let (wrapped_client, bare_client) = (drivers.wrapped(&tables.wrapped), drivers.bare(&tables.bare));
    let tasks = [
        tokio::spawn(writer::run(wrapped_client, Arc::clone(&wrapped), ending.clone())),
        tokio::spawn(writer::run(bare_client, Arc::clone(&bare), ending.clone())),
        tokio::spawn(live::show(Arc::clone(&wrapped), Arc::clone(&bare), phases, ending.clone())),
    ];
    let followed = tokio::select! {
        biased;
        () = interrupted.cancelled() => Ok(None),
        followed = follow(options, running, start, &wrapped, &bare, &phase) => followed,
    };
    let end = start.elapsed();
    drop(guard);
    for task in tasks {
        task.await.map_err(|error| format!("a task of the demo failed: {error}"))?;
    }
    let timeline = followed?;
    let (mut found_wrapped, mut found_bare) = (None, None);
    match limited("reading the tables back", read_back::both(&*running.drivers, tables)).await {
        Ok((of_wrapped, of_bare)) => {
            found_wrapped = Some(of_wrapped.compare(&wrapped.numbers()));
            found_bare = Some(of_bare.compare(&bare.numbers()));
        }
        Err(error) => eprintln!("the writes could not be checked: {error}"),
    }
    Ok(RunResult {
        end,
        timeline,
        wrapped: ClientResult { name: wrapped_name, tally: wrapped, found: found_wrapped },
        bare: ClientResult { name: bare_name, tally: bare, found: found_bare },
        reports: running.drivers.reports(),
    })
}

/// Loses the writer and waits until both clients have seen it through, or the time is over.
async fn follow(
    options: &Options,
    running: &Running,
    start: Instant,
    wrapped: &Tally,
    bare: &Tally,
    phase: &watch::Sender<Phase>,
) -> Result<Option<Timeline>, String> {
    if !running.is_ours() {
        phase.send_replace(Phase::Yours);
        println!("{}", yours(running.drivers.host()));
        tokio::time::sleep(options.seconds.unwrap_or(OWN_SECONDS)).await;
        return Ok(None);
    }
    let whole = options.seconds.map(|seconds| start + seconds);
    tokio::time::sleep(options.seconds.map_or(LEAD, |seconds| LEAD.min(seconds / 4))).await;
    for (tally, name) in [(wrapped, "wrapper's"), (bare, "bare")] {
        if tally.count() == 0 {
            let reason = tally.last_failure().unwrap_or_else(|| "no answer".to_owned());
            return Err(format!("the {name} client has not written at all: {reason}"));
        }
    }
    phase.send_replace(Phase::Lost { fault: options.fault.as_str(), at: start.elapsed() });
    let failover = limited("the failover", running.fail_over(options.fault)).await?;
    let since = |at: Instant| at.saturating_duration_since(start);
    let timeline = Timeline {
        from: failover.from,
        to: failover.to,
        lost: since(failover.lost),
        accepting: since(failover.accepting),
    };
    phase.send_replace(Phase::Back { writer: timeline.to.clone() });
    if let Some(whole) = whole {
        tokio::time::sleep_until(whole.into()).await;
        return Ok(Some(timeline));
    }
    let latest = Instant::now() + options.dns_lag + PATIENCE;
    let is_back = |tally: &Tally| tally.first_after(timeline.accepting).is_some();
    while Instant::now() < latest && !(is_back(wrapped) && is_back(bare)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(TAIL).await;
    Ok(Some(timeline))
}

/// What a user does to an Aurora cluster of their own.
fn yours(host: &str) -> String {
    let cluster = host.split_once(".cluster-").map_or("NAME", |(cluster, _)| cluster);
    format!(
        "both clients write; now fail your cluster over, for Aurora:\n  \
         aws rds failover-db-cluster --db-cluster-identifier {cluster}\n\
         Ctrl-C ends the demo when you have seen enough"
    )
}

async fn limited<T>(what: &str, step: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(STEP, step).await {
        Ok(done) => done,
        Err(_) => Err(format!("{what} took longer than {STEP:?}")),
    }
}

/// A step before there is anything to show: an interrupt ends it.
async fn unless<T>(
    interrupted: &CancellationToken,
    step: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::select! {
        biased;
        () = interrupted.cancelled() => Err("interrupted before anything was written".to_owned()),
        done = step => done,
    }
}
