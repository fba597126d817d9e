//! The plugin: a factory, which the connector keeps, and one value per session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use wrapper_pg::core::env::Environment;
use wrapper_pg::core::plugin::{
    BuildContext, CallContext, ExecuteNext, MethodSet, OrderClass, Plugin, PluginFactory,
};

/// What all sessions share: how many calls there were, how many failed, and the slowest of them.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) calls: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) slowest: Mutex<Option<(Duration, String)>>,
}

/// Builds the plugin of each session.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallTimes(pub(crate) Arc<Times>);

impl PluginFactory for CallTimes {
    fn name(&self) -> &'static str {
        "call_times"
    }

    fn build(&self, cx: &BuildContext<'_>) -> wrapper_pg::Result<Arc<dyn Plugin>> {
        Ok(Arc::new(Timer { times: Arc::clone(&self.0), env: cx.cluster.env().clone() }))
    }
}

/// The plugin of one session.
#[derive(Debug)]
struct Timer {
    times: Arc<Times>,
    env: Environment,
}

#[async_trait]
impl Plugin for Timer {
    fn name(&self) -> &'static str {
        "call_times"
    }

    // Observers stand outside all others: the time of a failover is part of the call.
    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::EXECUTE
    }

    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> wrapper_pg::Result<()> {
        let what = cx.call().sql.unwrap_or(cx.call().method).to_owned();
        let began = self.env.now();
        let result = next.run(cx).await;
        let took = self.env.now().saturating_duration_since(began);
        self.times.calls.fetch_add(1, Ordering::Relaxed);
        self.times.failed.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        let mut slowest = self.times.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        if slowest.as_ref().is_none_or(|(known, _)| *known < took) {
            *slowest = Some((took, what));
        }
        result
    }
}
