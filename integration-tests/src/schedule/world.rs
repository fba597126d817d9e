//! One run: a cluster, a connector with the real plugins, workers, faults, checks.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::observe::Observer;
use wrapper_core::plugin::PluginFactory;
use wrapper_core::testkit::{ScriptedCluster, Trace, parts};
use wrapper_plugins::connection_tracker::ConnectionTracker;
use wrapper_plugins::efm::{EfmMonitors, HostMonitoring};
use wrapper_plugins::failover::Failover;
use wrapper_plugins::initial_connection::InitialConnection;

use super::book::Book;
use super::check::check;
use super::faults::{Faults, gusts};
use super::invariant::{Invariant, Violation};
use super::plan::Plan;
use super::planted::Planted;
use super::planted_plugins::Faulty;
use super::slot::Slot;
use super::witness::{Published, WitnessFactory};
use super::worker::Worker;

/// After the healing: how long workers may need at most.
const LONGEST: Duration = Duration::from_secs(600);
/// How long the library is left alone before it is looked at at rest.
const QUIET: Duration = Duration::from_secs(6);

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Played {
    /// The seed.
    pub seed: u64,
    /// Promises that were not kept.
    pub violations: Vec<Violation>,
    /// What happened, one line each, with the virtual time.
    pub trace: String,
    /// Calls that the workers made.
    pub calls: u64,
    /// Switches that the sessions made.
    pub switches: u64,
}

/// Plays one seed, with a planted bug if one is given.
///
/// # Panics
/// When no runtime can be made.
pub fn run(seed: u64, planted: Option<Planted>) -> Played {
    #[allow(clippy::expect_used, reason = "without a runtime there is nothing to play on")]
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(play(seed, planted))
}

fn plugins(witness: WitnessFactory, planted: Option<Planted>) -> Vec<Arc<dyn PluginFactory>> {
    let real: [Arc<dyn PluginFactory>; 5] = [
        Arc::new(InitialConnection::new()),
        Arc::new(ConnectionTracker::new()),
        Arc::new(Failover::new()),
        Arc::new(HostMonitoring::new()),
        Arc::new(witness),
    ];
    let plant = |inner: Arc<dyn PluginFactory>| -> Arc<dyn PluginFactory> {
        match planted.filter(|bug| bug.plugin() == Some(inner.name())) {
            Some(bug) => Arc::new(Faulty { inner, bug }),
            None => inner,
        }
    };
    real.into_iter().map(plant).collect()
}

async fn play(seed: u64, planted: Option<Planted>) -> Played {
    let mut rng = fastrand::Rng::with_seed(seed);
    let plan = Arc::new(Plan::draw(seed, &mut rng));
    let cluster = ScriptedCluster::of(plan.flavour, plan.hosts, seed);
    let trace = Trace::new(&cluster);
    trace.note(format!("{plan:?}"));
    let book = Arc::new(Book::default());
    let published = Arc::new(Published::new(&cluster, &book));
    let witness = WitnessFactory { book: Arc::clone(&book), built: Arc::default() };
    let observers: Vec<Arc<dyn Observer>> = vec![Arc::clone(&published) as _, Arc::new(trace.clone())];
    let made =
        parts(&cluster, plan.settings(), plugins(witness, planted), observers).and_then(ConnectorCore::new);
    let core = match made {
        Ok(core) => core,
        Err(error) => {
            let violations = vec![Violation::new(Invariant::EndsInTime, format!("no connector: {error}"))];
            return Played { seed, violations, trace: trace.to_string(), calls: 0, switches: 0 };
        }
    };
    let (heal, healed) = watch::channel(false);
    for host in 0..plan.hosts {
        cluster.set_latency(host, plan.latency);
    }
    let reader = match core.derive(&cluster.reader_endpoint(), plan.flavour.port()) {
        Ok(reader) => reader,
        Err(error) => {
            book.broken(Invariant::EndsInTime, format!("no reader connector: {error}"));
            core.clone()
        }
    };
    // First the owners on the writer endpoint, then those on the reader endpoint, then the guests.
    let owners = plan.slots + plan.readers;
    let slots: Vec<Slot> = (0..owners).map(|_| Slot::default()).collect();
    let mut workers = Vec::new();
    for index in 0..owners + plan.guests {
        let owner = index < owners;
        let reads = owner && index >= plan.slots;
        let slot = if owner { &slots[index] } else { &slots[0] };
        let worker = Worker {
            name: format!("w{index}"),
            owner,
            shares: !owner || (index == 0 && plan.guests > 0),
            slot: slot.clone(),
            core: if reads { reader.clone() } else { core.clone() },
            reads,
            plan: Arc::clone(&plan),
            book: Arc::clone(&book),
            trace: trace.clone(),
            rng: rng.fork(),
            planted,
        };
        workers.push(tokio::spawn(worker.work(healed.clone())));
    }
    let mut faults = Faults {
        cluster: cluster.clone(),
        rng: rng.fork(),
        book: Arc::clone(&book),
        trace: trace.clone(),
        suspect: vec![false; plan.hosts],
        latency: plan.latency,
    };
    drop(reader);
    let gusts = tokio::spawn(gusts(cluster.clone(), rng.fork(), plan.gusts, trace.clone()));
    if let Some(after) = plan.shutdown {
        let (core, trace) = (core.clone(), trace.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            trace.note("shut down");
            core.shutdown().await;
        });
    }
    faults.play(plan.faults).await;
    if gusts.await.is_err() {
        book.broken(Invariant::EndsInTime, "the gusts panicked");
    }
    heal.send_replace(true);
    for worker in &mut workers {
        match tokio::time::timeout(LONGEST, &mut *worker).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => book.broken(Invariant::EndsInTime, format!("a worker panicked: {error}")),
            Err(_) => {
                book.broken(Invariant::EndsInTime, "a worker never ended");
                worker.abort();
            }
        }
    }
    drop(workers);
    tokio::time::sleep(QUIET).await;
    at_rest(&cluster, &core, &plan, &book);
    slots.iter().for_each(Slot::clear);
    drop(slots);
    shut_down(&cluster, core, &book).await;
    check(&cluster, &book, &published);
    for silent in published.silent() {
        if cluster.index(&silent).is_some_and(|host| !faults.suspect[host]) {
            book.broken(Invariant::NoFalseVerdict, format!("{silent} was called silent"));
        }
    }
    let pages = book.pages();
    Played {
        seed,
        violations: pages.violations.clone(),
        trace: trace.to_string(),
        calls: pages.calls,
        switches: pages.switches,
    }
}

/// Budget at every instant and at rest (R7).
fn at_rest(cluster: &ScriptedCluster, core: &ConnectorCore, plan: &Plan, book: &Book) {
    let (monitors, sessions) = (cluster.monitors(), cluster.sessions());
    if monitors.most > plan.cap {
        let text = format!("{} monitoring connections at once, {} are allowed", monitors.most, plan.cap);
        book.broken(Invariant::Budget, text);
    }
    if monitors.open > 1 {
        book.broken(Invariant::Budget, format!("{} monitoring connections at rest", monitors.open));
    }
    // One, and during a switch the next one; a guest may keep a session alive that its owner has given up. A reader's
    // switch dials further hosts while the first ones do not answer.
    let most = 2 * (plan.slots + plan.guests) + (1 + plan.hosts) * plan.readers;
    if sessions.most > most {
        book.broken(
            Invariant::Budget,
            format!("{} connections of sessions at once, at most {most}", sessions.most),
        );
    }
    let watched = EfmMonitors::of(core.cluster()).watched();
    if watched > 0 {
        book.broken(Invariant::NothingLeft, format!("{watched} waits are watched, and nobody waits"));
    }
}

async fn shut_down(cluster: &ScriptedCluster, core: ConnectorCore, book: &Book) {
    for host in 0..cluster.len() {
        let open = core.cluster().registry().open(&cluster.host(host).key);
        if open > 0 {
            book.broken(Invariant::NothingLeft, format!("{open} leases on instance-{}", host + 1));
        }
    }
    let deadline = tokio::time::timeout(Duration::from_secs(30), core.shutdown());
    if deadline.await.is_err() {
        book.broken(Invariant::NothingLeft, "the shutdown does not end");
    }
    let tasks = core.cluster().task_count();
    if tasks > 0 {
        book.broken(Invariant::NothingLeft, format!("{tasks} tasks of the cluster"));
    }
    drop(core);
    // Servers notice that their clients have gone.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let alive = Handle::current().metrics().num_alive_tasks();
    if alive > 0 {
        book.broken(Invariant::NothingLeft, format!("{alive} tasks"));
    }
    let (monitors, sessions) = (cluster.monitors().open, cluster.sessions().open);
    if monitors + sessions > 0 {
        let text = format!("{monitors} connections of monitors and {sessions} of sessions");
        book.broken(Invariant::NothingLeft, text);
    }
}
