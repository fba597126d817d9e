//! A plugin with a bug planted around it: everything else goes to the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use wrapper_core::driver::{ConnectTarget, DriverConnection};
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::plugin::{
    BuildContext, Call, CallContext, ConnectContext, ConnectNext, Connected, ConnectionChange, ExecuteNext,
    HostStateChange, MethodSet, OrderClass, Outcome, Plugin, PluginFactory, Recovery, TopologyChange,
    WatchToken,
};
use wrapper_core::session::{Attempt, Disposal, Search, SwitchContext, SwitchPlan};
use wrapper_core::{Error, ErrorKind, Result, TransactionOutcome};

use super::planted::Planted;

/// Plants `bug` around the plugins of `inner`.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn PluginFactory>,
    pub(super) bug: Planted,
}

impl PluginFactory for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn needs_topology(&self) -> bool {
        self.inner.needs_topology()
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        let inner = self.inner.build(cx)?;
        Ok(Arc::new(FaultyPlugin { inner, bug: self.bug, unwatched: AtomicU64::new(0) }))
    }
}

#[derive(Debug)]
struct FaultyPlugin {
    inner: Arc<dyn Plugin>,
    bug: Planted,
    unwatched: AtomicU64,
}

/// The second switch of [`Planted::SwitchesTwice`].
struct SameAgain;

#[async_trait]
impl Search for SameAgain {
    async fn find(&mut self, cx: &SwitchContext) -> Result<Connected> {
        let host = cx.failed.host.clone();
        cx.cluster.connect_verified(&cx.chain, &host, HostRole::Writer, cx.deadline).await
    }
}

impl FaultyPlugin {
    async fn own_probes(&self, cx: &CallContext<'_>) -> Vec<Arc<dyn DriverConnection>> {
        let cluster = cx.session().cluster();
        let mut probes = Vec::new();
        let Some(published) = cluster.topology() else { return probes };
        for host in published.topology.hosts() {
            let deadline = Deadline::after(std::time::Duration::from_millis(50), "planted");
            let target = ConnectTarget::monitor(host.clone());
            if let Ok(probe) = cluster.driver().connect(&target, deadline).await {
                probes.push(probe);
            }
        }
        probes
    }

    async fn switch_again(&self, cx: &CallContext<'_>, error: &Error) {
        let plan = SwitchPlan {
            failed: cx.session().current(),
            cause: error.clone(),
            disposal: Disposal::Drain,
            deadline: Deadline::after(std::time::Duration::from_secs(1), "planted"),
            search: Box::new(SameAgain),
        };
        let _ = cx.session().switch(plan).await;
    }
}

#[async_trait]
impl Plugin for FaultyPlugin {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn class(&self) -> OrderClass {
        self.inner.class()
    }

    fn subscriptions(&self) -> MethodSet {
        self.inner.subscriptions()
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.inner.connect(cx, next).await
    }

    async fn force_connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.inner.force_connect(cx, next).await
    }

    async fn execute(&self, cx: &mut CallContext<'_>, next: ExecuteNext<'_>) -> Result<()> {
        self.inner.execute(cx, next).await
    }

    async fn recover(&self, cx: &mut CallContext<'_>, error: Error) -> Recovery {
        let probes = match self.bug {
            Planted::OwnProbes => self.own_probes(cx).await,
            _ => Vec::new(),
        };
        let recovery = self.inner.recover(cx, error).await;
        drop(probes);
        let Recovery::Fail(error) = recovery else { return recovery };
        match self.bug {
            Planted::RunsAgain if error.kind() == ErrorKind::FailoverSucceeded => Recovery::Rerun,
            Planted::SaysRolledBack if error.outcome() == TransactionOutcome::MayHaveApplied => {
                Recovery::Fail(error.with_outcome(TransactionOutcome::RolledBack))
            }
            Planted::SwitchesTwice if error.kind() == ErrorKind::FailoverSucceeded => {
                self.switch_again(cx, &error).await;
                Recovery::Fail(error)
            }
            _ => Recovery::Fail(error),
        }
    }

    fn enter(&self, call: &Call<'_>) {
        self.inner.enter(call);
    }

    fn leave(&self, call: &Call<'_>, outcome: Outcome<'_>) {
        self.inner.leave(call, outcome);
    }

    fn watch(&self, connection: &Arc<dyn DriverConnection>, host: &HostInfo) -> WatchToken {
        if self.bug == Planted::NobodyWatches { 0 } else { self.inner.watch(connection, host) }
    }

    fn unwatch(&self, token: WatchToken) {
        let forgets =
            self.bug == Planted::ForgetsToUnwatch && self.unwatched.fetch_add(1, Ordering::Relaxed) % 3 == 2;
        if self.bug != Planted::NobodyWatches && !forgets {
            self.inner.unwatch(token);
        }
    }

    fn refuse(&self, attempt: &Attempt) -> Result<()> {
        if self.bug == Planted::TrackerSleeps { Ok(()) } else { self.inner.refuse(attempt) }
    }

    fn on_topology(&self, change: &TopologyChange) {
        self.inner.on_topology(change);
    }

    fn on_connection(&self, change: &ConnectionChange) {
        self.inner.on_connection(change);
    }

    fn on_host_state(&self, change: &HostStateChange) {
        self.inner.on_host_state(change);
    }

    fn on_stream_error(&self, error: &Error) {
        self.inner.on_stream_error(error);
    }
}
