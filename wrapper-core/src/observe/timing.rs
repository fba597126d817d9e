//! How long connects and calls took.

use std::time::Duration;

use crate::driver::ConnectPurpose;
use crate::error::Error;
use crate::host::HostInfo;

/// How a timed connect or call ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ending {
    /// It succeeded.
    Done,
    /// It failed.
    Failed(Error),
    /// Its future was dropped by the caller.
    Cancelled,
}

impl Ending {
    /// How `result` ended.
    pub fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) => Self::Failed(error.clone()),
        }
    }

    /// The stable name, for logs and metrics: `ok`, `error`, `cancelled`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed(_) => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// The stable name of the error's kind, when it failed.
    pub fn error_type(&self) -> Option<&'static str> {
        match self {
            Self::Failed(error) => Some(error.kind().as_str()),
            _ => None,
        }
    }
}

/// One connect, as the plugin `connect_time` saw it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectTiming {
    /// The host that was asked for; when it succeeded, the one that it led to.
    pub host: HostInfo,
    /// What for.
    pub purpose: ConnectPurpose,
    /// Whether it opened a session. It may contain connects to several hosts then.
    pub initial: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// How it ended.
    pub ending: Ending,
}

impl ConnectTiming {
    /// A connect to `host` that took `elapsed`.
    pub fn new(host: HostInfo, purpose: ConnectPurpose, elapsed: Duration, ending: Ending) -> Self {
        Self { host, purpose, initial: false, elapsed, ending }
    }

    /// The stable name of what it was for: `session` (a session was opened), `switch`, `monitor`.
    pub const fn purpose_name(&self) -> &'static str {
        match (self.purpose, self.initial) {
            (ConnectPurpose::Monitor, _) => "monitor",
            (ConnectPurpose::Session, true) => "session",
            (ConnectPurpose::Session, false) => "switch",
        }
    }
}

/// One call, as the plugin `execute_time` saw it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallTiming {
    /// The method, such as `query`.
    pub method: &'static str,
    /// The host of the last attempt.
    pub host: HostInfo,
    /// How many attempts there were.
    pub attempts: u32,
    /// How long it took, a failover and every attempt included.
    pub elapsed: Duration,
    /// How it ended.
    pub ending: Ending,
}

impl CallTiming {
    /// A call of `method` on `host` that took `elapsed`.
    pub fn new(method: &'static str, host: HostInfo, elapsed: Duration, ending: Ending) -> Self {
        Self { method, host, attempts: 1, elapsed, ending }
    }
}
