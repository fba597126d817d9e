//! The plugin.

use std::time::Duration;

use async_trait::async_trait;
use tracing::{Instrument, Span, field};
use wrapper_core::Result;
use wrapper_core::cluster::Cluster;
use wrapper_core::env::Instant;
use wrapper_core::observe::catalog::spans::{CONNECT, TARGET_CONNECT};
use wrapper_core::observe::{ConnectTiming, Ending, Event};
use wrapper_core::plugin::{ConnectContext, ConnectNext, Connected, MethodSet, OrderClass, Plugin};

#[derive(Debug)]
pub(super) struct ConnectTimePlugin {
    pub(super) slow: Option<Duration>,
}

#[async_trait]
impl Plugin for ConnectTimePlugin {
    fn name(&self) -> &'static str {
        "connect_time"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::CONNECT | MethodSet::FORCE_CONNECT
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.timed(cx, next).await
    }

    async fn force_connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.timed(cx, next).await
    }
}

impl ConnectTimePlugin {
    async fn timed(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        let host = cx.target.host.clone();
        let mut timing = ConnectTiming::new(host, cx.target.purpose, Duration::ZERO, Ending::Cancelled);
        timing.initial = cx.initial;
        let span = tracing::debug_span!(
            target: TARGET_CONNECT, CONNECT,
            purpose = timing.purpose_name(),
            server.address = timing.host.host(), server.port = timing.host.port(),
            outcome = field::Empty, error.type = field::Empty
        );
        let cluster = cx.cluster;
        let mut clock =
            Clock { timing, began: cluster.env().now(), slow: self.slow, span: span.clone(), cluster };
        let result = next.run(cx).instrument(span).await;
        clock.timing.ending = Ending::of(&result);
        if let Ok(connected) = &result {
            clock.timing.host = connected.host.clone();
        }
        result
    }
}

/// Tells what became of a connect when it is dropped: a connect that is cancelled is told too.
struct Clock<'a> {
    timing: ConnectTiming,
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
                    target: TARGET_CONNECT, parent: &self.span,
                    purpose = timing.purpose_name(),
                    server.address = timing.host.host(), server.port = timing.host.port(),
                    elapsed = ?timing.elapsed, outcome = timing.ending.as_str(), error.type = timing.ending.error_type(),
                    "connect"
                )
            };
        }
        if self.slow.is_some_and(|slow| timing.elapsed >= slow) {
            line!(warn);
        } else {
            line!(debug);
        }
        self.cluster.emit(&Event::ConnectTimed(timing));
    }
}
