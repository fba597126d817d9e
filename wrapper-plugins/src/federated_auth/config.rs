//! The settings of the plugin.

use std::sync::Arc;

use secrecy::SecretString;
use wrapper_core::config::Settings;
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::adfs::Adfs;
use crate::saml::{Own, Rules, SamlProvider};

/// Builds the plugin that logs in with the IAM tokens of a role that a user of ADFS assumes. What is not given here is as
/// in the cluster's settings.
///
/// ```
/// use wrapper_plugins::federated_auth::FederatedAuth;
///
/// let password = std::env::var("IDP_PASSWORD").unwrap_or_default();
/// let adfs = FederatedAuth::new().login("jane@example.com", password);
/// # let _ = adfs;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct FederatedAuth {
    own: Own,
}

impl FederatedAuth {
    /// Everything as in the cluster's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// `idp_username` and `idp_password`: who signs in at the identity provider.
    pub fn login(mut self, username: &str, password: impl Into<SecretString>) -> Self {
        self.own.login = Some((username.to_owned(), password.into()));
        self
    }

    /// Certificates in PEM form that the one of the identity provider may be issued by, beside those that the system trusts.
    pub fn roots_pem(mut self, text: &str) -> Self {
        self.own.roots = Some(text.to_owned());
        self
    }

    pub(super) fn provider(&self, settings: &Settings) -> Result<SamlProvider<Adfs>> {
        let name = &settings.idp_name;
        if !name.eq_ignore_ascii_case("adfs") {
            return Err(Error::config(format!(
                "`idp_name={name}`: expected `adfs`, the identity provider of this plugin; for Okta there is the plugin \
                 `okta`"
            )));
        }
        let rules = Rules::read("federated_auth", &self.own, settings, &[])?;
        Ok(SamlProvider::new(Adfs { relying_party: settings.rp_identifier.clone() }, rules))
    }
}

impl PluginFactory for FederatedAuth {
    fn name(&self) -> &'static str {
        "federated_auth"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        SamlProvider::plugin(cx, || self.provider(cx.settings))
    }
}
