//! The settings of the plugin.

use std::sync::Arc;

use wrapper_core::Result;
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};

use super::mask::Syntax;
use super::plugin::LogQueryPlugin;

/// As long as a line of a log may be without being a nuisance.
const MAX_LENGTH: usize = 2_000;

/// Builds the plugin that logs the SQL of calls.
///
/// ```
/// use wrapper_plugins::log_query::LogQuery;
///
/// let log_query = LogQuery::new().max_length(500);
/// # let _ = log_query;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LogQuery {
    literals: Option<bool>,
    max_length: usize,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { literals: None, max_length: MAX_LENGTH }
    }
}

impl LogQuery {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `log_query_literals`: whether literals and comments stand in the log as they were written. They are masked by
    /// default: they may be personal data, or a password in `ALTER USER`.
    pub fn literals(mut self, literals: bool) -> Self {
        self.literals = Some(literals);
        self
    }

    /// How much of a text is logged, in bytes; 2,000 by default.
    pub fn max_length(mut self, bytes: usize) -> Self {
        self.max_length = bytes;
        self
    }
}

impl PluginFactory for LogQuery {
    fn name(&self) -> &'static str {
        "log_query"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(LogQueryPlugin {
            literals: self.literals.unwrap_or(cx.settings.log_query_literals),
            max_length: self.max_length,
            // The dialect may not be known yet, the driver is.
            syntax: if cx.cluster.driver().name().contains("mysql") {
                Syntax::MySql
            } else {
                Syntax::Postgres
            },
        }))
    }
}
