//! Hosts: what one is, what its name says, how one is chosen.
//!
//! What lives here: [`HostInfo`] and its parts, the classification of RDS host names, host selectors. What may not:
//! connections, clocks, topology.

mod info;
mod rds;
mod selector;
mod shared_selectors;
mod status;
mod template;

pub use info::{HostInfo, HostKey, HostRole};
pub use rds::{BlueGreen, EndpointKind, Partition, RdsHost, classify};
pub(crate) use selector::squash;
pub use selector::{HostSelector, HostWeights, LoadWeights, SelectorOptions, Strategy};
pub use shared_selectors::SharedSelectors;
pub use status::{HostStateChange, HostStatus};
pub use template::InstanceTemplate;
