//! Factories of plugins, by name.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::Plugin;
use crate::cluster::Cluster;
use crate::config::{PluginName, Settings};
use crate::error::{Error, Result};
use crate::host::HostInfo;

/// What a factory may look at when it builds a session's plugin.
#[derive(Debug)]
#[non_exhaustive]
pub struct BuildContext<'a> {
    /// The cluster that the session belongs to; plugins keep what sessions share in it.
    pub cluster: &'a Cluster,
    /// The settings.
    pub settings: &'a Settings,
    /// The host that the session asks for.
    pub endpoint: &'a HostInfo,
}

impl<'a> BuildContext<'a> {
    /// A context for sessions of `cluster` that ask for `endpoint`.
    pub fn new(cluster: &'a Cluster, settings: &'a Settings, endpoint: &'a HostInfo) -> Self {
        Self { cluster, settings, endpoint }
    }
}

/// Builds one plugin per session.
pub trait PluginFactory: Debug + Send + Sync {
    /// The plugin's code, as it stands in the setting `plugins`.
    fn name(&self) -> &'static str;

    /// Whether the plugin relies on the cluster's topology monitor.
    fn needs_topology(&self) -> bool {
        false
    }

    /// Whether the plugin has no meaning on an RDS Proxy endpoint and is left out there, with a warning.
    fn off_on_proxy(&self) -> bool {
        false
    }

    /// Builds the plugin of one session.
    ///
    /// # Errors
    /// A configuration error that names the setting.
    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>>;
}

/// Plugin factories by name: what the setting `plugins` can name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    factories: BTreeMap<&'static str, Arc<dyn PluginFactory>>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same registry with one more factory; a factory of the same name is replaced.
    #[must_use]
    pub fn with(mut self, factory: impl PluginFactory + 'static) -> Self {
        self.factories.insert(factory.name(), Arc::new(factory));
        self
    }

    /// The factory that an entry of the setting `plugins` names.
    ///
    /// # Errors
    /// A configuration error: the name is unknown, or the plugin is not compiled in.
    pub fn resolve(&self, name: &PluginName) -> Result<&Arc<dyn PluginFactory>> {
        match name {
            PluginName::Other(other) if !self.contains(other) => {
                Err(name.unknown(&self.names().collect::<Vec<_>>()))
            }
            name => self.get(name.as_str()),
        }
    }

    /// The factory called `name`.
    ///
    /// # Errors
    /// A configuration error that names the Cargo feature, and the names that can be used.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn PluginFactory>> {
        self.factories.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.factories.keys().copied().collect();
            Error::config(format!(
                "`plugins`: `{name}` is not compiled in and not registered; enable the Cargo feature `{}` of the \
                 adapter, register it, or use one of: {}",
                name.replace('_', "-"),
                if known.is_empty() { "(none)".to_owned() } else { known.join(", ") }
            ))
        })
    }

    /// Whether a factory called `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.factories.contains_key(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.factories.keys().copied()
    }
}
