//! Fresh credentials for connects that sqlx makes by itself.
//!
//! What lives here: the task that keeps the pool's connect options logged in, and the connects that the library makes for
//! the pool. What may not: where credentials come from.
//!
//! sqlx has no hook before a connect, so what it logs in with must be in the options beforehand: the task looks every
//! [`LOOK`] whether the credential is the one to use, by both clocks, for every host of the cluster, so that a switch finds
//! the new writer's token ready.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wrapper_core::cluster::ClusterCore;
use wrapper_core::credentials::{
    Credential, CredentialCache, CredentialKey, CredentialProvider, Lease, Wanted, is_refused,
};
use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::{Deadline, Instant};
use wrapper_core::host::{HostInfo, HostKey};
use wrapper_core::observe::Event;
use wrapper_core::{Error, Result};

use super::super::driver::{connect, log_in};
use super::super::family::{Family, OptionsOf};
use super::shared::Shared;

/// How often the task looks. So long after a jump of the wall clock sqlx may still log in with what has run out.
const LOOK: Duration = Duration::from_millis(250);
/// How often the task logs in itself, in a pool that is in use, where a credential may lose its worth at any time: nobody
/// tells when sqlx's own connect is refused.
const TRIAL: Duration = Duration::from_secs(10);

/// What the connections of a pool log in with.
pub(super) struct Credentials {
    provider: Arc<dyn CredentialProvider>,
    cache: Arc<CredentialCache>,
    user: Option<String>,
    known: Mutex<BTreeMap<HostKey, Known>>,
    /// One is wanted at once.
    wanted: Notify,
}

/// The last credential for a host.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) key: CredentialKey,
    pub(super) lease: Lease,
}

impl Credentials {
    pub(super) fn new(provider: Arc<dyn CredentialProvider>, cluster: &ClusterCore) -> Self {
        let user = cluster.driver().user().map(str::to_owned);
        let cache = cluster.shared(CredentialCache::default);
        Self { provider, cache, user, known: Mutex::default(), wanted: Notify::new() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<HostKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next connect to a host logs in with, as far as it is known; what is not is fetched soon.
    pub(super) fn now(&self, host: &HostKey) -> Option<Credential> {
        let known = self.known().get(host).map(|known| known.lease.credential.clone());
        if known.is_none() {
            self.wanted.notify_one();
        }
        known
    }

    /// The same with its key.
    fn shown(&self, host: &HostKey) -> Option<Known> {
        self.known().get(host).cloned()
    }

    /// The credential for a connect to `host` now, fetched where there is none that is good.
    ///
    /// # Errors
    /// The provider's; a time-out.
    ///
    /// # Cancellation
    /// Safe: a fetch goes on for the others.
    pub(super) async fn get(
        &self,
        cluster: &Arc<ClusterCore>,
        host: &HostInfo,
        deadline: Deadline,
    ) -> Result<Known> {
        let target = ConnectTarget::session(host.clone());
        let key = self.provider.key(&Wanted::new(&target, self.user.as_deref()))?;
        let lease = self.cache.get(cluster, &self.provider, &key, deadline).await?;
        Ok(Known { key, lease })
    }

    /// Notes the credential of a host; whether it is another one than before.
    pub(super) fn note(&self, host: &HostKey, new: &Known) -> bool {
        let mut known = self.known();
        match known.get(host) {
            // Of two that were given at about the same time the newer one stays.
            Some(old) if old.key == new.key && old.lease.number >= new.lease.number => false,
            _ => {
                known.insert(host.clone(), new.clone());
                true
            }
        }
    }

    fn keep_only(&self, hosts: &[HostInfo]) {
        self.known().retain(|key, _| hosts.iter().any(|host| host.key == *key));
    }
}

impl<DB: Family> Shared<DB> {
    /// Opens a connection with `options`, which lead to `host`, logged in as the chain of plugins does it: a credential
    /// that was known before and is refused is replaced, once.
    ///
    /// # Errors
    /// The connect's, the provider's.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub(super) async fn connect(
        &self,
        cluster: &Arc<ClusterCore>,
        host: &HostInfo,
        options: OptionsOf<DB>,
        deadline: Deadline,
    ) -> Result<DB::Connection> {
        let Some(credentials) = &self.credentials else {
            return connect::<DB>(&options, false, deadline).await;
        };
        let known = credentials.get(cluster, host, deadline).await?;
        let first = log_in::<DB>(options.clone(), host, &known.lease.credential)?;
        let error = match connect::<DB>(&first, false, deadline).await {
            Ok(connection) => {
                credentials.cache.accepted(&known.key, known.lease.number);
                return Ok(connection);
            }
            Err(error) if is_refused(&error) => error,
            Err(error) => return Err(error),
        };
        let Some(other) = self.replaced(cluster, credentials, host, &known, &error, deadline).await? else {
            return Err(error);
        };
        let second = log_in::<DB>(options, host, &other.lease.credential)?;
        let connection = connect::<DB>(&second, false, deadline).await?;
        credentials.cache.accepted(&other.key, other.lease.number);
        Ok(connection)
    }

    /// Has the credential replaced that a server refused with `error`; nothing when there is no better one.
    async fn replaced(
        &self,
        cluster: &Arc<ClusterCore>,
        credentials: &Credentials,
        host: &HostInfo,
        refused: &Known,
        error: &Error,
        deadline: Deadline,
    ) -> Result<Option<Known>> {
        let ran_out = credentials.cache.refused(cluster.env(), &refused.key, &refused.lease);
        if !(refused.lease.cached || ran_out || credentials.provider.has_others()) {
            return Ok(None);
        }
        let action = "the server is shown a fresh credential";
        cluster.emit(&Event::Decision { error: error.clone(), action });
        let other = credentials.get(cluster, host, deadline).await?;
        self.use_from_now_on(host, &other);
        let differs = !other.lease.credential.is_same_login(&refused.lease.credential);
        Ok(differs.then_some(other))
    }

    /// What sqlx's own connects log in with now.
    pub(super) fn shown(&self) -> Option<(HostInfo, Known)> {
        let host = self.leads_to()?;
        let known = self.credentials.as_ref()?.shown(&host.key)?;
        Some((host, known))
    }

    /// A connect of sqlx's own was let in.
    pub(super) fn login_accepted(&self) {
        if let (Some(credentials), Some((_, known))) = (&self.credentials, self.shown()) {
            credentials.cache.accepted(&known.key, known.lease.number);
        }
    }

    /// sqlx's own connect was refused with `error`, when `shown` was in the options before it: has that replaced, and says
    /// whether there is another one now.
    pub(super) async fn login_refused(
        &self,
        shown: Option<(HostInfo, Known)>,
        error: &Error,
        deadline: Deadline,
    ) -> Result<bool> {
        let (Some(credentials), Some(cluster), Some((host, mut refused))) =
            (&self.credentials, self.cluster(), shown)
        else {
            return Ok(false);
        };
        // Replaced meanwhile, by another caller or the task: that one is not to blame.
        let is_the_same = |(now, known): &(HostInfo, Known)| {
            now.key == host.key && known.key == refused.key && known.lease.number == refused.lease.number
        };
        if !self.shown().as_ref().is_some_and(is_the_same) {
            return Ok(true);
        }
        // It was in the options before this connect.
        refused.lease.cached = true;
        Ok(self.replaced(&cluster, credentials, &host, &refused, error, deadline).await?.is_some())
    }

    /// The credential goes into the pool's options when they lead to its host.
    fn use_from_now_on(&self, host: &HostInfo, known: &Known) {
        let Some(credentials) = &self.credentials else { return };
        if credentials.note(&host.key, known) {
            let _ = self.change_options(|led, options| match led {
                Some(led) if led.key == host.key => {
                    log_in::<DB>(options.clone(), host, &known.lease.credential).unwrap_or(options)
                }
                _ => options,
            });
        }
    }

    /// Fetches what the first connect needs.
    pub(super) async fn first_credential(
        &self,
        cluster: &Arc<ClusterCore>,
        host: &HostInfo,
        deadline: Deadline,
    ) -> Result<Option<Credential>> {
        let Some(credentials) = &self.credentials else { return Ok(None) };
        let known = credentials.get(cluster, host, deadline).await?;
        credentials.note(&host.key, &known);
        Ok(Some(known.lease.credential))
    }

    /// All that the cache has anew.
    async fn renew(&self, cluster: &Arc<ClusterCore>, credentials: &Credentials) {
        let topology = cluster.topology().map(|published| published.topology);
        let mut hosts: Vec<HostInfo> =
            topology.iter().flat_map(|topology| topology.hosts().iter().cloned()).collect();
        // First the one that is connected to.
        if let Some(led) = self.leads_to() {
            hosts.retain(|host| host.key != led.key);
            hosts.insert(0, led);
        }
        // What takes longer goes on by itself, and is there at a later look.
        let deadline = Deadline::after(LOOK, "the look at the credentials");
        for host in &hosts {
            // What the provider says to a fault is told to those who connect.
            if let Ok(known) = credentials.get(cluster, host, deadline).await {
                self.use_from_now_on(host, &known);
            }
        }
        credentials.keep_only(&hosts);
    }
}

/// Keeps the options of a pool logged in until it is followed no longer.
pub(super) async fn keep<DB: Family>(shared: Arc<Shared<DB>>, cluster: Arc<ClusterCore>) {
    let Some(credentials) = &shared.credentials else { return };
    let mut tried = shared.env.now();
    let work = async {
        loop {
            shared.renew(&cluster, credentials).await;
            if credentials.provider.has_others() && is_due(&shared, tried) {
                tried = shared.env.now();
                if let Some(host) = shared.leads_to() {
                    // A refusal has the credential replaced, by the plugin; the next look finds it.
                    let deadline = Deadline::after(shared.limits.connect, "connect_timeout");
                    drop(cluster.open_monitor(&host, deadline).await);
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = credentials.wanted.notified() => {}
                () = shared.env.sleep(LOOK) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = shared.ended.cancelled() => {}
        () = work => {}
    }
}

fn is_due<DB: Family>(shared: &Shared<DB>, tried: Instant) -> bool {
    let in_use = shared.pool().is_some_and(|pool| pool.size() as usize > pool.num_idle());
    shared.env.now().saturating_duration_since(tried) >= TRIAL && in_use
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.provider.name()).finish()
    }
}
