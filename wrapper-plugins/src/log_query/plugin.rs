//! The plugin.

use tracing::Level;
use wrapper_core::observe::catalog::spans::TARGET_LOG_QUERY;
use wrapper_core::plugin::{Call, MethodSet, OrderClass, Outcome, Plugin};

use super::mask::{Syntax, masked, one_line};

#[derive(Debug)]
pub(super) struct LogQueryPlugin {
    pub(super) literals: bool,
    pub(super) max_length: usize,
    pub(super) syntax: Syntax,
}

impl LogQueryPlugin {
    fn text(&self, sql: &str) -> String {
        if self.literals { one_line(sql, self.max_length) } else { masked(sql, self.syntax, self.max_length) }
    }
}

// Enter and leave, not around: the calls stay on the direct path, and cost nothing while the level is off.
impl Plugin for LogQueryPlugin {
    fn name(&self) -> &'static str {
        "log_query"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::ENTER_LEAVE
    }

    fn enter(&self, call: &Call<'_>) {
        if tracing::enabled!(target: TARGET_LOG_QUERY, Level::DEBUG) {
            let sql = call.sql.map(|sql| self.text(sql));
            tracing::debug!(
                target: TARGET_LOG_QUERY,
                method = call.method, db.query.text = sql, in_transaction = call.pinned,
                "query"
            );
        }
    }

    fn leave(&self, call: &Call<'_>, outcome: Outcome<'_>) {
        if let Outcome::Failed(error) = outcome {
            // Not the error's text: the server repeats the statement's values in it.
            tracing::debug!(
                target: TARGET_LOG_QUERY,
                method = call.method, error.type = error.kind().as_str(), sqlstate = error.sqlstate(),
                "query failed"
            );
        }
    }
}
