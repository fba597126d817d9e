//! Clusters for tests: real local PostgreSQL and MySQL-family clusters, a simulated one, and a fault proxy.
//!
//! * [`LocalCluster`]: three real PostgreSQL servers with streaming replication that can be crashed, frozen,
//!   cut off and promoted, and that answer as Aurora PostgreSQL or as an RDS Multi-AZ DB cluster (Linux only:
//!   it needs the addresses 127.x.y.z and `/proc`).
//! * [`MySqlCluster`]: the same with three real MariaDB or MySQL servers, which answer as Aurora MySQL or as an RDS
//!   Multi-AZ DB cluster for MySQL.
//! * `sim::SimCluster` (feature `sim`): servers in the process itself that answer the SQL of tests and demos; no
//!   installation, starts in milliseconds.
//! * `secrets::SecretsServer` (feature `sim`): answers `GetSecretValue` as AWS Secrets Manager does.
//! * `idp` (feature `sim`): sign in as ADFS and Okta do, and answer `AssumeRoleWithSAML` as AWS STS does.
//! * `moto::Moto`: moto's server, a process of its own that stands in for the services of AWS (Linux only).
//! * [`proxy::FaultProxy`]: a TCP proxy that stalls, resets, delays and refuses.
//! * [`gate::MessageGate`]: a proxy that lets through a number of messages of PostgreSQL or MySQL and holds the
//!   next one.
//! * [`names::NameTable`]: host names with a propagation lag, in place of `/etc/hosts`.
//!
//! * `schedule` (feature `schedules`): seeded schedules of faults over the test kit of `wrapper-core`, without servers.
//!
//! Apart from `schedule`, nothing here knows the library under test: a cluster hands out addresses, names and
//! credentials only.
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; this crate drives real servers and real time"
)]

pub mod gate;
#[cfg(feature = "sim")]
pub mod idp;
pub mod names;
pub mod proxy;
#[cfg(feature = "schedules")]
pub mod schedule;
#[cfg(feature = "sim")]
pub mod secrets;
#[cfg(feature = "sim")]
pub mod sim;
pub mod verbs;

#[cfg(target_os = "linux")]
pub mod local;

#[cfg(target_os = "linux")]
pub mod moto;

#[cfg(target_os = "linux")]
pub mod mysql;

#[cfg(target_os = "linux")]
pub use local::LocalCluster;
#[cfg(target_os = "linux")]
pub use mysql::MySqlCluster;
pub use verbs::{Cut, FailoverRecord, Fault, Flavour, FreezeScope, NodeId};
