//! Three real PostgreSQL servers with streaming replication, for tests that need real faults.
//!
//! A commit waits for one of the two standbys (`synchronous_standby_names = 'ANY 1 …'`), and the standby that
//! has received most is promoted, so the cluster itself never loses an acknowledged write. Old writers are
//! rewound and come back as standbys.
//!
//! Each cluster takes a 127.x.y.0/24 of its own at random; its nodes are .1, .2 and .3 on one port. Host names
//! stand in a [`NameTable`](crate::names::NameTable); `/etc/hosts` is left alone. When the process is root the
//! servers run as `postgres` or `nobody`. A watchdog process ends the servers and removes their files when the
//! cluster is dropped and when the process dies, whichever way.
//!
//! What is imitated, and how: the metadata functions are SQL functions over one file that the cluster replaces at
//! each change; `pg_settings` is a view with one more row, `rds.extensions`, because PostgreSQL does not list
//! parameters that no library defines; `rds_tools` is a schema with a row in `pg_extension`, so that it can be
//! dropped and looked up, but not created again.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use integration_tests::{Flavour, LocalCluster};
//!
//! let cluster = LocalCluster::builder().flavour(Flavour::Aurora).start().await?;
//! let record = cluster.fail_over().await?;
//! println!("no writes for {:?}", record.outage());
//! # Ok(()) }
//! ```

pub(crate) mod cluster;
mod conf;
mod control;
mod error;
mod failover;
mod flavour;
mod options;
pub(crate) mod place;
pub(crate) mod processes;
mod rejoin;
mod server;
mod start;
mod topology;
pub(crate) mod truth;
mod verbs;
pub(crate) mod watchdog;

pub use cluster::{Credentials, LocalCluster};
pub use error::Error;
pub use options::{Auth, Builder};
pub use truth::{ConnectionFilter, Truth};
