//! What happened: typed events, observers, the report of each switch, the flight recorder (R18).
//!
//! What lives here: values, the [`Observer`] contract, the [`catalog`] of names, and the observers for the facades
//! `tracing` and `metrics` behind features of their own. What may not: exporters, which are the application's.

pub mod catalog;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(test)]
mod page;
mod recorder;
mod report;
#[cfg(all(test, any(feature = "metrics", feature = "tracing")))]
mod samples;
mod spans;
mod timing;
#[cfg(feature = "tracing")]
mod tracing;

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Error;
use crate::host::{HostInfo, HostKey, HostStateChange};
use crate::topology::Published;

#[cfg(feature = "metrics")]
pub use self::metrics::MetricsObserver;
#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;
pub use recorder::FlightRecorder;
pub use report::SwitchReport;
pub(crate) use spans::in_failover_span;
pub use spans::in_probe_span;
pub use timing::{CallTiming, ConnectTiming, Ending};

/// Something that happened in a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A topology was published.
    Topology(Published),
    /// The writer was found to be another host.
    WriterChanged {
        /// The writer before, if one was known.
        from: Option<HostInfo>,
        /// The writer now.
        to: HostInfo,
    },
    /// The topology monitor began to search for the writer.
    SearchStarted,
    /// A host answered no probes and its connections were closed.
    HostSilent {
        /// The host.
        host: HostKey,
        /// How many probes in a row failed.
        failures: u32,
        /// How many connections with calls in flight were closed.
        closed: usize,
    },
    /// A host went down, or answers again.
    HostState(HostStateChange),
    /// A verdict on a host was skipped because this process itself had been paused.
    VerdictSkipped {
        /// The host.
        host: HostKey,
    },
    /// A session was switched, or could not be; the report says which.
    Switched(Arc<SwitchReport>),
    /// An error was classified and something was done about it.
    Decision {
        /// The error.
        error: Error,
        /// What was done.
        action: &'static str,
    },
    /// The breaker of a host has a new state.
    Breaker {
        /// The host.
        host: HostKey,
        /// The state.
        state: BreakerState,
    },
    /// A task of the library panicked and was started again.
    TaskRestarted {
        /// The task.
        task: &'static str,
    },
    /// Something that the user should know once.
    Warning(String),
    /// A connect ended. Told by the plugin `connect_time` only.
    ConnectTimed(ConnectTiming),
    /// A call ended. Told by the plugin `execute_time` only.
    CallTimed(CallTiming),
}

/// Whether a pool asks a host for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// It does.
    Closed,
    /// One attempt at a time, to see whether the host is back.
    HalfOpen,
    /// It does not: the host has failed repeatedly.
    Open,
}

impl BreakerState {
    /// `closed`, `half_open`, `open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Is told of every event of a cluster. Sync, infallible; a panic in it is caught and ignored.
pub trait Observer: Debug + Send + Sync {
    /// An event happened. Must not block.
    fn on_event(&self, event: &Event);
}
