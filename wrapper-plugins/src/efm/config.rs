//! What host monitoring is configured with, and the check of it.

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::config::Settings;
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::plugin::{EfmPlugin, Off};

/// The longest limit of a probe that follows from the interval.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Timers count in milliseconds: a shorter span would be none.
const SHORTEST: Duration = Duration::from_millis(1);
/// Stands for "never"; longer spans are cut to it, so that no sum of times overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Host monitoring: the plugin `efm`.
///
/// The defaults are the other AWS wrappers': a call is left alone for 30 s, then its host is probed every 5 s, and
/// three failed probes in a row close the connection.
///
/// ```
/// use std::time::Duration;
/// use wrapper_plugins::efm::HostMonitoring;
///
/// let monitoring = HostMonitoring::new()
///     .grace(Duration::from_secs(1))
///     .interval(Duration::from_millis(200))
///     .count(3);
/// assert!(monitoring.check().is_ok());
/// assert!(monitoring.count(0).check().is_err());
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HostMonitoring {
    enabled: Option<bool>,
    grace: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u32>,
    disposal_time: Option<Duration>,
    connect_timeout: Option<Duration>,
    restart_grace_on_bytes: bool,
}

impl HostMonitoring {
    /// Host monitoring; what is not set here comes from the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `failure_detection_enabled`: whether anything is watched at all; on by default.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// `failure_detection_time`: how long a call may wait for the server before its host is probed; 30 s. Zero
    /// probes from the start of each call.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// `failure_detection_interval`: from the start of one probe to the start of the next; 5 s, at least 1 ms.
    ///
    /// It is the time limit of a probe too, up to 3 s: an interval shorter than a round trip to the server, or
    /// than a connect with TLS and login, lets healthy hosts fail.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// `failure_detection_count`: how many probes in a row must fail; 3, at least 1. With 1 a single lost answer
    /// closes connections.
    pub fn count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// `monitor_disposal_time`: how long the monitor of a host outlives the last call to it; 600 s, at least 1 ms.
    pub fn disposal_time(mut self, disposal_time: Duration) -> Self {
        self.disposal_time = Some(disposal_time);
        self
    }

    /// `monitoring_connect_timeout`: the limit of a probe's whole connect; the interval by default, at most 3 s; at
    /// least 1 ms. A longer one makes detection slower by the difference for each probe.
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = Some(connect_timeout);
        self
    }

    /// `failure_detection_restart_on_bytes`: whether bytes from the server restart the grace of the call that waits
    /// for the rest; off by default, as in the other AWS wrappers. When on, the grace lasts at most twice its value.
    pub fn restart_grace_on_bytes(mut self, restart: bool) -> Self {
        self.restart_grace_on_bytes = restart;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A configuration error that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        let spans = [
            ("failure_detection_interval", self.interval),
            ("monitor_disposal_time", self.disposal_time),
            ("monitoring_connect_timeout", self.connect_timeout),
        ];
        let given = spans.into_iter().filter_map(|(setting, value)| value.map(|value| (setting, value)));
        for (setting, value) in given {
            if value < SHORTEST {
                return Err(Error::config(format!("`{setting}={value:?}`: it must be at least 1ms")));
            }
        }
        if self.count == Some(0) {
            return Err(Error::config(
                "`failure_detection_count=0`: it must be at least 1; to switch host monitoring off, set \
                 `failure_detection_enabled=false` or leave `efm` out of `plugins`",
            ));
        }
        Ok(())
    }

    pub(super) fn parameters(&self, settings: &Settings) -> Parameters {
        let interval = self.interval.unwrap_or(settings.failure_detection_interval).min(LONGEST);
        let probe_timeout = settings.monitoring_socket_timeout.unwrap_or(interval.min(PROBE_TIMEOUT));
        let by_setting = settings.monitoring_connect_timeout.unwrap_or(probe_timeout);
        Parameters {
            grace: self.grace.unwrap_or(settings.failure_detection_time).min(LONGEST),
            interval,
            count: self.count.unwrap_or(settings.failure_detection_count),
            disposal_time: self.disposal_time.unwrap_or(settings.monitor_disposal_time).min(LONGEST),
            probe_timeout,
            connect_timeout: self.connect_timeout.unwrap_or(by_setting).min(LONGEST),
            restart_grace_on_bytes: self.restart_grace_on_bytes,
        }
    }
}

impl PluginFactory for HostMonitoring {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn off_on_proxy(&self) -> bool {
        // Behind a proxy a probe and the call that it is made for may be on different instances.
        true
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        self.check()?;
        if !self.enabled.unwrap_or(cx.settings.failure_detection_enabled) {
            return Ok(Arc::new(Off));
        }
        Ok(Arc::new(EfmPlugin::new(cx.cluster, self.parameters(cx.settings))))
    }
}

/// The checked values; sessions with equal ones share the monitor of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parameters {
    pub(super) grace: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
    pub(super) disposal_time: Duration,
    pub(super) probe_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) restart_grace_on_bytes: bool,
}
