//! A connector's parts over a scripted cluster.

use std::sync::Arc;

use super::cluster::ScriptedCluster;
use crate::config::{DriverKeys, Settings, SettingsBuilder};
use crate::connector::ConnectorParts;
use crate::error::Result;
use crate::observe::Observer;
use crate::plugin::PluginFactory;

/// What a [`ConnectorCore`](crate::connector::ConnectorCore) of `cluster` is made from: its writer endpoint, `settings`,
/// the plugins given as values, the observers. No other plugin is in it.
///
/// # Errors
/// A configuration error that names the setting.
pub fn parts(
    cluster: &ScriptedCluster,
    settings: SettingsBuilder,
    plugins: Vec<Arc<dyn PluginFactory>>,
    observers: Vec<Arc<dyn Observer>>,
) -> Result<ConnectorParts> {
    let default_port = cluster.flavour().port();
    let keys = DriverKeys { schemes: &["fake"], default_port, names: &[] };
    let settings: Settings = settings.host(cluster.endpoint()).build(&keys)?;
    Ok(ConnectorParts {
        settings,
        driver: Arc::new(cluster.driver()),
        env: cluster.env().clone(),
        registry: crate::plugin::Registry::new(),
        default_plugins: Vec::new(),
        plugins,
        observers,
        default_port,
    })
}
