//! A chain: the plugins of one session in their order, with one list per kind of hook.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{
    Call, ConnectContext, ConnectNext, Connected, ConnectionChange, HostStateChange, MAX_WATCHERS, MethodSet,
    OrderClass, Outcome, Plugin, TopologyChange, WatchToken,
};
use crate::driver::DriverConnection;
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostInfo;
use crate::session::Attempt;

type List = Arc<[Arc<dyn Plugin>]>;

/// The plugins of one session, from outside in, and one list per kind of hook.
#[derive(Clone, Debug)]
pub struct Chain {
    all: List,
    connect: List,
    force_connect: List,
    execute: List,
    recover: List,
    enter: List,
    watch: List,
    notify: List,
    refuse: List,
}

impl Chain {
    /// Puts `plugins` into order.
    ///
    /// With `sort` they are sorted by class, plugins of one class in the order given. Without, the order given stays.
    ///
    /// # Errors
    /// A configuration error that names both plugins when monitoring would stand outside failover, when two provide
    /// credentials, or when one name is given twice; or when more than [`MAX_WATCHERS`] plugins subscribe to [`MethodSet::WATCH`].
    pub fn new(mut plugins: Vec<Arc<dyn Plugin>>, sort: bool) -> Result<Self> {
        for (index, plugin) in plugins.iter().enumerate() {
            if plugins[..index].iter().any(|other| other.name() == plugin.name()) {
                return Err(Error::config(format!(
                    "`plugins`: `{}` is given twice; give it once",
                    plugin.name()
                )));
            }
        }
        let mut providers = plugins.iter().filter(|plugin| plugin.class() == OrderClass::Authentication);
        if let (Some(first), Some(second)) = (providers.next(), providers.next()) {
            return Err(Error::config(format!(
                "`{}` and `{}` both provide the credentials of connections; use one of them",
                first.name(),
                second.name()
            )));
        }
        if sort {
            plugins.sort_by_key(|plugin| plugin.class());
        } else {
            let failover = plugins.iter().rposition(|plugin| plugin.class() == OrderClass::Failover);
            let monitoring = plugins.iter().position(|plugin| plugin.class() == OrderClass::Monitoring);
            if let (Some(failover), Some(monitoring)) = (failover, monitoring) {
                if monitoring < failover {
                    return Err(Error::config(format!(
                        "`plugins`: `{}` stands before `{}`, but failover must stand outside monitoring; \
                         swap them, or leave `auto_sort_wrapper_plugin_order` at true",
                        plugins[monitoring].name(),
                        plugins[failover].name()
                    )));
                }
            }
        }
        let list = |set: MethodSet| -> List {
            plugins.iter().filter(|plugin| plugin.subscriptions().contains(set)).map(Arc::clone).collect()
        };
        let execute = if plugins.iter().any(|plugin| plugin.subscriptions().contains(MethodSet::EXECUTE)) {
            // Plugins that only recover take their place in the nested chain through the default body of `execute`.
            plugins
                .iter()
                .filter(|plugin| {
                    let set = plugin.subscriptions();
                    set.contains(MethodSet::EXECUTE) || set.contains(MethodSet::RECOVER)
                })
                .map(Arc::clone)
                .collect()
        } else {
            List::from([])
        };
        let chain = Self {
            connect: list(MethodSet::CONNECT),
            force_connect: list(MethodSet::FORCE_CONNECT),
            execute,
            recover: list(MethodSet::RECOVER),
            enter: list(MethodSet::ENTER_LEAVE),
            watch: list(MethodSet::WATCH),
            notify: list(MethodSet::NOTIFY),
            refuse: list(MethodSet::REFUSE),
            all: plugins.into(),
        };
        if chain.watch.len() > MAX_WATCHERS {
            let names: Vec<_> = chain.watch.iter().map(|plugin| plugin.name()).collect();
            return Err(Error::config(format!(
                "`plugins`: {} plugins watch waits ({}), at most {MAX_WATCHERS} may",
                names.len(),
                names.join(", ")
            )));
        }
        Ok(chain)
    }

    /// The plugins, from outside in.
    pub fn plugins(&self) -> &[Arc<dyn Plugin>] {
        &self.all
    }

    /// Opens a session's connection through the plugins that go around `connect`.
    ///
    /// # Errors
    /// Whatever a plugin or the driver returns.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    pub async fn connect(&self, cx: &mut ConnectContext<'_>) -> Result<Connected> {
        ConnectNext::new(&self.connect, false).run(cx).await
    }

    /// Opens a connection that must lead to exactly the context's target.
    ///
    /// # Errors
    /// Whatever a plugin or the driver returns.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    pub async fn force_connect(&self, cx: &mut ConnectContext<'_>) -> Result<Connected> {
        ConnectNext::new(&self.force_connect, true).run(cx).await
    }

    pub(crate) fn execute_list(&self) -> &[Arc<dyn Plugin>] {
        &self.execute
    }

    pub(crate) fn recover_list(&self) -> &[Arc<dyn Plugin>] {
        &self.recover
    }

    pub(crate) fn has_no_enter(&self) -> bool {
        self.enter.is_empty()
    }

    pub(crate) fn watches(&self) -> bool {
        !self.watch.is_empty()
    }

    pub(crate) fn enter<'a>(&'a self, call: &'a Call<'a>) -> Entered<'a> {
        for plugin in self.enter.iter() {
            quietly(|| plugin.enter(call));
        }
        Entered { list: &self.enter, call, open: true }
    }

    /// Tells the watchers of a wait; each wait is to be ended with [`unwatch`](Self::unwatch), whatever happens.
    #[inline]
    pub(crate) fn watch(&self, connection: &Arc<dyn DriverConnection>, host: &HostInfo) -> WatchTokens {
        let mut tokens = [0; MAX_WATCHERS];
        for (token, plugin) in tokens.iter_mut().zip(self.watch.iter()) {
            quietly(|| *token = plugin.watch(connection, host));
        }
        tokens
    }

    #[inline]
    pub(crate) fn unwatch(&self, tokens: &WatchTokens) {
        for (token, plugin) in tokens.iter().zip(self.watch.iter()) {
            quietly(|| plugin.unwatch(*token));
        }
    }

    pub(crate) fn refuses(&self) -> bool {
        !self.refuse.is_empty()
    }

    pub(crate) fn refuse(&self, attempt: &Attempt) -> Result<()> {
        self.refuse.iter().try_for_each(|plugin| {
            catch_unwind(AssertUnwindSafe(|| plugin.refuse(attempt)))
                .unwrap_or_else(|panic| Err(panicked(by(&**plugin), &*panic)))
        })
    }

    pub(crate) fn notifies(&self) -> bool {
        !self.notify.is_empty()
    }

    pub(crate) fn topology_changed(&self, change: &TopologyChange) {
        self.notify.iter().for_each(|plugin| quietly(|| plugin.on_topology(change)));
    }

    pub(crate) fn connection_changed(&self, change: &ConnectionChange) {
        self.notify.iter().for_each(|plugin| quietly(|| plugin.on_connection(change)));
    }

    pub(crate) fn host_state_changed(&self, change: &HostStateChange) {
        self.notify.iter().for_each(|plugin| quietly(|| plugin.on_host_state(change)));
    }

    pub(crate) fn stream_failed(&self, error: &Error) {
        self.notify.iter().for_each(|plugin| quietly(|| plugin.on_stream_error(error)));
    }
}

/// Runs a hook that cannot fail: a panic in it is not the call's.
fn quietly(hook: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(hook));
}

/// How a plugin is named in an error.
pub(crate) fn by(plugin: &dyn Plugin) -> impl Display {
    format!("plugin `{}`", plugin.name())
}

/// The error for a panic in a plugin or a hook.
pub(crate) fn panicked(who: impl Display, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Error::new(ErrorKind::Plugin, format!("{who} panicked: {text}"))
}

/// Calls `leave` exactly once, also when the call's future is dropped.
pub(crate) struct Entered<'a> {
    list: &'a [Arc<dyn Plugin>],
    call: &'a Call<'a>,
    open: bool,
}

impl Entered<'_> {
    pub(crate) fn finish<T>(mut self, result: &Result<T>) {
        self.open = false;
        let outcome = match result {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Failed(error),
        };
        self.list.iter().rev().for_each(|plugin| quietly(|| plugin.leave(self.call, outcome)));
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.open {
            self.list.iter().rev().for_each(|plugin| quietly(|| plugin.leave(self.call, Outcome::Cancelled)));
        }
    }
}

/// What the watchers gave for one wait.
pub(crate) type WatchTokens = [WatchToken; MAX_WATCHERS];
