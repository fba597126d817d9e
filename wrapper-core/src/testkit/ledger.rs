//! What the servers have written down: changes of the store, and each statement that they ran.

use std::sync::Arc;

use tokio::time::Instant;

/// A change of the shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// A line was appended; its name is the number of the statement.
    Append,
    /// `delta` was added to `account`.
    Add {
        /// The account.
        account: u32,
        /// What was added.
        delta: i64,
    },
}

/// A change that is durable, in the order in which it became so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Written {
    /// The statement that made the change.
    pub statement: u64,
    /// The change.
    pub change: Change,
    /// The host that accepted it.
    pub host: Arc<str>,
    /// When.
    pub at: Instant,
    /// Its place in the order of everything that happened; see [`ScriptedCluster::stamp`](super::ScriptedCluster::stamp).
    pub stamp: u64,
}

/// A statement of a client that a server ran; the library's own questions are only counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Executed {
    /// The statement's number.
    pub statement: u64,
    /// What kind it is, such as `append`.
    pub kind: &'static str,
    /// Whether it changes the store.
    pub is_write: bool,
    /// The host.
    pub host: Arc<str>,
    /// The connection's number, counted over the whole cluster.
    pub connection: u64,
    /// Whether the server had a transaction open when the statement came.
    pub in_transaction: bool,
    /// Whether the server did what it says.
    pub accepted: bool,
    /// When the login of its connection was done, in the order of everything that happened.
    pub opened: u64,
    /// When the client sent it, in the order of everything that happened.
    pub sent: u64,
    /// When it ran.
    pub at: Instant,
}
