//! The handle, and the faults that are waiting.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wrapper_core::cluster::ClusterCore;
use wrapper_core::driver::ConnectTarget;
use wrapper_core::plugin::{BuildContext, Call, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::plugin::DevPlugin;

/// What happens to a connect or to a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with this error and never reaches the driver.
    Fail(Error),
    /// It goes on after this time. A connect's own time limit goes on running meanwhile.
    Delay(Duration),
}

type OnConnect = Arc<dyn Fn(&ConnectTarget) -> Option<Fault> + Send + Sync>;
type OnCall = Arc<dyn Fn(&Call<'_>) -> Option<Fault> + Send + Sync>;

#[derive(Default)]
struct Waiting {
    connects: VecDeque<Fault>,
    /// With the method that it is for, if it is for one.
    calls: VecDeque<(Option<&'static str>, Fault)>,
    on_connect: Option<OnConnect>,
    on_call: Option<OnCall>,
}

/// What is in store for all sessions of a cluster.
#[derive(Default)]
pub(super) struct Faults(Mutex<Waiting>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn for_connect(&self, target: &ConnectTarget) -> Option<Fault> {
        let (fault, callback) = {
            let mut waiting = self.lock();
            (waiting.connects.pop_front(), waiting.on_connect.clone())
        };
        // Not under the lock: the callback may use the handle.
        fault.or_else(|| callback.and_then(|callback| callback(target)))
    }

    pub(super) fn for_call(&self, call: &Call<'_>) -> Option<Fault> {
        let (fault, callback) = {
            let mut waiting = self.lock();
            let fits = waiting
                .calls
                .iter()
                .position(|(method, _)| method.is_none_or(|method| method == call.method));
            (fits.and_then(|at| waiting.calls.remove(at)), waiting.on_call.clone())
        };
        fault.map(|(_, fault)| fault).or_else(|| callback.and_then(|callback| callback(call)))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.lock();
        f.debug_struct("Faults")
            .field("connects", &waiting.connects)
            .field("calls", &waiting.calls)
            .field("on_connect", &waiting.on_connect.is_some())
            .field("on_call", &waiting.on_call.is_some())
            .finish()
    }
}

/// Puts faults in the way of connects and calls. A handle and a plugin in one: keep a clone, give one to the builder.
///
/// ```
/// use std::time::Duration;
/// use wrapper_core::{Error, ErrorKind};
/// use wrapper_plugins::dev::{Dev, Fault};
///
/// let dev = Dev::new();
/// // Connector::builder(host).plugin(dev.clone()) …
/// dev.next_call(Fault::Fail(Error::new(ErrorKind::Network, "the cable was pulled")));
/// dev.next_call_of("query", Fault::Delay(Duration::from_secs(2)));
/// assert_eq!(dev.waiting(), 2);
/// dev.clear();
/// assert_eq!(dev.waiting(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dev {
    faults: Arc<Faults>,
}

impl Dev {
    /// A handle with nothing in store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle on the plugin of a cluster that was given `dev` by name, in the setting `plugins`.
    pub fn of(cluster: &ClusterCore) -> Self {
        let shared = cluster.shared(Shared::default);
        Self { faults: Arc::clone(&shared.0) }
    }

    /// Lets the next connect of a session meet this fault: the opening of a session, or a connect to a host during a
    /// switch. Connects of monitors are not touched. Given again before that, the faults stand in line.
    pub fn next_connect(&self, fault: Fault) {
        self.faults.lock().connects.push_back(fault);
    }

    /// Asks `callback` about each connect of a session that no waiting fault is for; `None` lets it pass. Replaces the
    /// callback before.
    pub fn on_connect(&self, callback: impl Fn(&ConnectTarget) -> Option<Fault> + Send + Sync + 'static) {
        self.faults.lock().on_connect = Some(Arc::new(callback));
    }

    /// Lets the next call of any session meet this fault. Given again before that, the faults stand in line.
    pub fn next_call(&self, fault: Fault) {
        self.faults.lock().calls.push_back((None, fault));
    }

    /// Lets the next call of `method`, such as `query`, meet this fault.
    pub fn next_call_of(&self, method: &'static str, fault: Fault) {
        self.faults.lock().calls.push_back((Some(method), fault));
    }

    /// Asks `callback` about each attempt of a call that no waiting fault is for; `None` lets it pass. Replaces the
    /// callback before.
    pub fn on_call(&self, callback: impl Fn(&Call<'_>) -> Option<Fault> + Send + Sync + 'static) {
        self.faults.lock().on_call = Some(Arc::new(callback));
    }

    /// Forgets every fault and both callbacks.
    pub fn clear(&self) {
        *self.faults.lock() = Waiting::default();
    }

    /// How many faults have not met anything yet; callbacks do not count.
    pub fn waiting(&self) -> usize {
        let waiting = self.faults.lock();
        waiting.connects.len() + waiting.calls.len()
    }
}

impl PluginFactory for Dev {
    fn name(&self) -> &'static str {
        "dev"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(DevPlugin { faults: Arc::clone(&self.faults), env: cx.cluster.env().clone() }))
    }
}

/// What [`Dev::of`] finds.
#[derive(Debug, Default)]
struct Shared(Arc<Faults>);

/// The plugin by its name: its faults are in the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named;

impl PluginFactory for Named {
    fn name(&self) -> &'static str {
        "dev"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Dev::of(cx.cluster).build(cx)
    }
}
