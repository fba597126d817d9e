//! The AWS identity of the process, and how AWS is reached.
//!
//! What lives here: who we are for AWS (a profile, the default chain, or what the application gives), the HTTP client. What
//! may not: any one service.

#[cfg(feature = "_token")]
mod credentials;
#[cfg(all(test, feature = "iam"))]
mod tests;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::{Builder, tls};
use tokio::sync::OnceCell;
use wrapper_core::{Error, Result};

#[cfg(feature = "_token")]
pub(crate) use credentials::lasts;

/// Who we are for AWS. Nothing is read before the first credential is wanted.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    profile: Option<String>,
    given: Option<SharedCredentialsProvider>,
    config: OnceCell<SdkConfig>,
    #[cfg(feature = "_token")]
    held: tokio::sync::Mutex<Option<aws_credential_types::Credentials>>,
    /// In place of the files of the machine.
    #[cfg(all(test, feature = "iam"))]
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
                        #[cfg(all(test, feature = "iam"))]
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
