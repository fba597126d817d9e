//! Events as lines of text, with the virtual time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::ScriptedCluster;
use crate::env::Environment;
use crate::host::HostInfo;
use crate::observe::{Event, Observer};

/// Writes down what happens, one line each, in order; the same seed gives the same lines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    env: Environment,
    start: Instant,
    lines: Mutex<Vec<Line>>,
}

#[derive(Clone, Debug)]
struct Line {
    at: Duration,
    text: String,
}

impl Trace {
    /// A trace that counts time from now on, in the world of `cluster`.
    pub fn new(cluster: &ScriptedCluster) -> Self {
        let env = cluster.env().clone();
        let start = env.now();
        Self(Arc::new(Inner { env, start, lines: Mutex::default() }))
    }

    /// Adds a line of the test's own.
    pub fn note(&self, text: impl Into<String>) {
        let at = self.0.env.now().saturating_duration_since(self.0.start);
        let line = Line { at, text: text.into() };
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// The lines, each with its time in seconds.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{:>12.6} {}", line.at.as_secs_f64(), line.text)).collect()
    }

    /// The lines without their times.
    pub fn texts(&self) -> Vec<String> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| line.text.clone()).collect()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Observer for Trace {
    fn on_event(&self, event: &Event) {
        self.note(text(event));
    }
}

fn short(host: Option<&HostInfo>) -> &str {
    host.map_or("nobody", HostInfo::short_name)
}

fn text(event: &Event) -> String {
    match event {
        Event::Topology(published) => format!(
            "topology {} writer={} verified={}",
            published.sequence,
            short(published.topology.writer()),
            published.verified
        ),
        Event::WriterChanged { from, to } => {
            format!("writer {} -> {}", short(from.as_ref()), to.short_name())
        }
        Event::SearchStarted => "search".to_owned(),
        Event::HostSilent { host, failures, closed } => {
            format!("silent {host} failures={failures} closed={closed}")
        }
        Event::VerdictSkipped { host } => format!("verdict skipped {host}"),
        Event::Switched(report) => {
            let to = short(report.to.as_ref());
            format!("switched {} -> {to} ({})", report.from.short_name(), report.cause_kind)
        }
        Event::Decision { error, action } => format!("decision {}: {action}", error.kind().as_str()),
        Event::Breaker { host, state } => format!("breaker {host} {}", state.as_str()),
        Event::TaskRestarted { task } => format!("restarted {task}"),
        Event::HostState(change) => format!("{} {}", change.host, if change.up { "up" } else { "down" }),
        Event::ConnectTimed(timing) => {
            format!("connect {} {:?} {:?}", timing.host.short_name(), timing.elapsed, timing.ending)
        }
        Event::CallTimed(timing) => {
            format!("{} {} {:?} {:?}", timing.method, timing.host.short_name(), timing.elapsed, timing.ending)
        }
        Event::Warning(text) => format!("warning {text}"),
    }
}
