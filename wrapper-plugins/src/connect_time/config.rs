//! The settings of the plugin.

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::Result;
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};

use super::plugin::ConnectTimePlugin;

/// Builds the plugin that times connects.
///
/// ```
/// use std::time::Duration;
/// use wrapper_plugins::connect_time::ConnectTime;
///
/// let connect_time = ConnectTime::new().slow(Duration::from_secs(1));
/// # let _ = connect_time;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ConnectTime {
    slow: Option<Duration>,
}

impl ConnectTime {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `connect_time_slow`: connects that take at least this long are logged as warnings; none by default.
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = Some(slow);
        self
    }
}

impl PluginFactory for ConnectTime {
    fn name(&self) -> &'static str {
        "connect_time"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(ConnectTimePlugin { slow: self.slow.or(cx.settings.connect_time_slow) }))
    }
}
