//! The settings that all identity providers have in common.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;
use wrapper_core::config::Settings;
use wrapper_core::{Error, Result};

use super::endpoint::endpoint;
use super::tls::Trust;
use crate::iam::{self, Iam, LIFE};

/// What is given in code rather than in settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) login: Option<(String, SecretString)>,
    pub(crate) roots: Option<String>,
}

/// What a plugin was set to.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Which host, port and region a token is for, and how long it is used.
    pub(crate) token: iam::Rules,
    pub(crate) db_user: String,
    pub(crate) endpoint: Url,
    pub(crate) username: String,
    pub(crate) password: SecretString,
    pub(crate) role_arn: String,
    pub(crate) idp_arn: String,
    pub(crate) timeout: Duration,
    pub(crate) sts_endpoint: Option<String>,
    pub(super) trust: Trust,
}

impl Rules {
    /// Reads the settings of the plugin called `plugin`.
    ///
    /// # Errors
    /// One that names all settings that are needed and not given; one for a value that cannot be.
    pub(crate) fn read(plugin: &str, own: &Own, settings: &Settings, more: &[(&str, bool)]) -> Result<Self> {
        let s = settings;
        let mut missing: Vec<String> = Vec::new();
        let mut need = |name: &str, given: bool| {
            if !given {
                missing.push(format!("`{name}`"));
            }
        };
        need("db_user", s.db_user.is_some());
        need("idp_endpoint", s.idp_endpoint.is_some());
        need("idp_username", own.login.is_some() || s.idp_username.is_some());
        need("idp_password", own.login.is_some() || s.idp_password.is_some());
        need("iam_role_arn", s.iam_role_arn.is_some());
        need("iam_idp_arn", s.iam_idp_arn.is_some());
        more.iter().for_each(|(name, given)| need(name, *given));
        let all = (&s.db_user, &s.idp_endpoint, &s.iam_role_arn, &s.iam_idp_arn);
        let given = (s.idp_username.as_ref(), s.idp_password.as_ref());
        let login = match (&own.login, given) {
            (Some(own), _) => Some(own.clone()),
            (None, (Some(user), Some(secret))) => Some((user.clone(), SecretString::from(secret.expose()))),
            _ => None,
        };
        let (Some(db_user), Some(host), Some(role), Some(idp), Some(login), true) =
            (all.0, all.1, all.2, all.3, login, missing.is_empty())
        else {
            let missing = missing.join(", ");
            return Err(Error::config(format!(
                "the plugin `{plugin}` needs {missing}, not given; set all of them"
            )));
        };
        arn("iam_role_arn", role, ":role/", "arn:aws:iam::123456789012:role/shop")?;
        arn("iam_idp_arn", idp, ":saml-provider/", "arn:aws:iam::123456789012:saml-provider/corp")?;
        if s.iam_token_expiration > LIFE {
            return Err(Error::config(format!(
                "`iam_token_expiration={}s`: expected at most 900s, which is how long AWS lets a token live",
                s.iam_token_expiration.as_secs()
            )));
        }
        if let Some(url) = s.sts_endpoint.as_deref().filter(|url| Url::parse(url).is_err()) {
            return Err(Error::config(format!(
                "`sts_endpoint={url}`: expected a URL that begins with `https://` or `http://`"
            )));
        }
        let port = s.is_given("idp_port").then_some(s.idp_port);
        let mut token = Iam::new().rules(s)?;
        token.expiration = s.iam_token_expiration;
        Ok(Self {
            token,
            db_user: db_user.clone(),
            endpoint: endpoint(host, port)?,
            username: login.0,
            password: login.1,
            role_arn: role.clone(),
            idp_arn: idp.clone(),
            timeout: s.http_request_connect_timeout,
            sts_endpoint: s.sts_endpoint.clone(),
            trust: Trust::new(s.ssl_secure, s.idp_ssl_root_cert.as_deref(), own.roots.as_deref())?,
        })
    }
}

/// Refuses what is no ARN of its kind.
fn arn(setting: &str, value: &str, kind: &str, example: &str) -> Result<()> {
    if value.starts_with("arn:") && value.contains(kind) {
        return Ok(());
    }
    Err(Error::config(format!("`{setting}={value}`: expected an ARN, such as `{example}`")))
}
