//! The report of one switch.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::env::Environment;
use crate::error::Error;
use crate::host::{HostInfo, HostKey};

/// Most steps that a report keeps; later ones are counted.
const MAX_STEPS: usize = 24;

/// What a switch of a session was: cause, search, choice, time per phase. Printable in about ten lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SwitchReport {
    /// Why.
    pub cause: String,
    /// Kind of the cause.
    pub cause_kind: &'static str,
    /// The host before.
    pub from: HostInfo,
    /// The host now, when one was chosen.
    pub to: Option<HostInfo>,
    /// Why that host.
    pub reason: String,
    /// When it began, by the wall clock.
    pub at: SystemTime,
    /// Age of the topology when it began.
    pub topology_age: Option<Duration>,
    /// How often each host was probed or connected to.
    pub attempts: BTreeMap<HostKey, u32>,
    /// What was done, and when, counted from the beginning.
    pub steps: Vec<(Duration, String)>,
    /// Steps that were not kept.
    pub steps_left_off: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Callers of the cluster that waited for a switch when it ended.
    pub callers_held: u64,
    /// Why it failed, when it did.
    pub failure: Option<String>,
    started: Instant,
}

impl SwitchReport {
    pub(crate) fn new(cause: &Error, from: &HostInfo, env: &Environment) -> Self {
        Self {
            cause: cause.to_string(),
            cause_kind: cause.kind().as_str(),
            from: from.clone(),
            to: None,
            reason: String::new(),
            at: env.wall_clock(),
            topology_age: None,
            attempts: BTreeMap::new(),
            steps: Vec::new(),
            steps_left_off: 0,
            elapsed: Duration::ZERO,
            callers_held: 0,
            failure: None,
            started: env.now(),
        }
    }

    /// Adds what was done just now.
    pub fn step(&mut self, env: &Environment, what: impl Into<String>) {
        if self.steps.len() < MAX_STEPS {
            self.steps.push((env.now().saturating_duration_since(self.started), what.into()));
        } else {
            self.steps_left_off += 1;
        }
    }

    /// Counts an attempt on a host.
    pub fn attempt(&mut self, host: &HostKey) {
        *self.attempts.entry(host.clone()).or_default() += 1;
    }

    /// Says which host was chosen, and why.
    pub fn chose(&mut self, host: &HostInfo, reason: impl Into<String>) {
        self.to = Some(host.clone());
        self.reason = reason.into();
    }

    pub(crate) fn end(&mut self, env: &Environment, failure: Option<&Error>, held: u64) {
        self.elapsed = env.now().saturating_duration_since(self.started);
        self.callers_held = held;
        self.failure = failure.map(ToString::to_string);
        if failure.is_some() {
            self.to = None;
        }
    }

    /// Whether the session stands on a new connection.
    pub fn succeeded(&self) -> bool {
        self.failure.is_none() && self.to.is_some()
    }
}

impl fmt::Display for SwitchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => writeln!(
                f,
                "switched from {} to {} in {:.1?}",
                self.from.short_name(),
                to.short_name(),
                self.elapsed
            )?,
            None => {
                writeln!(f, "switch away from {} failed after {:.1?}", self.from.short_name(), self.elapsed)?
            }
        }
        writeln!(f, "  cause     {} ({})", self.cause, self.cause_kind)?;
        if let Some(age) = self.topology_age {
            writeln!(f, "  topology  {age:.1?} old when it began")?;
        }
        if !self.reason.is_empty() {
            writeln!(f, "  chosen    {}", self.reason)?;
        }
        if !self.attempts.is_empty() {
            let list: Vec<String> =
                self.attempts.iter().map(|(host, count)| format!("{host} x{count}")).collect();
            writeln!(f, "  tried     {}", list.join(", "))?;
        }
        writeln!(f, "  held      {} callers", self.callers_held)?;
        for (at, step) in &self.steps {
            writeln!(f, "  +{:>9.1?}  {step}", at)?;
        }
        if self.steps_left_off > 0 {
            writeln!(f, "  … {} more steps", self.steps_left_off)?;
        }
        match &self.failure {
            Some(failure) => write!(f, "  failed    {failure}"),
            None => write!(f, "  done      +{:.1?}", self.elapsed),
        }
    }
}
