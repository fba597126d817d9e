#![doc = include_str!("docs.md")]
//!
//! # In this module
//!
//! What lives here: [`HostMonitoring`], the plugin that it builds, the monitors of hosts ([`EfmMonitors`]) and their
//! probes. What may not: anything that switches a session (failover's), any driver's or database's detail, any clock
//! but the environment's.

mod config;
mod desk;
mod host;
mod monitor;
mod plugin;
mod probe;
mod waits;

#[cfg(test)]
mod tests;

pub use config::HostMonitoring;
pub use host::EfmMonitors;

/// The plugin's code.
pub(crate) const NAME: &str = "efm";
