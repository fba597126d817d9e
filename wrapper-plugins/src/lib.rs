//! The plugins of the AWS Advanced Rust Wrapper, one feature each.
//!
//! What lives here: one folder a plugin. What may not: a driver's types, state that outlives a cluster.

#[cfg(feature = "_aws")]
mod aws;
#[cfg(feature = "connect-time")]
pub mod connect_time;
#[cfg(feature = "connection-tracker")]
pub mod connection_tracker;
#[cfg(feature = "dev")]
pub mod dev;
#[cfg(feature = "efm")]
pub mod efm;
#[cfg(feature = "execute-time")]
pub mod execute_time;
#[cfg(feature = "failover")]
pub mod failover;
#[cfg(feature = "federated-auth")]
pub mod federated_auth;
#[cfg(feature = "iam")]
pub mod iam;
// Without the plugin, for the tokens of those that get their AWS credentials otherwise.
#[cfg(all(feature = "_saml", not(feature = "iam")))]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "the plugin itself is not wanted")]
mod iam;
#[cfg(feature = "initial-connection")]
pub mod initial_connection;
#[cfg(feature = "log-query")]
pub mod log_query;
#[cfg(feature = "okta")]
pub mod okta;
#[cfg(feature = "_saml")]
mod saml;
#[cfg(feature = "secrets-manager")]
pub mod secrets_manager;
#[cfg(all(
    test,
    any(feature = "connect-time", feature = "execute-time", feature = "log-query", feature = "dev")
))]
mod tests;

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
    #[cfg(feature = "connect-time")]
    let registry = registry.with(connect_time::ConnectTime::new());
    #[cfg(feature = "connection-tracker")]
    let registry = registry.with(connection_tracker::ConnectionTracker::new());
    #[cfg(feature = "dev")]
    let registry = registry.with(dev::Named);
    #[cfg(feature = "efm")]
    let registry = registry.with(efm::HostMonitoring::new());
    #[cfg(feature = "execute-time")]
    let registry = registry.with(execute_time::ExecuteTime::new());
    #[cfg(feature = "failover")]
    let registry = registry.with(failover::Failover::new());
    #[cfg(feature = "federated-auth")]
    let registry = registry.with(federated_auth::FederatedAuth::new());
    #[cfg(feature = "iam")]
    let registry = registry.with(iam::Iam::new());
    #[cfg(feature = "initial-connection")]
    let registry = registry.with(initial_connection::InitialConnection::new());
    #[cfg(feature = "log-query")]
    let registry = registry.with(log_query::LogQuery::new());
    #[cfg(feature = "okta")]
    let registry = registry.with(okta::Okta::new());
    #[cfg(feature = "secrets-manager")]
    let registry = registry.with(secrets_manager::SecretsManager::new());
    registry
}
