//! The contract of a plugin.

use std::fmt::Debug;
use std::ops::BitOr;
use std::sync::Arc;

use async_trait::async_trait;

use super::{CallContext, ConnectContext, ConnectNext, Connected, ExecuteNext, OrderClass};
use crate::credential_provider::CredentialProvider;
use crate::driver::DriverConnection;
use crate::error::{Error, Result};
use crate::host::{HostInfo, HostRole, HostStateChange};
use crate::session::Attempt;
use crate::topology::Published;

/// Which hooks of a plugin are called; fixed when the chain is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSet(u16);

impl MethodSet {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// [`Plugin::connect`].
    pub const CONNECT: Self = Self(1);
    /// [`Plugin::force_connect`].
    pub const FORCE_CONNECT: Self = Self(1 << 1);
    /// [`Plugin::execute`]. Every call of a session with such a plugin is boxed once per subscriber.
    pub const EXECUTE: Self = Self(1 << 2);
    /// [`Plugin::recover`].
    pub const RECOVER: Self = Self(1 << 3);
    /// [`Plugin::enter`] and [`Plugin::leave`].
    pub const ENTER_LEAVE: Self = Self(1 << 4);
    /// [`Plugin::watch`] and [`Plugin::unwatch`].
    pub const WATCH: Self = Self(1 << 5);
    /// The notifications `on_…`.
    pub const NOTIFY: Self = Self(1 << 6);
    /// [`Plugin::select_host`].
    pub const SELECT_HOST: Self = Self(1 << 7);
    /// [`Plugin::refuse`].
    pub const REFUSE: Self = Self(1 << 8);

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for MethodSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a plugin decides after a failed attempt.
#[derive(Debug)]
#[non_exhaustive]
pub enum Recovery {
    /// The call ends with this error, after the plugins further out have seen it.
    Fail(Error),
    /// The call runs again on the session's current connection. Only for a call that is known not to have been
    /// applied; for a call whose inputs are consumed it is a typed error.
    Rerun,
}

/// How a call ended, as [`Plugin::leave`] sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It succeeded.
    Done,
    /// It failed.
    Failed(&'a Error),
    /// Its future was dropped by the caller: no statement about the host.
    Cancelled,
}

/// What [`Plugin::watch`] returns and [`Plugin::unwatch`] gets back.
pub type WatchToken = u64;

/// A new topology was published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopologyChange {
    /// The topology before, if there was one.
    pub before: Option<Published>,
    /// The topology now.
    pub now: Published,
}

impl TopologyChange {
    /// A change from `before` to `now`.
    pub fn new(before: Option<Published>, now: Published) -> Self {
        Self { before, now }
    }
}

/// A session moved to another connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionChange {
    /// The host before.
    pub from: HostInfo,
    /// The host now.
    pub to: HostInfo,
    /// The session's generation now.
    pub generation: u64,
    /// The new connection.
    pub connection: Arc<dyn DriverConnection>,
}

impl ConnectionChange {
    pub(crate) fn new(
        from: HostInfo,
        to: HostInfo,
        generation: u64,
        connection: Arc<dyn DriverConnection>,
    ) -> Self {
        Self { from, to, generation, connection }
    }
}

/// A plugin of one session.
///
/// Plugins are built per session by a [`PluginFactory`](super::PluginFactory); what sessions share lives in the
/// [`Cluster`](crate::cluster::Cluster). A plugin never owns the chain that it sits in. It holds no lock across
/// `next`, waits only through the environment, respects the deadline of its context, cleans up in `Drop`, and never
/// hides [`ErrorKind::TransactionStateUnknown`](crate::ErrorKind::TransactionStateUnknown).
///
/// Every method has a default body; [`subscriptions`](Self::subscriptions) says which ones are called.
///
/// ```
/// use wrapper_core::plugin::{CallContext, MethodSet, OrderClass, Outcome, Plugin};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Debug, Default)]
/// struct CountFailures(AtomicU64);
///
/// impl Plugin for CountFailures {
///     fn name(&self) -> &'static str {
///         "count_failures"
///     }
///     fn class(&self) -> OrderClass {
///         OrderClass::Observe
///     }
///     fn subscriptions(&self) -> MethodSet {
///         MethodSet::ENTER_LEAVE
///     }
///     fn leave(&self, _call: &wrapper_core::plugin::Call<'_>, outcome: Outcome<'_>) {
///         if let Outcome::Failed(_) = outcome {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Plugin: Debug + Send + Sync {
    /// The plugin's code, as it stands in the setting `plugins`.
    fn name(&self) -> &'static str;

    /// Where it stands in the chain.
    fn class(&self) -> OrderClass;

    /// Which hooks are called.
    fn subscriptions(&self) -> MethodSet;

    /// Goes around the opening of a session's connection.
    ///
    /// - *When*: a session is opened, or a switch opens its next connection.
    /// - *Available*: target, role wanted, deadline, cluster. No connection yet.
    /// - *An error* ends the connect, after the plugins further out have seen it.
    /// - *May change*: the target, and how often `next` runs; every connection that it does not return is dropped.
    ///
    /// # Errors
    /// Any, typed.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        next.run(cx).await
    }

    /// Goes around the opening of a connection that must lead to exactly the target: monitors, probes, switches.
    ///
    /// - *When*: a monitor or a switch opens a connection.
    /// - *Available*: as in [`connect`](Self::connect); there may be no session.
    /// - *An error* ends the attempt.
    /// - *May change*: credentials and driver details, never the host.
    ///
    /// # Errors
    /// Any, typed.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    async fn force_connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        next.run(cx).await
    }

    /// Goes around a call.
    ///
    /// - *When*: every call of the session, for plugins that subscribed.
    /// - *Available*: the description of the call, the connection of this attempt, the session.
    /// - *An error* ends the call.
    /// - *May change*: run `next` again (a call whose inputs are consumed answers with a typed error), follow the
    ///   session to another connection. Returning `Ok` without running `next` is a typed error.
    ///
    /// # Errors
    /// Any, typed.
    ///
    /// # Cancellation
    /// Dropping the future abandons the call; the connection stays clean or is discarded.
    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<()> {
        loop {
            let Err(error) = next.run(cx).await else { return Ok(()) };
            match self.recover(cx, error).await {
                Recovery::Fail(error) => return Err(error),
                Recovery::Rerun => cx.follow()?,
            }
        }
    }

    /// Decides what follows from a failed attempt.
    ///
    /// - *When*: after a failed attempt only, innermost plugin first.
    /// - *Available*: the connection of the failed attempt (`cx.connection()`), the session.
    /// - *An error* returned is what the next plugin out sees.
    /// - *May change*: switch the session; ask for a re-run.
    ///
    /// # Cancellation
    /// The caller may drop it at any time: what must go on runs as a task of the cluster.
    async fn recover(&self, cx: &mut CallContext<'_>, error: Error) -> Recovery {
        let _ = cx;
        Recovery::Fail(error)
    }

    /// A call starts.
    ///
    /// - *When*: before the first attempt; must not wait.
    /// - *Available*: the description of the call.
    /// - *Errors*: cannot fail.
    /// - *May change*: nothing.
    fn enter(&self, call: &super::Call<'_>) {
        let _ = call;
    }

    /// A call that [`enter`](Self::enter) saw has ended, also when its future was dropped.
    ///
    /// - *When*: always once for each `enter`; core's own scope guard calls it.
    /// - *Available*: the description of the call and how it ended.
    /// - *Errors*: cannot fail.
    /// - *May change*: nothing.
    fn leave(&self, call: &super::Call<'_>, outcome: Outcome<'_>) {
        let _ = (call, outcome);
    }

    /// A call, or a row stream, begins to wait for the server.
    ///
    /// - *When*: at the first poll of an attempt that is not ready at once; must not wait.
    /// - *Available*: the connection that is waited for and its host.
    /// - *Errors*: cannot fail.
    /// - *May change*: nothing.
    fn watch(&self, connection: &Arc<dyn DriverConnection>, host: &HostInfo) -> WatchToken {
        let _ = (connection, host);
        0
    }

    /// The wait that returned `token` has ended, for whatever reason.
    ///
    /// - *When*: always once for each `watch`; core's own scope guard calls it.
    /// - *Available*: the token.
    /// - *Errors*: cannot fail.
    /// - *May change*: nothing.
    fn unwatch(&self, token: WatchToken) {
        let _ = token;
    }

    /// The cluster's writer has changed since the connection of this attempt was opened or last checked.
    ///
    /// - *When*: before the next use of the connection, once per change; costs one atomic load otherwise.
    /// - *Available*: connection, host and the epoch of the last check.
    /// - *An error* refuses the connection: nothing is sent, the error goes to the plugins that recover.
    /// - *May change*: nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Demoted`](crate::ErrorKind::Demoted) when the connection must not be used any more.
    fn refuse(&self, attempt: &Attempt) -> Result<()> {
        let _ = attempt;
        Ok(())
    }

    /// A new topology was published. Sync, cannot fail, changes nothing.
    fn on_topology(&self, change: &TopologyChange) {
        let _ = change;
    }

    /// The session moved to another connection. Sync, cannot fail, changes nothing.
    fn on_connection(&self, change: &ConnectionChange) {
        let _ = change;
    }

    /// A host went up or down. Sync, cannot fail, changes nothing.
    fn on_host_state(&self, change: &HostStateChange) {
        let _ = change;
    }

    /// A row stream ended with an error after its call had returned. Sync, cannot fail, changes nothing.
    fn on_stream_error(&self, error: &Error) {
        let _ = error;
    }

    /// Chooses a host by a strategy that this plugin brings; `None` when the strategy is not its own.
    fn select_host(&self, strategy: &str, role: HostRole, hosts: &[HostInfo]) -> Option<Result<HostInfo>> {
        let _ = (strategy, role, hosts);
        None
    }

    /// What logs connections in, when this plugin is there for that. For adapters of pools that connect by themselves, so
    /// that no connect passes the chain; they take the credentials from here.
    ///
    /// - *When*: once, when the pool is made.
    /// - *Available*: nothing of a connect.
    /// - *Errors*: cannot fail.
    /// - *May change*: nothing.
    fn credentials(&self) -> Option<Arc<dyn CredentialProvider>> {
        None
    }
}
