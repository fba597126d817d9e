//! The contract of a source of credentials.
//!
//! What lives here: the trait and what it is asked with. What may not: who asks, and when (`credentials`).

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;

use crate::credential::Credential;
use crate::driver::ConnectTarget;
use crate::env::{Deadline, Environment};
use crate::error::Result;

/// The connection that a credential is wanted for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Wanted<'a> {
    /// Where to, and what for.
    pub target: &'a ConnectTarget,
    /// The configured user, where one is configured.
    pub user: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// A connection to `target` as `user`.
    pub fn new(target: &'a ConnectTarget, user: Option<&'a str>) -> Self {
        Self { target, user }
    }
}

/// What makes two credentials the same one: connections with equal keys share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct CredentialKey {
    /// The provider and the identity by which it asks: a profile, the id of a secret. Not secret.
    pub identity: String,
    /// The host that the credential is for; empty when it is for all.
    pub host: String,
    /// The port that the credential is for; 0 when it is for all.
    pub port: u16,
    /// The region, where it counts.
    pub region: Option<String>,
    /// The user of the database, where it counts.
    pub user: Option<String>,
}

impl CredentialKey {
    /// The key of a credential for all hosts and users.
    pub fn new(identity: impl Into<String>) -> Self {
        let identity = identity.into();
        Self { identity, host: String::new(), port: 0, region: None, user: None }
    }

    /// The same key for one host and port.
    #[must_use]
    pub fn at(mut self, host: impl Into<String>, port: u16) -> Self {
        self.host = host.into();
        self.port = port;
        self
    }

    /// The same key for one region.
    #[must_use]
    pub fn in_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The same key for one user.
    #[must_use]
    pub fn for_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity)?;
        if let Some(user) = &self.user {
            write!(f, " for user `{user}`")?;
        }
        if !self.host.is_empty() {
            write!(f, " at {}:{}", self.host, self.port)?;
        }
        if let Some(region) = &self.region {
            write!(f, " in {region}")?;
        }
        Ok(())
    }
}

/// What a provider is asked for.
#[derive(Debug)]
#[non_exhaustive]
pub struct FetchRequest {
    /// Which credential, by what [`CredentialProvider::key`] said.
    pub key: CredentialKey,
    /// The clock; what a provider dates is dated by its wall clock.
    pub env: Environment,
    /// When the fetch must have ended.
    pub deadline: Deadline,
    /// The credential that the server has just refused, when that is why another one is wanted.
    pub refused: Option<Credential>,
}

impl FetchRequest {
    /// A request that nothing was refused before.
    pub fn new(key: CredentialKey, env: Environment, deadline: Deadline) -> Self {
        Self { key, env, deadline, refused: None }
    }
}

/// A credential, and how long it is good for. Times count from when the fetch began.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// The credential.
    pub credential: Credential,
    /// After this time the next connect has a new one fetched, and goes on with this one meanwhile.
    pub fresh_for: Duration,
    /// After this time it is not used any more. Zero: for the connects that have waited for it, and no others.
    pub usable_for: Duration,
}

impl Fetched {
    /// A credential that ends after `usable_for`; a new one is fetched when two thirds of that are over.
    pub fn new(credential: Credential, usable_for: Duration) -> Self {
        Self { credential, fresh_for: usable_for / 3 * 2, usable_for }
    }

    /// The same, with another time after which a new one is fetched.
    #[must_use]
    pub fn fresh_for(mut self, fresh_for: Duration) -> Self {
        self.fresh_for = fresh_for;
        self
    }
}

/// A source of credentials, for the connections of sessions, of monitors and of pools alike.
///
/// ```
/// use std::time::Duration;
/// use async_trait::async_trait;
/// use wrapper_core::Result;
/// use wrapper_core::credentials::{Credential, CredentialProvider, FetchRequest, Fetched};
///
/// /// Asks a service of one's own; each password lives for ten minutes.
/// #[derive(Debug)]
/// struct Vault;
///
/// #[async_trait]
/// impl CredentialProvider for Vault {
///     fn name(&self) -> &'static str {
///         "vault"
///     }
///     async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
///         let password = format!("for {}", request.key.host);
///         Ok(Fetched::new(Credential::new(password).over_tls(), Duration::from_secs(600)))
///     }
/// }
/// ```
#[async_trait]
pub trait CredentialProvider: Debug + Send + Sync {
    /// What it is called in errors and keys, such as `iam`.
    fn name(&self) -> &'static str;

    /// Which credential a connection needs. By default there is one for each host, port and user.
    ///
    /// Runs for every connect; must not wait.
    ///
    /// # Errors
    /// There can be none for this connection; the connect ends with this error.
    fn key(&self, wanted: &Wanted<'_>) -> Result<CredentialKey> {
        let host = &wanted.target.host;
        let mut key = CredentialKey::new(self.name()).at(host.host(), host.port());
        key.user = wanted.user.map(str::to_owned);
        Ok(key)
    }

    /// Gets a new credential. Of all callers who need it at one time, one asks.
    ///
    /// # Errors
    /// Typed: of class network or busy, or a time-out, when asking again later may help; then connects that have no
    /// credential wait and ask again until their own time is over. Any other error ends them.
    ///
    /// # Cancellation
    /// Dropped at the request's deadline and when the cluster is shut down, never because a caller gave up.
    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched>;

    /// Whether there may be another credential than one that was just fetched and that the server has refused. Then it is
    /// asked once more; should it give the same one again, the refusal stands.
    fn has_others(&self) -> bool {
        false
    }

    /// What to look at when the server refuses a credential that was just fetched; a sentence for the error.
    fn advice(&self, key: &CredentialKey) -> Option<String> {
        let _ = key;
        None
    }
}
