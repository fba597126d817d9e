//! The words in which a test speaks to a cluster: nodes, flavours, faults and the record of a failover.
//!
//! What may not live here: anything that acts. The clusters of this crate share these types.

use std::fmt;
use std::time::{Duration, Instant};

/// One of the nodes of a cluster; stays the same node whatever role it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u8);

impl NodeId {
    /// The three nodes; the first one starts as the writer.
    pub const ALL: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];

    /// Position of the node, from 0.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0 + 1)
    }
}

/// As what kind of deployment a cluster answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavour {
    /// Community PostgreSQL: a primary and two replicas, no metadata functions.
    #[default]
    Plain,
    /// Aurora PostgreSQL: `aurora_replica_status()` and its kin.
    Aurora,
    /// RDS Multi-AZ DB cluster for PostgreSQL: the extension `rds_tools`.
    MultiAz,
}

/// What of a node stops when it is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreezeScope {
    /// All server processes: open connections fall silent, new ones get no answer.
    AllProcesses,
    /// The process that accepts connections: open connections go on, new ones get no answer.
    PostmasterOnly,
}

/// What the proxy before a node does to its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cut {
    /// Open connections are reset at once, and so is each new one right after it was accepted.
    Reset,
    /// Answers no longer come through; requests do.
    Stall,
    /// Nothing comes through in either direction; connections stay open.
    StallBothWays,
    /// Everything comes through later by this much, in each direction.
    Delay(Duration),
}

/// How a writer is lost before another node is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// All its processes are killed.
    Crash,
    /// Its processes are stopped, and stay so until thawed.
    Freeze(FreezeScope),
    /// Its clients are cut off by the proxy, until healed.
    Cut(Cut),
}

/// What happened in one change of the writer.
#[derive(Clone, Debug)]
pub struct FailoverRecord {
    /// The writer before.
    pub old_writer: NodeId,
    /// The writer after.
    pub new_writer: NodeId,
    /// When the old writer was crashed, frozen, cut off or asked to stop.
    pub t_crash: Instant,
    /// When the new writer acknowledged its first write, seen on a direct connection of the harness.
    pub t_accepting: Instant,
    /// The wait between the loss of the writer and the promotion that was drawn for this failover.
    pub promotion_time: Duration,
}

impl fmt::Display for FailoverRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outage, wait) = (self.outage().as_millis(), self.promotion_time.as_millis());
        write!(
            f,
            "{} to {}: {outage} ms without writes, of which {wait} ms promotion time",
            self.old_writer, self.new_writer
        )
    }
}

impl FailoverRecord {
    /// How long the cluster accepted no writes.
    pub fn outage(&self) -> Duration {
        self.t_accepting.saturating_duration_since(self.t_crash)
    }
}
