//! Three real MariaDB or MySQL servers with GTID replication and semi-synchronous commit, for tests that need real
//! faults.
//!
//! A commit waits, after its log is written and before it becomes visible, until one of the two replicas has it; a
//! writer without a replica waits for ever rather than go on alone. The replica that has received most is promoted,
//! so the cluster itself never loses an acknowledged write. Old writers come back as replicas: as they are when the
//! new history contains theirs, else built anew from the empty data folder and the logs, which are all kept.
//!
//! The verbs, their guarantees, the addresses, the names and the process that cleans up are those of
//! [`LocalCluster`](crate::LocalCluster).
//!
//! What is imitated, and how: before the servers of the flavours Aurora and Multi-AZ stands a protocol front that
//! replaces, in the text of a statement, what only those servers have (`information_schema.replica_host_status`,
//! `@@aurora_server_id`, `version_comment`, …) by SQL that the real server answers; everything else passes through
//! untouched. Decision 0011 says why.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use integration_tests::{Flavour, MySqlCluster};
//!
//! let cluster = MySqlCluster::builder().flavour(Flavour::Aurora).start().await?;
//! let record = cluster.fail_over().await?;
//! println!("no writes for {:?}", record.outage());
//! # Ok(()) }
//! ```

mod cluster;
mod conf;
mod control;
mod failover;
mod front;
mod kind;
mod options;
mod place;
mod rejoin;
mod replication;
mod server;
mod start;
mod topology;
mod truth;
mod verbs;

pub use crate::local::{ConnectionFilter, Credentials, Error, Truth};
pub use cluster::MySqlCluster;
pub use kind::MySqlKind;
pub use options::Builder;
