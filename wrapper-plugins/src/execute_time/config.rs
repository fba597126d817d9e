//! The settings of the plugin.

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::Result;
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};

use super::plugin::ExecuteTimePlugin;

/// Builds the plugin that times calls.
///
/// ```
/// use std::time::Duration;
/// use wrapper_plugins::execute_time::ExecuteTime;
///
/// let execute_time = ExecuteTime::new().slow(Duration::from_millis(200));
/// # let _ = execute_time;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ExecuteTime {
    slow: Option<Duration>,
}

impl ExecuteTime {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `execute_time_slow`: calls that take at least this long are logged as warnings; none by default.
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = Some(slow);
        self
    }
}

impl PluginFactory for ExecuteTime {
    fn name(&self) -> &'static str {
        "execute_time"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(ExecuteTimePlugin { slow: self.slow.or(cx.settings.execute_time_slow) }))
    }
}
