//! What a host says of itself, and what is known of its being up.

use std::sync::Arc;

use crate::host::{HostKey, HostRole};

/// What a server says of itself, in one round trip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostStatus {
    /// The id that the topology knows the server by, where there is one.
    pub id: Option<Arc<str>>,
    /// Whether it accepts writes, from its own recovery state.
    pub accepts_writes: bool,
    /// Whether the topology that it holds names it as the writer; `None` where it holds none.
    pub claims_writer: Option<bool>,
}

impl HostStatus {
    /// The role that follows: the recovery state decides.
    pub fn role(&self) -> HostRole {
        if self.accepts_writes { HostRole::Writer } else { HostRole::Reader }
    }
}

/// A host went up or down.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostStateChange {
    /// The host.
    pub host: HostKey,
    /// Whether it answers.
    pub up: bool,
}

impl HostStateChange {
    /// `host` went up or down.
    pub fn new(host: HostKey, up: bool) -> Self {
        Self { host, up }
    }
}
