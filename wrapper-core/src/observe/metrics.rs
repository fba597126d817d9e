//! Events as metrics of the `metrics` facade. Behind the feature `metrics`.

use ::metrics::{Label, SharedString, Unit, counter, gauge, histogram};

use super::catalog::{METRICS, MetricKind, metrics as names};
use super::{BreakerState, Event, Observer, SwitchReport};
use crate::host::HostRole;
use crate::topology::Published;

/// Tells the recorder of the application, as the crate `metrics` knows it, of every event of a cluster.
///
/// Names, labels and meaning: [`catalog::METRICS`](super::catalog::METRICS). Which recorder is installed, and where
/// it sends its figures, is the application's choice; without one an event costs next to nothing.
///
/// ```
/// use wrapper_core::observe::MetricsObserver;
///
/// let observer = MetricsObserver::new().label("cluster", "shop");
/// # let _ = observer;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct MetricsObserver {
    labels: Vec<Label>,
}

impl MetricsObserver {
    /// An observer without labels of its own. Describes the metrics to the recorder that is installed by now.
    pub fn new() -> Self {
        for metric in METRICS {
            let seconds = metric.name.ends_with("_seconds");
            let unit = if seconds { Unit::Seconds } else { Unit::Count };
            match metric.kind {
                MetricKind::Counter => ::metrics::describe_counter!(metric.name, unit, metric.doc),
                MetricKind::Gauge => ::metrics::describe_gauge!(metric.name, unit, metric.doc),
                MetricKind::Histogram => ::metrics::describe_histogram!(metric.name, unit, metric.doc),
            }
        }
        Self::default()
    }

    /// Adds a label to every metric, such as the cluster's name where a process has several.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Label::new(name.into(), value.into()));
        self
    }

    fn with<const N: usize>(&self, own: [(&'static str, SharedString); N]) -> Vec<Label> {
        let own = own.into_iter().map(|(name, value)| Label::new(name, value));
        self.labels.iter().cloned().chain(own).collect()
    }

    fn count<const N: usize>(&self, name: &'static str, own: [(&'static str, SharedString); N], by: u64) {
        counter!(name, self.with(own)).increment(by);
    }

    fn topology(&self, published: &Published) {
        for role in [HostRole::Writer, HostRole::Reader] {
            let hosts = published.topology.hosts().iter().filter(|host| host.role == role).count();
            let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
            gauge!(names::HOSTS, self.with([("role", role_name(role).into())])).set(hosts);
        }
    }

    fn switched(&self, report: &SwitchReport) {
        let role = report.to.as_ref().map_or(HostRole::Unknown, |host| host.role);
        let outcome = if report.succeeded() { "ok" } else { "error" };
        let labels = [("role", role_name(role).into()), ("outcome", outcome.into())];
        self.count(names::FAILOVERS, labels.clone(), 1);
        histogram!(names::FAILOVER_SECONDS, self.with(labels)).record(report.elapsed);
    }
}

impl Observer for MetricsObserver {
    fn on_event(&self, event: &Event) {
        match event {
            Event::Topology(published) => self.topology(published),
            Event::WriterChanged { from: Some(_), .. } => self.count(names::WRITER_CHANGES, [], 1),
            Event::WriterChanged { from: None, .. } => {}
            Event::SearchStarted => self.count(names::SEARCHES, [], 1),
            Event::HostSilent { closed, .. } => {
                let closed = u64::try_from(*closed).unwrap_or(u64::MAX);
                self.count(names::ABORTED, [("reason", "host_silent".into())], closed);
            }
            Event::HostState(change) => {
                let instance = [("instance", change.host.host().to_owned().into())];
                gauge!(names::HOST_UP, self.with(instance)).set(if change.up { 1 } else { 0 });
            }
            Event::VerdictSkipped { .. } => self.count(names::VERDICTS_SKIPPED, [], 1),
            Event::Switched(report) => self.switched(report),
            Event::Decision { error, action } => {
                let labels = [("action", (*action).into()), ("error_type", error.kind().as_str().into())];
                self.count(names::DECISIONS, labels, 1);
            }
            Event::Breaker { host, state } => {
                let instance = [("instance", host.host().to_owned().into())];
                gauge!(names::BREAKER_STATE, self.with(instance)).set(match state {
                    BreakerState::Closed => 0,
                    BreakerState::HalfOpen => 1,
                    BreakerState::Open => 2,
                });
            }
            Event::TaskRestarted { task } => self.count(names::TASK_RESTARTS, [("task", (*task).into())], 1),
            Event::Warning(_) => self.count(names::WARNINGS, [], 1),
            Event::ConnectTimed(timing) => {
                let labels =
                    [("purpose", timing.purpose_name().into()), ("outcome", timing.ending.as_str().into())];
                histogram!(names::CONNECT_SECONDS, self.with(labels)).record(timing.elapsed);
            }
            Event::CallTimed(timing) => {
                let labels = [("method", timing.method.into()), ("outcome", timing.ending.as_str().into())];
                histogram!(names::CALL_SECONDS, self.with(labels)).record(timing.elapsed);
            }
        }
    }
}

const fn role_name(role: HostRole) -> &'static str {
    match role {
        HostRole::Writer => "writer",
        HostRole::Reader => "reader",
        HostRole::Unknown => "unknown",
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
