//! The plugin that puts a credential into each connect.

use std::sync::Arc;

use async_trait::async_trait;

use super::{CredentialCache, CredentialKey, CredentialProvider, Wanted};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::observe::Event;
use crate::plugin::{
    BuildContext, ConnectContext, ConnectNext, Connected, MethodSet, OrderClass, Plugin, PluginFactory,
};

/// Puts the credential of a provider into each connect of sessions and monitors.
///
/// A server that refuses a credential from the cache is shown a fresh one, once; what it says to that is the answer. As
/// a refusal counts, on every kind of database, SQLSTATE 28000 too: it is what an IAM token that is no good looks like, also
/// where it otherwise means that a host is not ready.
#[derive(Debug)]
pub struct CredentialPlugin {
    name: &'static str,
    provider: Arc<dyn CredentialProvider>,
}

impl CredentialPlugin {
    /// A plugin under the provider's own name.
    pub fn new(provider: Arc<dyn CredentialProvider>) -> Self {
        Self { name: provider.name(), provider }
    }

    async fn login(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        let cluster = Arc::clone(cx.cluster.core());
        let key = self.provider.key(&Wanted::new(&cx.target, cluster.driver().user()))?;
        let cache = cluster.shared(CredentialCache::default);
        let deadline = cx.deadline;
        let get = || cache.get(&cluster, &self.provider, &key, deadline);
        let mut lease = get().await?;
        let mut tried_again = false;
        loop {
            cx.target.credential = Some(lease.credential.clone());
            let result = next.run(cx).await;
            cx.target.credential = None;
            let error = match result {
                Ok(connected) => {
                    cache.accepted(&key, lease.number);
                    return Ok(connected);
                }
                Err(error) if is_refused(&error) => error,
                Err(error) => return Err(error),
            };
            // A fresh one too may have run out on the way: the process stood still.
            let ran_out = cache.refused(cluster.env(), &key, &lease);
            if tried_again || !(lease.cached || ran_out || self.provider.has_others()) {
                return Err(self.refused(&key, error));
            }
            tried_again = true;
            let action = "the server is shown a fresh credential";
            cluster.emit(&Event::Decision { error: error.clone(), action });
            match get().await {
                Ok(fresh)
                    if fresh.number != lease.number && !fresh.credential.is_same_login(&lease.credential) =>
                {
                    lease = fresh;
                }
                // Too many were refused in a row, or there is no other one.
                Ok(_) => return Err(self.refused(&key, error)),
                Err(fetch) => {
                    let text = format!(
                        "the server refused the credential from the cache, and a fresh one could not be had ({fetch})"
                    );
                    return Err(like(&error, text));
                }
            }
        }
    }

    /// The error for a credential than which there is no better one.
    fn refused(&self, key: &CredentialKey, error: Error) -> Error {
        match self.provider.advice(key) {
            Some(advice) => like(&error, format!("the server refused a fresh credential ({key}); {advice}")),
            None => error,
        }
    }
}

/// An error of the same meaning as `error`, which is its cause, with a text that says more.
fn like(error: &Error, text: String) -> Error {
    let mut told = Error::new(ErrorKind::Login, text)
        .with_class(error.class())
        .with_advice(error.retry_advice())
        .with_outcome(error.outcome())
        .with_source(error.clone());
    if let Some(state) = error.sqlstate() {
        told = told.with_sqlstate(state.to_owned());
    }
    if let Some(host) = error.host() {
        told = told.with_host(host);
    }
    if let Some(code) = error.server_code() {
        told = told.with_server_code(code);
    }
    told.with_kind(error.kind())
}

/// Whether a connect ended with a refusal of what it logged in with, on every kind of database: SQLSTATE 28000 is what an
/// IAM token that is no good looks like, also where it otherwise means that a host is not ready.
pub fn is_refused(error: &Error) -> bool {
    error.class() == ErrorClass::Login || matches!(error.sqlstate(), Some("28000" | "28P01"))
}

#[async_trait]
impl Plugin for CredentialPlugin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> OrderClass {
        OrderClass::Authentication
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::CONNECT | MethodSet::FORCE_CONNECT
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.login(cx, next).await
    }

    async fn force_connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        self.login(cx, next).await
    }

    fn credentials(&self) -> Option<Arc<dyn CredentialProvider>> {
        Some(Arc::clone(&self.provider))
    }
}

/// Builds the plugin for a provider that the application gives in code; adapters use it for `credentials(…)`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Provided(Arc<dyn CredentialProvider>);

impl Provided {
    /// For this provider.
    pub fn new(provider: impl CredentialProvider + 'static) -> Self {
        Self(Arc::new(provider))
    }
}

impl PluginFactory for Provided {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(CredentialPlugin::new(Arc::clone(&self.0))))
    }
}
