//! The AWS identity of the process, and how AWS is reached.
//!
//! What lives here: who we are for AWS (a profile, the default chain, or what the application gives), the HTTP client, the
//! meaning of the chain's errors. What may not: any one service.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::{Builder, tls};
use tokio::sync::{Mutex, OnceCell};
use wrapper_core::{Error, ErrorKind, Result};

/// Credentials that end sooner than this are fetched again: what is made with them must last for a while.
const MARGIN: Duration = Duration::from_secs(300);

/// Who we are for AWS. Nothing is read before the first credential is wanted.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    profile: Option<String>,
    given: Option<SharedCredentialsProvider>,
    config: OnceCell<SdkConfig>,
    held: Mutex<Option<Credentials>>,
    /// In place of the files of the machine.
    #[cfg(test)]
    files: Option<tests::Files>,
}

impl Identity {
    pub(crate) fn new(profile: Option<String>, given: Option<SharedCredentialsProvider>) -> Self {
        Self { profile, given, ..Self::default() }
    }

    /// How keys and errors call it.
    pub(crate) fn name(&self) -> String {
        match (&self.given, &self.profile) {
            (Some(_), _) => "credentials given in code".to_owned(),
            (None, Some(profile)) => format!("profile `{profile}`"),
            (None, None) => "default credentials".to_owned(),
        }
    }

    /// The configuration of the SDK. `region` is that of the services that give credentials; the first caller's stays.
    pub(crate) async fn config(&self, region: &str) -> &SdkConfig {
        self.config
            .get_or_init(|| async {
                // ring for AWS's own services, whatever encrypts the connections to the database.
                let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
                let http = Builder::new().tls_provider(provider).build_https();
                let region = Region::new(region.to_owned());
                let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
                    .region(region.clone())
                    .http_client(http.clone());
                match (&self.given, &self.profile) {
                    (Some(given), _) => loader = loader.credentials_provider(given.clone()),
                    (None, Some(profile)) => {
                        // The default chain would look at the environment first; a profile that is named is meant.
                        let config = ProviderConfig::without_region()
                            .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
                            .with_region(Some(region))
                            .with_http_client(http);
                        let named = ProfileFileCredentialsProvider::builder()
                            .configure(&config)
                            .profile_name(profile);
                        #[cfg(test)]
                        let named = match &self.files {
                            Some(files) => named.profile_files(files.clone()),
                            None => named,
                        };
                        loader = loader.profile_name(profile).credentials_provider(named.build());
                    }
                    (None, None) => {}
                }
                loader.load().await
            })
            .await
    }

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

/// A region's name as it may be written: `us-east-2`.
pub(crate) fn check_region(setting: &str, region: &str) -> Result<()> {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if region.contains('-') && region.split('-').all(label) {
        return Ok(());
    }
    Err(Error::config(format!("`{setting}={region}`: expected the name of a region, such as `us-east-2`")))
}
