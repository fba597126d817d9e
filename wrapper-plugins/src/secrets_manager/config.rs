//! The settings of the plugin.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use wrapper_core::config::Settings;
use wrapper_core::credentials::{CredentialPlugin, CredentialProvider};
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::document::Keys;
use super::provider::{Rules, SecretsProvider};
use crate::aws::{Identity, check_region};

/// Builds the plugin that logs in with a secret. What is not set here is as in the cluster's settings.
///
/// ```
/// use wrapper_plugins::secrets_manager::SecretsManager;
///
/// let secret = SecretsManager::new().secret("shop/app").region("us-east-2");
/// # let _ = secret;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct SecretsManager {
    credentials: Option<SharedCredentialsProvider>,
    profile: Option<String>,
    id: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
    expiration: Option<Duration>,
}

impl SecretsManager {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `secrets_manager_secret_id`: the name of the secret, or its ARN. Needed, here or in the settings.
    pub fn secret(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// `secrets_manager_region`: the region of the secret; by default the one in the ARN.
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// `secrets_manager_endpoint`: the URL of the service, where it is not the region's usual one.
    pub fn endpoint(mut self, url: &str) -> Self {
        self.endpoint = Some(url.to_owned());
        self
    }

    /// `secrets_manager_expiration`: after this time the secret is fetched anew, 870 s by default.
    pub fn expiration(mut self, expiration: Duration) -> Self {
        self.expiration = Some(expiration);
        self
    }

    /// AWS credentials from a source of your own, in place of the default chain: environment, profile files, web
    /// identity, container, machine.
    pub fn credentials(mut self, source: impl ProvideCredentials + 'static) -> Self {
        self.credentials = Some(SharedCredentialsProvider::new(source));
        self
    }

    /// `aws_profile`: the profile of the AWS configuration files; that of the default chain by default.
    pub fn profile(mut self, profile: &str) -> Self {
        self.profile = Some(profile.to_owned());
        self
    }

    pub(super) fn rules(&self, settings: &Settings) -> Result<Rules> {
        let pick = |own: &Option<String>, set: &Option<String>| own.clone().or_else(|| set.clone());
        let id = pick(&self.id, &settings.secrets_manager_secret_id).ok_or_else(|| {
            Error::config(
                "`secrets_manager_secret_id` is not set; set it to the name of the secret, or to its ARN",
            )
        })?;
        let given = pick(&self.region, &settings.secrets_manager_region);
        let region = match (region_of_arn(&id)?, given) {
            (Some(arn), Some(given)) if arn != given => {
                return Err(Error::config(format!(
                    "`secrets_manager_region={given}` contradicts `secrets_manager_secret_id={id}`, which is in {arn}; \
                     leave the region out"
                )));
            }
            (Some(region), _) | (None, Some(region)) => region,
            (None, None) => {
                return Err(Error::config(format!(
                    "`secrets_manager_region` is not set, and the name `{id}` does not tell the region; set it, such as \
                     `us-east-2`, or give the secret's ARN"
                )));
            }
        };
        check_region("secrets_manager_region", &region)?;
        let endpoint = pick(&self.endpoint, &settings.secrets_manager_endpoint);
        if let Some(url) = endpoint.as_deref().filter(|url| !is_url(url)) {
            return Err(Error::config(format!(
                "`secrets_manager_endpoint={url}`: expected a URL that begins with `https://` or `http://`"
            )));
        }
        Ok(Rules {
            id,
            region,
            endpoint,
            expiration: self.expiration.unwrap_or(settings.secrets_manager_expiration),
            keys: Keys {
                user: settings.secrets_manager_secret_username_key.clone(),
                password: settings.secrets_manager_secret_password_key.clone(),
            },
        })
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

/// The region in `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME`, in any partition; `None` for a name.
fn region_of_arn(id: &str) -> Result<Option<String>> {
    if !id.starts_with("arn:") {
        return Ok(None);
    }
    let parts: Vec<&str> = id.splitn(7, ':').collect();
    match parts[..] {
        [_, _, "secretsmanager", region, _, "secret", _] if !region.is_empty() => Ok(Some(region.to_owned())),
        _ => Err(Error::config(format!(
            "`secrets_manager_secret_id={id}`: expected a name, or an ARN such as \
             `arn:aws:secretsmanager:us-east-2:123456789012:secret:shop/app-AbCdEf`"
        ))),
    }
}

impl PluginFactory for SecretsManager {
    fn name(&self) -> &'static str {
        "secrets_manager"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        let rules = self.rules(cx.settings)?;
        let profile = self.profile.clone().or_else(|| cx.settings.aws_profile.clone());
        // One for all sessions: the AWS identity is looked for once.
        let provider: Arc<dyn CredentialProvider> = cx
            .cluster
            .shared(|| SecretsProvider::new(Identity::new(profile, self.credentials.clone()), rules));
        Ok(Arc::new(CredentialPlugin::new(provider)))
    }
}
