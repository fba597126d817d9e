//! The settings of the plugin.

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::config::{SubstitutionRole, VerifyRole};
use wrapper_core::host::{EndpointKind, HostRole, classify};
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::plugin::{InitialConnectionPlugin, Rules};

/// Builds the initial connection plugin from the cluster's settings.
///
/// ```
/// use wrapper_core::plugin::PluginFactory;
/// use wrapper_plugins::initial_connection::InitialConnection;
///
/// assert_eq!(InitialConnection::new().name(), "initial_connection");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct InitialConnection {
    retry_timeout: Option<Duration>,
}

impl InitialConnection {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `open_connection_retry_timeout`: the longest that opening a session may take, all attempts together;
    /// `connect_timeout` by default, and never longer than it.
    pub fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.retry_timeout = Some(timeout);
        self
    }
}

impl PluginFactory for InitialConnection {
    fn name(&self) -> &'static str {
        "initial_connection"
    }

    fn needs_topology(&self) -> bool {
        true
    }

    fn off_on_proxy(&self) -> bool {
        true
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        let settings = cx.settings;
        let kind = classify(cx.endpoint.host()).kind();
        let by_endpoint = match kind {
            EndpointKind::WriterCluster => HostRole::Writer,
            EndpointKind::ReaderCluster => HostRole::Reader,
            _ if settings.hosts().len() > 1 => HostRole::Writer,
            _ => HostRole::Unknown,
        };
        let substitute = match settings.endpoint_substitution_role {
            None => by_endpoint,
            Some(role) => {
                check(kind, role, cx.endpoint.host())?;
                match role {
                    SubstitutionRole::Writer => HostRole::Writer,
                    SubstitutionRole::Reader => HostRole::Reader,
                    _ => HostRole::Unknown,
                }
            }
        };
        let verify = match settings.verify_opened_connection_type {
            None => by_endpoint,
            Some(VerifyRole::Writer) => HostRole::Writer,
            Some(VerifyRole::Reader) => HostRole::Reader,
            Some(_) => HostRole::Unknown,
        };
        if substitute != HostRole::Unknown && verify != HostRole::Unknown && substitute != verify {
            return Err(Error::config(format!(
                "`endpoint_substitution_role` asks for a {substitute} and `verify_opened_connection_type` for a \
                 {verify}; give both the same role, or only one of them"
            )));
        }
        let retry_timeout = self.retry_timeout.or(settings.open_connection_retry_timeout);
        if let Some(timeout) = retry_timeout.filter(|timeout| *timeout > settings.connect_timeout) {
            return Err(Error::config(format!(
                "`open_connection_retry_timeout={timeout:?}` contradicts `connect_timeout={:?}`: all attempts of a \
                 connect together may take longer than the whole connect; change one of them",
                settings.connect_timeout
            )));
        }
        Ok(Arc::new(InitialConnectionPlugin::new(Rules {
            substitute,
            verify,
            strategy: settings
                .reader_initial_connection_host_selector_strategy
                .unwrap_or(settings.reader_host_selector_strategy),
            selector: settings.selector_options(),
            retry_timeout,
            retry_interval: settings.open_connection_retry_interval,
            wait_for_topology: settings.wait_for_initial_topology,
        })))
    }
}

fn check(kind: EndpointKind, role: SubstitutionRole, host: &str) -> Result<()> {
    let allowed = match kind {
        EndpointKind::Instance => role == SubstitutionRole::None,
        EndpointKind::ReaderCluster => matches!(role, SubstitutionRole::Reader | SubstitutionRole::None),
        EndpointKind::WriterCluster => matches!(role, SubstitutionRole::Writer | SubstitutionRole::None),
        EndpointKind::CustomCluster => role != SubstitutionRole::Writer,
        _ => role != SubstitutionRole::Any,
    };
    if allowed {
        return Ok(());
    }
    Err(Error::config(format!(
        "`endpoint_substitution_role={role}` cannot be used with the endpoint `{host}`: an instance endpoint stands for \
         itself, a writer endpoint for `writer`, a reader endpoint for `reader`, `any` is for custom endpoints"
    )))
}
