//! The settings of the plugin.

use std::sync::Arc;

use secrecy::SecretString;
use wrapper_core::config::Settings;
use wrapper_core::plugin::{BuildContext, Plugin, PluginFactory};
use wrapper_core::{Error, Result};

use super::api::Api;
use crate::saml::{Own, Rules, SamlProvider};

/// Builds the plugin that logs in with the IAM tokens of a role that a user of Okta assumes. What is not given here is as
/// in the cluster's settings.
///
/// ```
/// use wrapper_plugins::okta::Okta;
///
/// let password = std::env::var("IDP_PASSWORD").unwrap_or_default();
/// let okta = Okta::new().login("jane@example.com", password);
/// # let _ = okta;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Okta {
    own: Own,
}

impl Okta {
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

    pub(super) fn provider(&self, settings: &Settings) -> Result<SamlProvider<Api>> {
        let given = [("app_id", settings.app_id.is_some())];
        let rules = Rules::read("okta", &self.own, settings, &given)?;
        let app = settings.app_id.clone().unwrap_or_default();
        if app.contains('/') {
            return Err(Error::config(format!(
                "`app_id={app}`: expected the id of the application alone, such as `0oa1b2c3d4`, as it stands in its \
                 embed link"
            )));
        }
        Ok(SamlProvider::new(Api { app }, rules))
    }
}

impl PluginFactory for Okta {
    fn name(&self) -> &'static str {
        "okta"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        SamlProvider::plugin(cx, || self.provider(cx.settings))
    }
}
