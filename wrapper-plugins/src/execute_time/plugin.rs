//! The plugin.

use std::time::Duration;

use async_trait::async_trait;
use tracing::{Instrument, Span, field};
use wrapper_core::Result;
use wrapper_core::cluster::Cluster;
use wrapper_core::env::Instant;
use wrapper_core::observe::catalog::spans::{EXECUTE, TARGET_EXECUTE};
use wrapper_core::observe::{CallTiming, Ending, Event};
use wrapper_core::plugin::{CallContext, ExecuteNext, MethodSet, OrderClass, Plugin};

#[derive(Debug)]
pub(super) struct ExecuteTimePlugin {
    pub(super) slow: Option<Duration>,
}

#[async_trait]
impl Plugin for ExecuteTimePlugin {
    fn name(&self) -> &'static str {
        "execute_time"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::EXECUTE
    }

    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<()> {
        let mut timing =
            CallTiming::new(cx.call().method, cx.host().clone(), Duration::ZERO, Ending::Cancelled);
        let span = tracing::debug_span!(
            target: TARGET_EXECUTE, EXECUTE,
            method = timing.method,
            server.address = timing.host.host(), server.port = timing.host.port(),
            outcome = field::Empty, error.type = field::Empty
        );
        let cluster = cx.session().cluster();
        timing.attempts = 0;
        let mut clock =
            Clock { timing, began: cluster.env().now(), slow: self.slow, span: span.clone(), cluster };
        let result = next.run(cx).instrument(span).await;
        clock.timing.ending = Ending::of(&result);
        clock.timing.attempts = cx.attempts();
        if cx.host().key != clock.timing.host.key {
            clock.timing.host = cx.host().clone();
        }
        result
    }
}

/// Tells what became of a call when it is dropped: a call that is cancelled is told too.
struct Clock<'a> {
    timing: CallTiming,
    began: Instant,
    slow: Option<Duration>,
    span: Span,
    cluster: &'a Cluster,
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        let mut timing = self.timing.clone();
        timing.elapsed = self.cluster.env().now().saturating_duration_since(self.began);
        self.span.record("outcome", timing.ending.as_str());
        if let Some(kind) = timing.ending.error_type() {
            self.span.record("error.type", kind);
        }
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET_EXECUTE, parent: &self.span,
                    method = timing.method,
                    server.address = timing.host.host(), server.port = timing.host.port(),
                    elapsed = ?timing.elapsed, attempts = timing.attempts,
                    outcome = timing.ending.as_str(), error.type = timing.ending.error_type(),
                    "call"
                )
            };
        }
        if self.slow.is_some_and(|slow| timing.elapsed >= slow) {
            line!(warn);
        } else {
            line!(debug);
        }
        self.cluster.emit(&Event::CallTimed(timing));
    }
}
