//! Hosts: what one is, what its name says, how one is chosen.
//!
//! What lives here: [`HostInfo`] and its parts, the classification of RDS host names, host selectors. What may not:
//! connections, clocks, topology.

mod info;
mod template;

pub use info::{HostInfo, HostKey, HostRole};
pub use template::InstanceTemplate;
