//! What every plugin keeps: the suite, and what it is given.

use std::sync::Arc;
use std::time::Duration;

use super::{Conformance, ensure, plugin_hooks as hooks, plugin_life as life};
use crate::config::Settings;
use crate::driver::{ConnectTarget, DriverConnection, DriverDialect};
use crate::host::HostInfo;
use crate::plugin::{BuildContext, Plugin, PluginFactory};
use crate::testkit::{FakeClient, ScriptedCluster, Stage};

/// A plugin under test, its settings, and the plugins that it needs beside it.
///
/// ```
/// use std::sync::Arc;
/// use wrapper_core::plugin::{BuildContext, MethodSet, OrderClass, Plugin, PluginFactory};
/// use wrapper_core::testkit::conformance::{PluginSubject, plugin_conformance};
///
/// #[derive(Clone, Debug)]
/// struct Idle;
///
/// impl PluginFactory for Idle {
///     fn name(&self) -> &'static str {
///         "idle"
///     }
///     fn build(&self, _: &BuildContext<'_>) -> wrapper_core::Result<Arc<dyn Plugin>> {
///         Ok(Arc::new(Idle))
///     }
/// }
///
/// impl Plugin for Idle {
///     fn name(&self) -> &'static str {
///         "idle"
///     }
///     fn class(&self) -> OrderClass {
///         OrderClass::Observe
///     }
///     fn subscriptions(&self) -> MethodSet {
///         MethodSet::NONE
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let found = plugin_conformance(&PluginSubject::new(Idle).set("connect_timeout", "5s")).await;
/// assert!(found.is_kept(), "{found}");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct PluginSubject {
    factory: Arc<dyn PluginFactory>,
    settings: Vec<(String, String)>,
    others: Vec<Arc<dyn PluginFactory>>,
}

impl PluginSubject {
    /// The plugin that `factory` builds, with its settings at their defaults and no other plugin.
    pub fn new(factory: impl PluginFactory + 'static) -> Self {
        Self { factory: Arc::new(factory), settings: Vec::new(), others: Vec::new() }
    }

    /// The same with a setting, in the form that a URL has it in.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another plugin in each chain.
    #[must_use]
    pub fn beside(mut self, factory: impl PluginFactory + 'static) -> Self {
        self.others.push(Arc::new(factory));
        self
    }

    /// A world with the plugin in it, the same each time.
    pub(super) fn stage(&self) -> Result<Stage, String> {
        let settings = Settings::builder();
        let settings =
            self.settings.iter().fold(settings, |all, (name, value)| all.set(name, value.as_str()));
        let plugins = std::iter::once(&self.factory).chain(&self.others).map(Arc::clone).collect();
        let stage = Stage::with_settings(ScriptedCluster::new(3, 5), settings, plugins);
        stage.map_err(|error| format!("a connector with the plugin cannot be made: {error}"))
    }

    /// A world with a session, and a plugin that was built for another one.
    pub(super) async fn bench(&self) -> Result<Bench, String> {
        let stage = self.stage()?;
        let client = Box::pin(stage.client()).await;
        let client =
            client.map_err(|error| format!("a session with the plugin cannot be opened: {error}"))?;
        let plugin = self.build(&stage)?;
        let host = client.session().load().host.clone();
        let target = ConnectTarget::session(stage.cluster().host(0));
        let connection = stage.cluster().driver().connect(&target, super::ample()).await;
        let connection = connection.map_err(|error| error.to_string())?;
        Ok(Bench { stage, client, plugin, connection, host })
    }

    pub(super) fn build(&self, stage: &Stage) -> Result<Arc<dyn Plugin>, String> {
        let core = stage.core();
        let cx = BuildContext::new(core.cluster(), core.settings(), core.endpoint());
        self.factory.build(&cx).map_err(|error| format!("the plugin cannot be built: {error}"))
    }
}

/// One plugin, to be called by hand.
pub(super) struct Bench {
    pub(super) stage: Stage,
    pub(super) client: FakeClient,
    pub(super) plugin: Arc<dyn Plugin>,
    pub(super) connection: Arc<dyn DriverConnection>,
    pub(super) host: HostInfo,
}

/// Whether a plugin keeps the contract of [`Plugin`].
///
/// Runs on a scripted cluster; call it under paused time on a current-thread runtime, and expect a second or two.
pub async fn plugin_conformance(subject: &PluginSubject) -> Conformance {
    let name = subject.factory.name();
    // On a clock that is paused; whatever retries for long may do so.
    let mut found = Conformance::new("plugin_conformance", name, Duration::from_secs(48 * 3600));
    found.ask("name", async { self::name(subject) }).await;
    found.ask("subscriptions", async { subscriptions(subject) }).await;
    // Boxed: a test's thread has a small stack.
    Box::pin(hooks::ask(&mut found, subject)).await;
    Box::pin(life::ask(&mut found, subject)).await;
    found
}

fn name(subject: &PluginSubject) -> Result<(), String> {
    let (stage, name) = (subject.stage()?, subject.factory.name());
    let built = subject.build(&stage)?.name();
    ensure(built == name, || format!("the factory is `{name}`, the plugin `{built}`"))?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    ensure(!name.is_empty() && name.chars().all(plain), || {
        format!("`{name}` cannot stand in the setting `plugins`: lower-case letters, digits and `_` can")
    })
}

fn subscriptions(subject: &PluginSubject) -> Result<(), String> {
    let stage = subject.stage()?;
    let first = subject.build(&stage)?.subscriptions();
    for _ in 0..3 {
        let plugin = subject.build(&stage)?;
        for _ in 0..2 {
            let now = plugin.subscriptions();
            ensure(now == first, || format!("they were {first:?} and are {now:?}"))?;
        }
    }
    Ok(())
}
