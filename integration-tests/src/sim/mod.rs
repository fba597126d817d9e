//! A simulated Aurora / RDS Multi-AZ cluster, PostgreSQL or MySQL, inside the test process.
//!
//! What lives here: [`SimCluster`], servers that speak PostgreSQL's protocol (on the `pgwire` crate) or MySQL's (on the
//! packet types of `mysql_common`) over a small table store, the metadata of the flavours, and the faults that a
//! cluster can have. It needs no installation and
//! starts in milliseconds. What may not live here: anything of the library under test.
//!
//! It is for demonstrations, for users' own tests and for speed; figures are measured on real servers only.
//! Its limits: SQL as far as [`SimCluster::sql`]'s callers and clients of tests need it (no COPY, no cursors by
//! SQL, no temporary tables, no functions of the user; an unsupported statement is answered with 0A000); no row
//! locks: of two transactions that change one row, the later COMMIT fails with 40001. On MySQL an unsupported
//! statement is answered with 1235, the later COMMIT fails with 1213, all databases of a server are one,
//! and text is compared byte by byte.

mod builder;
mod cluster;
mod connection;
mod error;
mod failover;
mod flavour;
mod gate;
mod handlers;
mod inner;
mod login;
mod mysql;
mod node;
mod passwords;
mod session;
mod sql;
mod store;
mod tls;
mod tokens;
mod topology;
mod verbs;

pub use builder::{Login, SimClusterBuilder};
pub use cluster::{SessionInfo, SimCluster};
pub use error::SimError;
pub use failover::FailoverRecord;
pub use flavour::{Engine, Flavour, RdsTools};
pub use node::CommitFate;
pub use passwords::LoginAttempt;
pub use tokens::{TokenCheck, TokenFault};
