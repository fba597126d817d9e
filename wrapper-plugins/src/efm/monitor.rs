//! The task of one host: when a wait is overdue it probes the host, and closes connections when the host is silent.
//!
//! Between two probes it sleeps until the next moment at which something can follow, computed from the oldest wait;
//! with no wait at all it sleeps until one begins. Nothing here runs at a fixed rate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use wrapper_core::cluster::{ClusterCore, MonitorConnection, MonitorPermit};
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Deadline;
use wrapper_core::observe::{Event, in_probe_span};
use wrapper_core::plugin::HostStateChange;
use wrapper_core::{Error, ErrorClass, ErrorKind};

use super::config::Parameters;
use super::host::{EfmMonitors, HostMonitor, Running};
use super::probe::{Finding, Means, probe};

/// The task's name in events.
const TASK: &str = "host monitor";
/// Pause before a task that has panicked goes on; it doubles from panic to panic.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause, and how long a task must have run for the pause to be short again.
const LONGEST_RESTART_PAUSE: Duration = Duration::from_secs(10);
/// The least time between two probes whose credentials were refused: failing logins can lock an account.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// The least lateness of a timer at which a verdict is skipped.
const PAUSED: Duration = Duration::from_millis(500);

/// Runs the monitor until it is disposed of; a panic does not end it.
pub(super) async fn supervise(core: Arc<ClusterCore>, monitors: Arc<EfmMonitors>, running: Running) {
    let monitor = &running.0;
    let mut pause = RESTART_PAUSE;
    loop {
        let began = core.env().now();
        let run = Task::new(&core, &monitors, monitor).run();
        if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
            break;
        }
        core.emit(&Event::TaskRestarted { task: TASK });
        monitor.probing.store(false, Ordering::Release);
        if core.env().now().duration_since(began) > LONGEST_RESTART_PAUSE {
            pause = RESTART_PAUSE;
        }
        core.env().sleep(pause).await;
        pause = (pause * 2).min(LONGEST_RESTART_PAUSE);
    }
    monitors.sweep(&monitor.host.key);
}

struct Task<'a> {
    core: &'a Arc<ClusterCore>,
    monitors: &'a EfmMonitors,
    monitor: &'a Arc<HostMonitor>,
    parameters: Parameters,
    connection: Option<MonitorConnection>,
    permit: Option<MonitorPermit>,
    /// Probes in a row that nothing came back from.
    failures: u32,
    last_failure: Option<Error>,
    /// The last thing that was warned of; the same is not said at every probe.
    warned: Option<ErrorKind>,
    /// When the next probe may start.
    not_before: Instant,
}

enum Step {
    /// Nothing is watched.
    Idle,
    Sleep(Instant),
    Probe,
    /// The host is known to be silent and a wait that no probe was started for has become overdue.
    Verdict,
}

impl<'a> Task<'a> {
    fn new(core: &'a Arc<ClusterCore>, monitors: &'a EfmMonitors, monitor: &'a Arc<HostMonitor>) -> Self {
        Self {
            core,
            monitors,
            monitor,
            parameters: monitor.parameters,
            connection: None,
            permit: None,
            failures: 0,
            last_failure: None,
            warned: None,
            not_before: core.env().now(),
        }
    }

    /// Ends when the host has not been called for the disposal time.
    async fn run(mut self) {
        loop {
            match self.next_step() {
                Step::Idle => {
                    if self.idle().await {
                        return;
                    }
                }
                Step::Sleep(until) => self.sleep(until).await,
                Step::Probe => self.probe().await,
                Step::Verdict => self.verdict(),
            }
        }
    }

    fn next_step(&mut self) -> Step {
        let (now, grace) = (self.core.env().now(), self.parameters.grace);
        let silent = self.is_silent();
        if self.parameters.restart_grace_on_bytes {
            self.monitor.restart_on_bytes(now);
        }
        let (oldest, unprobed) = self.monitor.oldest();
        let due = oldest.map(|since| since + grace);
        let fresh_due = unprobed.filter(|_| silent).map(|since| since + grace);
        if fresh_due.is_some_and(|due| due <= now) {
            return Step::Verdict;
        }
        // A silent host is asked on while anybody waits for it, so that whoever becomes overdue next is not left to
        // a series of probes of its own.
        if due.is_some_and(|due| due <= now) || (silent && due.is_some()) {
            if self.not_before <= now {
                return Step::Probe;
            }
            return Step::Sleep(fresh_due.map_or(self.not_before, |due| due.min(self.not_before)));
        }
        // Nobody is overdue. The connection is kept until the next probe would be due, for the next call to use:
        // short graces and short calls would open one connection a call otherwise.
        if self.not_before > now && (self.connection.is_some() || self.permit.is_some()) {
            return Step::Sleep(due.map_or(self.not_before, |due| due.min(self.not_before)));
        }
        self.close();
        self.forget_failures();
        due.map_or(Step::Idle, Step::Sleep)
    }

    fn is_silent(&self) -> bool {
        self.failures >= self.parameters.count
    }

    fn forget_failures(&mut self) {
        self.failures = 0;
        self.last_failure = None;
    }

    fn close(&mut self) {
        self.connection = None;
        self.permit = None;
        self.monitor.probing.store(false, Ordering::Release);
    }

    /// True when the monitor was disposed of.
    async fn idle(&mut self) -> bool {
        if !self.monitor.turn_idle() {
            return false;
        }
        tokio::select! {
            biased;
            () = self.monitor.busy() => false,
            () = self.core.env().sleep(self.parameters.disposal_time) => self.monitors.retire(self.monitor),
        }
    }

    async fn sleep(&mut self, until: Instant) {
        self.core.env().sleep_until(until).await;
        self.noticed_pause(self.core.env().now().saturating_duration_since(until));
    }

    /// Whether a timer was so late that this process must have been paused: nothing that was found before or
    /// during the pause is held against the host.
    fn noticed_pause(&mut self, late: Duration) -> bool {
        let paused = late > PAUSED.max(self.parameters.interval / 2);
        if paused && self.failures > 0 {
            self.forget_failures();
            self.core.emit(&Event::VerdictSkipped { host: self.monitor.host.key.clone() });
        }
        paused
    }

    async fn probe(&mut self) {
        let Some(means) = self.means().await else { return };
        let now = self.core.env().now();
        self.not_before = now + self.parameters.interval;
        self.monitor.probe_starts(now, self.failures == 0);
        let asked = probe(self.core, &self.monitor.host, &self.parameters, means);
        match in_probe_span(&self.monitor.host.key, asked).await {
            Finding::Answered(connection) => {
                // At the cap others may be waiting for their turn: this one's is over.
                self.warned = None;
                let budget = self.core.budget();
                self.keep(connection.filter(|_| budget.used() < budget.cap()));
                self.answered();
            }
            Finding::Refused(error) => {
                self.keep(None);
                self.answered();
                if error.class() == ErrorClass::Login {
                    self.not_before = self.not_before.max(now + LOGIN_PAUSE);
                }
                self.warn("is refused by", &error);
            }
            Finding::Lost => {
                self.keep(None);
                self.not_before = now;
            }
            Finding::Silent(error, late) => {
                self.keep(None);
                self.failed(error, late);
            }
            Finding::NotMade(error) => {
                self.keep(None);
                self.warn("cannot probe", &error);
            }
        }
    }

    /// The connection of the probe before, or the right to open one. `None` after a wait for that right: whether a
    /// probe is still wanted must be asked again.
    async fn means(&mut self) -> Option<Means> {
        if let Some(open) = self.connection.take() {
            return Some(Means::Open(open));
        }
        if let Some(permit) = self.permit.take() {
            return Some(Means::Permit(permit));
        }
        self.monitor.probing.store(true, Ordering::Release);
        let mut turn = std::pin::pin!(self.core.budget().permit());
        let prompt = Deadline::after(self.parameters.interval, "failure_detection_interval");
        let permit = match prompt.run("waiting for a turn", &mut turn).await {
            Err(error) if error.kind() == ErrorKind::Timeout => {
                self.core.warn_once(format!(
                    "host monitoring of {} waits for a connection of its own: all {} are in use, detection takes \
                     longer; raise `max_monitor_connections`",
                    self.monitor.host.key,
                    self.core.budget().cap()
                ));
                turn.await
            }
            prompt => prompt,
        };
        self.permit = permit.ok();
        None
    }

    fn keep(&mut self, connection: Option<MonitorConnection>) {
        self.connection = connection;
        self.monitor.probing.store(self.connection.is_some(), Ordering::Release);
    }

    fn warn(&mut self, what: &str, error: &Error) {
        if self.warned.replace(error.kind()) != Some(error.kind()) {
            let host = &self.monitor.host.key;
            self.core.emit(&Event::Warning(format!("host monitoring {what} {host}: {error}")));
        }
    }

    fn answered(&mut self) {
        self.forget_failures();
        if self.monitor.down.swap(false, Ordering::AcqRel) {
            self.core.host_state_changed(&HostStateChange::new(self.monitor.host.key.clone(), true));
        }
    }

    fn failed(&mut self, error: Error, late: Duration) {
        // The failure counts first: a pause during the first probe of a series is a skipped verdict too.
        self.failures = self.failures.saturating_add(1);
        if self.noticed_pause(late) {
            return;
        }
        if self.failures == 1 {
            let error = error.clone().with_host(self.monitor.host.host());
            self.core.emit(&Event::Decision { error, action: "probe the host again" });
        }
        self.last_failure = Some(error);
        if self.is_silent() {
            self.verdict();
        }
    }

    /// Closes the connections whose calls have waited longer than the grace.
    fn verdict(&mut self) {
        let now = self.core.env().now();
        let condemned = self.monitor.condemn(now, self.parameters.grace);
        if condemned.is_empty() {
            return;
        }
        let host = &self.monitor.host.key;
        let error = self.silence();
        let closed = condemned.iter().filter(|connection| !connection.is_closed()).count();
        for connection in condemned {
            // A driver that panics here must not keep the others open.
            let kill = || DriverConnection::kill(&*connection, error.clone());
            let _ = catch_unwind(AssertUnwindSafe(kill));
        }
        self.core.emit(&Event::HostSilent { host: host.clone(), failures: self.failures, closed });
        if !self.monitor.down.swap(true, Ordering::AcqRel) {
            self.core.host_state_changed(&HostStateChange::new(host.clone(), false));
        }
    }

    fn silence(&self) -> Error {
        let Parameters { grace, interval, count, .. } = self.parameters;
        let host = &self.monitor.host;
        let error = Error::new(
            ErrorKind::HostSilent,
            format!(
                "{} is silent: {} probes in a row failed (`failure_detection_time={grace:?}`, \
                 `failure_detection_interval={interval:?}`, `failure_detection_count={count}`)",
                host.key, self.failures
            ),
        )
        .with_host(host.host());
        match &self.last_failure {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }
}
