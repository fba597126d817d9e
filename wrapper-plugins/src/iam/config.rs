//! The settings of the plugin.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use wrapper_core::config::Settings;
use wrapper_core::credentials::{CredentialPlugin, CredentialProvider};
use wrapper_core::host::HostKey;
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::provider::{IamProvider, Rules};
use super::token::LIFE;
use crate::aws::{Identity, check_region};

/// Builds the plugin that logs in with IAM tokens. What is not set here is as in the cluster's settings.
///
/// ```
/// use wrapper_plugins::iam::Iam;
///
/// let iam = Iam::new().profile("shop").region("us-east-2");
/// # let _ = iam;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Iam {
    credentials: Option<SharedCredentialsProvider>,
    profile: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    region: Option<String>,
    expiration: Option<Duration>,
}

impl Iam {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
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

    /// `iam_host`: the host that tokens are signed for where a host's own name does not do.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// `iam_default_port`: the port that tokens are signed for; the one that is connected to by default.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// `iam_region`: the region that tokens are signed for; by default the one in the host name.
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// `iam_expiration`: how long a token is used, 870 s by default and 15 minutes at most.
    pub fn expiration(mut self, expiration: Duration) -> Self {
        self.expiration = Some(expiration);
        self
    }

    pub(crate) fn rules(&self, settings: &Settings) -> Result<Rules> {
        let region = self.region.clone().or_else(|| settings.iam_region.clone());
        if let Some(region) = &region {
            check_region("iam_region", region)?;
        }
        let port = match (self.port, settings.iam_default_port) {
            (Some(port), _) => Some(port),
            (None, Some(port)) => Some(u16::try_from(port).map_err(|_| {
                Error::config(format!("`iam_default_port={port}`: expected a port, 1 to {}", u16::MAX))
            })?),
            (None, None) => None,
        };
        let expiration = self.expiration.unwrap_or(settings.iam_expiration);
        if expiration > LIFE {
            return Err(Error::config(format!(
                "`iam_expiration={}s`: expected at most 900s, which is how long AWS lets a token live",
                expiration.as_secs()
            )));
        }
        let host = self.host.clone().or_else(|| settings.iam_host.clone());
        let host = host.map(|host| HostKey::new(host.trim(), 0).host().to_owned());
        let configured = settings.hosts().iter().map(|(host, _)| HostKey::new(host, 0).host().to_owned());
        Ok(Rules { host, port, region, expiration, configured: configured.collect() })
    }
}

impl PluginFactory for Iam {
    fn name(&self) -> &'static str {
        "iam"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        let rules = self.rules(cx.settings)?;
        let profile = self.profile.clone().or_else(|| cx.settings.aws_profile.clone());
        // One for all sessions: the AWS identity is looked for once.
        let provider: Arc<dyn CredentialProvider> = cx
            .cluster
            .shared(|| IamProvider { identity: Identity::new(profile, self.credentials.clone()), rules });
        Ok(Arc::new(CredentialPlugin::new(provider)))
    }
}
