//! The settings of the plugin.

use std::sync::Arc;
use std::time::Duration;

pub use wrapper_core::config::FailoverMode;
use wrapper_core::host::{EndpointKind, Strategy, classify};
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::plugin::FailoverPlugin;

/// Builds the failover plugin; what is not set here comes from the cluster's settings.
///
/// ```
/// use std::time::Duration;
/// use wrapper_plugins::failover::{Failover, FailoverMode};
///
/// let failover = Failover::new().mode(FailoverMode::StrictWriter).timeout(Duration::from_secs(60));
/// # let _ = failover;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Failover {
    enabled: Option<bool>,
    mode: Option<FailoverMode>,
    timeout: Option<Duration>,
    on_connect: Option<bool>,
    reader_strategy: Option<Strategy>,
    reader_connect_timeout: Option<Duration>,
}

impl Failover {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `enable_failover`: whether the plugin acts; true by default.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// `failover_mode`: which role the next host must have; by default it follows from the endpoint.
    pub fn mode(mut self, mode: FailoverMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// `failover_timeout`: the longest that a switch may take, everything included; 300 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// `enable_connect_failover`: whether a connect that breaks looks for another host; false by default.
    pub fn on_connect(mut self, on_connect: bool) -> Self {
        self.on_connect = Some(on_connect);
        self
    }

    /// `failover_reader_host_selector_strategy`: the order in which readers are tried; random by default.
    pub fn reader_strategy(mut self, strategy: Strategy) -> Self {
        self.reader_strategy = Some(strategy);
        self
    }

    /// `failover_reader_connect_timeout`: the longest that the connect to one reader may take; `connect_timeout` by
    /// default.
    pub fn reader_connect_timeout(mut self, timeout: Duration) -> Self {
        self.reader_connect_timeout = Some(timeout);
        self
    }
}

/// The settings as they act in one session.
#[derive(Clone, Debug)]
pub(super) struct Effective {
    pub(super) enabled: bool,
    pub(super) mode: FailoverMode,
    pub(super) timeout: Duration,
    pub(super) on_connect: bool,
    pub(super) reader_strategy: Strategy,
    pub(super) reader_connect_timeout: Option<Duration>,
}

impl PluginFactory for Failover {
    fn name(&self) -> &'static str {
        "failover"
    }

    fn needs_topology(&self) -> bool {
        true
    }

    fn off_on_proxy(&self) -> bool {
        true
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        let settings = cx.settings;
        let timeout = self.timeout.unwrap_or(settings.failover_timeout);
        if timeout.is_zero() {
            return Err(Error::config(
                "`failover_timeout=0s`: a switch needs time; give more than zero, or set `enable_failover=false`",
            ));
        }
        let by_endpoint = match classify(cx.endpoint.host()).kind() {
            EndpointKind::ReaderCluster => FailoverMode::ReaderOrWriter,
            _ => FailoverMode::StrictWriter,
        };
        let effective = Effective {
            enabled: self.enabled.unwrap_or(settings.enable_failover),
            mode: self.mode.or(settings.failover_mode).unwrap_or(by_endpoint),
            timeout,
            on_connect: self.on_connect.unwrap_or(settings.enable_connect_failover),
            reader_strategy: self
                .reader_strategy
                .or(settings.failover_reader_host_selector_strategy)
                .unwrap_or(settings.reader_host_selector_strategy),
            reader_connect_timeout: self.reader_connect_timeout.or(settings.failover_reader_connect_timeout),
        };
        Ok(Arc::new(FailoverPlugin::new(effective, settings.selector_options())))
    }
}
