//! The plugins of the AWS Advanced Rust Wrapper, one feature each.
//!
//! What lives here: one folder a plugin. What may not: a driver's types, state that outlives a cluster.

#[cfg(feature = "connection-tracker")]
pub mod connection_tracker;
#[cfg(feature = "efm")]
pub mod efm;
#[cfg(feature = "failover")]
pub mod failover;
#[cfg(feature = "initial-connection")]
pub mod initial_connection;

use wrapper_core::plugin::Registry;

/// The plugins that are used when the setting `plugins` is not given, as far as they are compiled in.
pub fn default_plugins() -> Vec<&'static str> {
    let registry = registry();
    ["initial_connection", "connection_tracker", "failover", "efm"]
        .into_iter()
        .filter(|name| registry.contains(name))
        .collect()
}

/// A registry with every plugin that is compiled in, each with the settings of its cluster.
pub fn registry() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "connection-tracker")]
    let registry = registry.with(connection_tracker::ConnectionTracker::new());
    #[cfg(feature = "efm")]
    let registry = registry.with(efm::HostMonitoring::new());
    #[cfg(feature = "failover")]
    let registry = registry.with(failover::Failover::new());
    #[cfg(feature = "initial-connection")]
    let registry = registry.with(initial_connection::InitialConnection::new());
    registry
}
