//! Topology: the hosts of a cluster and their roles, and where that knowledge comes from.
//!
//! What lives here: the [`Topology`] value, the [`HostListProvider`] contract and its implementations. What may not:
//! tasks and connections of its own; the monitor that keeps a topology fresh is the cluster's.

mod provider;
mod rds;
mod static_list;
mod value;

pub use crate::host::HostStatus;
pub use provider::HostListProvider;
pub use rds::RdsProvider;
pub use static_list::StaticListProvider;
pub use value::{Published, Topology};
