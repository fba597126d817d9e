//! Threads that enter waits against the monitor's side, in real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Environment;
use wrapper_core::host::{HostInfo, HostRole};

use super::world::World;
use crate::efm::HostMonitoring;
use crate::efm::config::Parameters;
use crate::efm::desk::Desk;
use crate::efm::host::{EfmMonitors, HostMonitor};

const PARAMETERS: Parameters = Parameters {
    grace: Duration::from_secs(1),
    interval: Duration::from_secs(1),
    count: 3,
    disposal_time: Duration::from_secs(1),
    probe_timeout: Duration::from_secs(1),
    connect_timeout: Duration::from_secs(1),
    restart_grace_on_bytes: false,
};

/// Another monitor task's side of a host, a session's desk, and a connection of it.
struct Scene {
    monitors: EfmMonitors,
    host: HostInfo,
    env: Environment,
    desks: Vec<(Arc<Desk>, Arc<dyn DriverConnection>)>,
}

impl Scene {
    fn new(sessions: usize) -> Self {
        let world = World::new();
        let desk = || {
            let connection = world.client(&HostMonitoring::new()).connection;
            (Arc::<Desk>::default(), connection as Arc<dyn DriverConnection>)
        };
        let host = HostInfo::new("host", 5432, HostRole::Writer);
        let env = Environment::builder().seed(1).build();
        Self { monitors: EfmMonitors::default(), host, env, desks: (0..sessions).map(|_| desk()).collect() }
    }

    /// As the plugin does; gives the token and whether a task is to be started.
    fn enter(&self, at: usize) -> (u64, Option<Arc<HostMonitor>>) {
        let (desk, connection) = &self.desks[at];
        loop {
            if let Some(entered) = desk.enter(connection, &self.env) {
                return (entered.token, entered.start);
            }
            desk.put(connection, self.monitors.monitor(&self.host, PARAMETERS, desk));
        }
    }
}

/// A task that has turned idle is woken by every wait that it did not see: else a long call would not be watched.
#[tokio::test]
async fn no_wait_is_missed_by_a_monitor_that_turns_idle() {
    let scene = Arc::new(Scene::new(2));
    let monitor = scene.monitors.monitor(&scene.host, PARAMETERS, &scene.desks[0].0);
    let (seen, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let sessions: Vec<_> = (0..2)
        .map(|at| {
            let (scene, seen, over) = (Arc::clone(&scene), Arc::clone(&seen), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Acquire) {
                    let (token, _) = scene.enter(at);
                    let looks = seen.load(Ordering::Acquire);
                    // The wait lasts until the monitor has seen a wait since.
                    while seen.load(Ordering::Acquire) == looks && !over.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                    scene.desks[at].0.leave(token);
                }
            })
        })
        .collect();
    let (mut turns, mut looks) = (0, 0);
    // Until it has happened; on a busy machine the threads may come late.
    while looks < 20_000 || (turns == 0 && looks < 50_000_000) {
        looks += 1;
        if monitor.turn_idle() {
            turns += 1;
            let woken = tokio::time::timeout(Duration::from_secs(20), monitor.busy()).await;
            assert!(woken.is_ok(), "a wait began, and nobody woke the monitor");
        }
        if monitor.oldest().0.is_some() {
            seen.fetch_add(1, Ordering::AcqRel);
        }
    }
    over.store(true, Ordering::Release);
    sessions.into_iter().for_each(|session| session.join().unwrap());
    assert!(turns > 0, "it never turned idle: nothing was tried");
    assert_eq!(scene.monitors.watched(), 0);
}

/// Of a host there is one monitor at a time, and none is disposed of that has a wait.
#[tokio::test]
async fn no_monitor_is_disposed_of_with_a_wait() {
    let scene = Arc::new(Scene::new(2));
    let over = Arc::new(AtomicBool::new(false));
    let called = Arc::new(AtomicU64::new(0));
    let sessions: Vec<_> = (0..2)
        .map(|at| {
            let (scene, over, called) = (Arc::clone(&scene), Arc::clone(&over), Arc::clone(&called));
            std::thread::spawn(move || {
                while !over.load(Ordering::Acquire) {
                    let (token, _) = scene.enter(at);
                    assert!(scene.monitors.watched() > 0, "the wait is on no monitor that is known");
                    scene.desks[at].0.leave(token);
                    called.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    let mut disposed = 0_u64;
    // On a busy machine the threads may come late.
    let works =
        || called.load(Ordering::Acquire) < 1_000 && sessions.iter().any(|session| !session.is_finished());
    while disposed < 2_000 || works() {
        let monitor = scene.monitors.monitor(&scene.host, PARAMETERS, &scene.desks[0].0);
        if scene.monitors.retire(&monitor) {
            scene.monitors.sweep(&scene.host.key);
            disposed += 1;
        }
    }
    over.store(true, Ordering::Release);
    sessions.into_iter().for_each(|session| session.join().unwrap());
    assert_eq!(scene.monitors.watched(), 0);
}
