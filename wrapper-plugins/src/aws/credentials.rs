//! The AWS credentials themselves, for what is signed here rather than by a service's client.
//!
//! What lives here: when credentials are fetched again, the meaning of the chain's errors. What may not: where they come
//! from.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use wrapper_core::{Error, ErrorKind, Result};

use super::Identity;

/// Credentials that end sooner than this are fetched again: what is made with them must last for a while.
const MARGIN: Duration = Duration::from_secs(300);

impl Identity {
    /// The AWS credentials, which are good for a while yet where their source can give such.
    pub(crate) async fn credentials(&self, region: &str, now: SystemTime) -> Result<Credentials> {
        // Held over the wait: of several who need them one asks.
        let mut held = self.held.lock().await;
        if let Some(known) = held.as_ref().filter(|known| lasts(known, now) > MARGIN) {
            return Ok(known.clone());
        }
        let provider = match &self.given {
            Some(given) => given.clone(),
            None => self.config(region).await.credentials_provider().ok_or_else(|| {
                Error::config(
                    "the AWS SDK has no source of credentials; give one in code, or set `aws_profile`",
                )
            })?,
        };
        let fresh = provider.provide_credentials().await.map_err(|error| self.failed(error))?;
        if lasts(&fresh, now).is_zero() {
            return Err(Error::config(format!(
                "the AWS credentials ({}) have expired; renew them, or use a source that does so by itself, such as a \
                 role",
                self.name()
            )));
        }
        // Those without an end may be changed at any time where they come from, and cost little to read.
        *held = fresh.expiry().is_some().then(|| fresh.clone());
        Ok(fresh)
    }

    fn failed(&self, error: CredentialsError) -> Error {
        let name = self.name();
        let (kind, text) = match &error {
            CredentialsError::CredentialsNotLoaded(_) => (
                ErrorKind::Config,
                format!(
                    "no AWS credentials were found ({name}); expected them in the environment, in the profile that \
                     `aws_profile` names, by web identity, or from the metadata service of the container or the machine"
                ),
            ),
            CredentialsError::InvalidConfiguration(_) => (
                ErrorKind::Config,
                format!(
                    "the AWS configuration ({name}) cannot be used; check `aws_profile` and the AWS configuration files"
                ),
            ),
            CredentialsError::ProviderTimedOut(_) => (
                ErrorKind::Network,
                format!("the source of the AWS credentials ({name}) did not answer in time"),
            ),
            _ => (ErrorKind::Network, format!("the source of the AWS credentials ({name}) failed")),
        };
        Error::new(kind, text).with_shared_source(Arc::new(error))
    }
}

/// How long credentials are good for.
pub(crate) fn lasts(credentials: &Credentials, now: SystemTime) -> Duration {
    match credentials.expiry() {
        Some(end) => end.duration_since(now).unwrap_or_default(),
        None => Duration::MAX,
    }
}
