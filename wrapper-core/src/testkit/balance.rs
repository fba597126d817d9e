//! A plugin that counts what is entered and left.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::driver::DriverConnection;
use crate::error::Result;
use crate::host::HostInfo;
use crate::plugin::{BuildContext, Call, MethodSet, OrderClass, Outcome, Plugin, PluginFactory, WatchToken};

/// Counts calls that were entered and not left, and waits that were begun and not ended, over all sessions of a
/// connector. Cheap to clone; clones count together.
///
/// ```
/// use wrapper_core::testkit::Balance;
///
/// let balance = Balance::new();
/// // … plugins: vec![Arc::new(balance.clone())], calls …
/// assert_eq!((balance.calls(), balance.waits()), (0, 0));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Balance(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicI64,
    waits: AtomicI64,
}

impl Balance {
    /// Nothing has been entered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls that were entered and not left.
    pub fn calls(&self) -> i64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Waits that were begun and not ended.
    pub fn waits(&self) -> i64 {
        self.0.waits.load(Ordering::Relaxed)
    }
}

impl PluginFactory for Balance {
    fn name(&self) -> &'static str {
        "balance"
    }

    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Plugin for Balance {
    fn name(&self) -> &'static str {
        "balance"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::ENTER_LEAVE | MethodSet::WATCH
    }

    fn enter(&self, _: &Call<'_>) {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self, _: &Call<'_>, _: Outcome<'_>) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }

    fn watch(&self, _: &Arc<dyn DriverConnection>, _: &HostInfo) -> WatchToken {
        self.0.waits.fetch_add(1, Ordering::Relaxed);
        0
    }

    fn unwatch(&self, _: WatchToken) {
        self.0.waits.fetch_sub(1, Ordering::Relaxed);
    }
}
