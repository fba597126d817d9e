//! A test kit without servers (feature `testkit`): a fake driver, a scripted cluster, mocks for plugins, a trace.
//!
//! What lives here: [`ScriptedCluster`], servers that share a store as Aurora's do, answer as one of the [`Flavour`]s, can
//! be crashed, frozen, cut off, locked and promoted, and keep a log of what they were sent; [`FakeDriver`] and
//! [`FakeConnection`], the driver that reaches them; [`FakeClient`], the thinnest adapter over it; [`MockConnect`],
//! [`MockExecute`] and [`MockSession`], with which one plugin is tested alone; [`Trace`], which writes down events;
//! [`enumerate_cancellations`], which drops an operation at each of its await points, and [`Stage`], which checks what
//! that leaves; [`conformance`], the suites that adapters, plugins and providers run.
//! What may not: anything that a build without the feature needs, sockets, real time.
//!
//! Everything runs on tokio's clock, so a test under paused time is done in milliseconds; and everything that is
//! left to chance is drawn from the seed, so that the same seed gives the same trace on a current-thread runtime.
//!
//! ```
//! use wrapper_core::host::HostRole;
//! use wrapper_core::testkit::{FailoverPlan, ScriptedCluster};
//!
//! let cluster = ScriptedCluster::new(3, 7);
//! assert_eq!(cluster.writer(), Some(0));
//! assert_eq!(cluster.endpoint(), "db.cluster-xyz.us-east-2.rds.amazonaws.com");
//! assert_eq!(cluster.role(1), HostRole::Reader);
//! let _ = FailoverPlan::crash(1);
//! ```

mod balance;
mod cancel;
mod client;
mod cluster;
pub mod conformance;
mod connection;
mod connectors;
mod counts;
mod driver;
mod flavour;
mod ledger;
mod metadata;
mod mock_connect;
mod mock_execute;
mod mock_session;
mod names;
mod promotion;
mod server;
mod stage;
mod state;
mod statement;
mod stream;
mod trace;
mod wire;

pub use balance::Balance;
pub use cancel::{DropPoint, Enumeration, Poisoned, enumerate_cancellations};
pub use client::{FakeClient, FakeTransaction};
pub use cluster::ScriptedCluster;
pub use connection::FakeConnection;
pub use connectors::parts;
pub use counts::{Counts, Tally};
pub use driver::FakeDriver;
pub use flavour::Flavour;
pub use ledger::{Change, Executed, Written};
pub use mock_connect::MockConnect;
pub use mock_execute::MockExecute;
pub use mock_session::MockSession;
pub use promotion::{Abandon, FailoverPlan};
pub use stage::Stage;
pub use state::{Door, Health};
pub use statement::{Answer, Statement, What};
pub use stream::{FakeRow, FakeRows};
pub use trace::Trace;
