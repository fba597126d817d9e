//! Where a plugin stands in the chain (R3).

use std::fmt;

/// The class that decides a plugin's place, from outside in.
///
/// Failover stands outside monitoring as a condition of correctness: host monitoring watches the connection of one
/// attempt and kills it, failover sees the error and switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OrderClass {
    /// Sees everything, changes nothing: timing, logging.
    Observe,
    /// Holds calls back: rate limits, pauses.
    Limits,
    /// Decides what an endpoint stands for: custom endpoint, initial connection, connection tracker.
    Endpoints,
    /// Switches the session after a failure.
    Failover,
    /// Chooses a connection for a call: read/write splitting.
    Routing,
    /// Watches the connection of an attempt: host monitoring.
    Monitoring,
    /// Provides credentials.
    Authentication,
    /// Changes how one connection is made.
    Connection,
}

impl fmt::Display for OrderClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Limits => "limits",
            Self::Endpoints => "endpoints",
            Self::Failover => "failover",
            Self::Routing => "routing",
            Self::Monitoring => "monitoring",
            Self::Authentication => "authentication",
            Self::Connection => "connection",
        })
    }
}
