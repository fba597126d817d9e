//! The provider of credentials: when the user signs in, when the role is assumed, when a token is made.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use wrapper_core::credentials::{
    Credential, CredentialKey, CredentialPlugin, CredentialProvider, FetchRequest, Fetched, Wanted,
};
use wrapper_core::env::Instant;
use wrapper_core::plugin::{BuildContext, Plugin};
use wrapper_core::{Error, ErrorKind, Result};

use super::config::Rules;
use super::http::Browser;
use super::sts;
use crate::aws::{Identity, lasts};
use crate::iam::{LIFE, Place, token};

/// AWS credentials that end sooner than this are fetched again.
const MARGIN: Duration = Duration::from_secs(300);
/// A password that the identity provider has refused is not shown to it again for so long: a few more attempts and it
/// would lock the user out.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Who signs in.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a SecretString,
}

/// An identity provider.
pub(crate) trait IdentityProvider: fmt::Debug + Send + Sync + 'static {
    /// The code of the plugin.
    const NAME: &'static str;

    /// Signs the user in and brings back the assertion for AWS.
    fn sign_in(
        &self,
        browser: &mut Browser<'_>,
        login: Login<'_>,
    ) -> impl Future<Output = Result<SecretString>> + Send;
}

#[derive(Default)]
struct State {
    held: Option<Credentials>,
    /// The identity provider's refusal, and until when it is not asked again.
    refused: Option<(Error, Instant)>,
}

/// Tokens that are signed by a role, which a user of an identity provider assumes.
pub(crate) struct SamlProvider<P> {
    idp: P,
    rules: Rules,
    /// For the way to STS only: the request itself is not signed.
    identity: Identity,
    tls: OnceLock<TlsConnector>,
    state: Mutex<State>,
}

impl<P: IdentityProvider> SamlProvider<P> {
    /// A provider that nobody has signed in with.
    pub(crate) fn new(idp: P, rules: Rules) -> Self {
        let identity = Identity::default();
        Self { idp, rules, identity, tls: OnceLock::new(), state: Mutex::default() }
    }

    /// The plugin of a session. All sessions of a cluster share one provider, so `make` runs once.
    ///
    /// # Errors
    /// What `make` said.
    pub(crate) fn plugin(
        cx: &BuildContext<'_>,
        make: impl FnOnce() -> Result<Self>,
    ) -> Result<Arc<dyn Plugin>> {
        let made: Arc<Made<P>> = cx.cluster.shared(|| Made(make().map(Arc::new)));
        match &made.0 {
            Ok(provider) => {
                let provider: Arc<dyn CredentialProvider> = Arc::<Self>::clone(provider);
                Ok(Arc::new(CredentialPlugin::new(provider)))
            }
            Err(error) => Err(error.clone()),
        }
    }

    /// The credentials of the role. Of several who need them one signs in.
    async fn credentials(&self, request: &FetchRequest, region: &str) -> Result<Credentials> {
        // Held over the wait; a waiter is bounded by the deadline of its own fetch.
        let mut state = self.state.lock().await;
        let now = request.env.wall_clock();
        if state.held.as_ref().is_some_and(|held| is_signed_by(request.refused.as_ref(), held)) {
            state.held = None;
        }
        if let Some(held) = state.held.as_ref().filter(|held| lasts(held, now) > MARGIN) {
            return Ok(held.clone());
        }
        match self.sign_in(request, region, &mut state.refused).await {
            Ok(fresh) => {
                if lasts(&fresh, request.env.wall_clock()).is_zero() {
                    return Err(Error::config(format!(
                        "the credentials of the role `{}` have expired already; is the clock of this machine right?",
                        self.rules.role_arn
                    )));
                }
                state.held = Some(fresh.clone());
                Ok(fresh)
            }
            // What is held is good for a while yet.
            Err(error) => state.held.clone().filter(|held| !lasts(held, now).is_zero()).ok_or(error),
        }
    }

    async fn sign_in(
        &self,
        request: &FetchRequest,
        region: &str,
        refused: &mut Option<(Error, Instant)>,
    ) -> Result<Credentials> {
        if let Some((error, _)) = refused.as_ref().filter(|(_, until)| request.env.now() < *until) {
            return Err(error.clone());
        }
        let tls = match self.tls.get() {
            Some(tls) => tls.clone(),
            None => {
                let tls = self.rules.trust.connector()?;
                self.tls.get_or_init(|| tls).clone()
            }
        };
        let Rules { endpoint, username, password, timeout, .. } = &self.rules;
        let mut browser = Browser::new(endpoint, &request.env, tls, request.deadline, *timeout);
        let signed_in = self.idp.sign_in(&mut browser, Login { username, password }).await;
        *refused = match &signed_in {
            Err(error) if error.kind() == ErrorKind::Login => {
                Some((error.clone(), request.env.now() + REFUSED_FOR))
            }
            _ => None,
        };
        sts::assume(&self.identity, &self.rules, region, &signed_in?, request.deadline).await
    }
}

/// Whether these keys have signed the token that the server refused.
fn is_signed_by(refused: Option<&Credential>, keys: &Credentials) -> bool {
    let token = refused.and_then(|refused| refused.password.as_ref());
    token.is_some_and(|token| {
        token.expose_secret().contains(&format!("Credential={}%2F", keys.access_key_id()))
    })
}

/// What there is of it for all sessions of a cluster.
struct Made<P>(Result<Arc<SamlProvider<P>>>);

impl<P: IdentityProvider> fmt::Debug for SamlProvider<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamlProvider")
            .field("idp", &self.idp)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<P: IdentityProvider> CredentialProvider for SamlProvider<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn key(&self, wanted: &Wanted<'_>) -> Result<CredentialKey> {
        let Rules { username, endpoint, role_arn, db_user, .. } = &self.rules;
        let (host, port, region) = self.rules.token.place(&wanted.target.host.key)?;
        let idp = super::endpoint::name(endpoint);
        let key = CredentialKey::new(format!("IAM token of `{role_arn}`, by `{username}` of {idp}"));
        Ok(key.at(host, port).in_region(region).for_user(db_user))
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        let key = &request.key;
        let (Some(region), Some(user)) = (&key.region, &key.user) else {
            return Err(Error::config("an IAM token needs a region and a user"));
        };
        let credentials = self.credentials(request, region).await?;
        let now = request.env.wall_clock();
        let token = token(&credentials, Place { host: &key.host, port: key.port, region, user }, now)?;
        // A token ends with the credentials that have signed it.
        let usable = self.rules.token.expiration.min(LIFE).min(lasts(&credentials, now));
        Ok(Fetched::new(Credential::new(token).with_user(user).in_clear_text(), usable))
    }

    fn advice(&self, key: &CredentialKey) -> Option<String> {
        let user = key.user.as_deref().unwrap_or_default();
        Some(format!(
            "check that the clock of this machine is right, that IAM authentication is on for the database, that \
             `db_user={user}` may log in so (PostgreSQL: `GRANT rds_iam TO {user}`; MySQL: `IDENTIFIED WITH \
             AWSAuthenticationPlugin AS 'RDS'`), and that the role `{}` may `rds-db:connect` as it",
            self.rules.role_arn
        ))
    }
}
