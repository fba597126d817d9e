//! Events as events of `tracing`. Behind the feature `tracing`.

use ::tracing::{debug, error, info, trace, warn};

use super::catalog::spans::{TARGET_CLUSTER, TARGET_FAILOVER, TARGET_MONITOR, TARGET_TOPOLOGY};
use super::{Event, Observer, SwitchReport};

/// Tells the subscriber of the application, as the crate `tracing` knows it, of every event of a cluster.
///
/// Targets, levels and fields: [`catalog::LINES`](super::catalog::LINES). The times of connects and calls are not
/// repeated: the plugins `connect_time` and `execute_time` write them themselves, in their spans.
///
/// ```
/// use wrapper_core::observe::{Observer, TracingObserver};
///
/// let observer: Box<dyn Observer> = Box::new(TracingObserver::new());
/// # let _ = observer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver(());

impl TracingObserver {
    /// The observer.
    pub fn new() -> Self {
        Self(())
    }
}

impl Observer for TracingObserver {
    fn on_event(&self, event: &Event) {
        match event {
            Event::Topology(published) => trace!(
                target: TARGET_TOPOLOGY,
                topology = %published.topology, verified = published.verified,
                "topology"
            ),
            Event::WriterChanged { from: None, to } => {
                debug!(target: TARGET_TOPOLOGY, to = to.short_name(), "writer found");
            }
            Event::WriterChanged { from: Some(from), to } => {
                info!(target: TARGET_TOPOLOGY, from = from.short_name(), to = to.short_name(), "writer changed");
            }
            Event::SearchStarted => info!(target: TARGET_TOPOLOGY, "searching for the writer"),
            Event::HostSilent { host, failures, closed } => warn!(
                target: TARGET_MONITOR, %host, failures, closed,
                "host is silent, its connections were closed"
            ),
            Event::HostState(change) if change.up => {
                info!(target: TARGET_MONITOR, host = %change.host, "host answers again");
            }
            Event::HostState(change) => debug!(target: TARGET_MONITOR, host = %change.host, "host is down"),
            Event::VerdictSkipped { host } => {
                debug!(target: TARGET_MONITOR, %host, "verdict skipped, this process was paused");
            }
            Event::Switched(report) => switched(report),
            Event::Decision { error, action } => debug!(
                target: TARGET_FAILOVER, action, error.type = error.kind().as_str(), %error,
                "error handled"
            ),
            Event::Breaker { host, state } => {
                info!(target: TARGET_CLUSTER, %host, state = state.as_str(), "breaker of a host");
            }
            Event::TaskRestarted { task } => {
                error!(target: TARGET_CLUSTER, task, "a task of the library panicked and was started again");
            }
            Event::Warning(text) => warn!(target: TARGET_CLUSTER, "{text}"),
            Event::ConnectTimed(_) | Event::CallTimed(_) => {}
        }
    }
}

fn switched(report: &SwitchReport) {
    let (from, elapsed, cause, held) =
        (report.from.short_name(), report.elapsed, report.cause_kind, report.callers_held);
    match (&report.to, &report.failure) {
        (Some(to), None) => info!(
            target: TARGET_FAILOVER,
            from, to = to.short_name(), role = %to.role, ?elapsed, cause, reason = report.reason, held,
            "session switched"
        ),
        (_, failure) => error!(
            target: TARGET_FAILOVER,
            from, ?elapsed, cause, failure = failure.as_deref(), held,
            "session could not be switched"
        ),
    }
}

#[cfg(test)]
#[path = "tracing_tests.rs"]
mod tests;
