//! How a user signs in at Okta: by its API for authentication.

use hyper::StatusCode;
use hyper::body::Bytes;
use secrecy::{ExposeSecret, SecretString};
use wrapper_core::{Error, ErrorKind, Result};

use crate::saml::{Browser, Content, IdentityProvider, Login, assertion};

/// Okta, with the application that AWS is there.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) app: String,
}

impl IdentityProvider for Api {
    const NAME: &'static str = "okta";

    async fn sign_in(&self, browser: &mut Browser<'_>, login: Login<'_>) -> Result<SecretString> {
        let session = session(browser, login).await?;
        let mut url = browser.address(&["app", "amazon_aws", &self.app, "sso", "saml"]);
        url.query_pairs_mut().append_pair("onetimetoken", session.expose_secret());
        let what = "getting the assertion";
        let page = browser.get(what, url).await?;
        if let Some(assertion) = assertion(&page.body) {
            return Ok(assertion);
        }
        let advice = format!(
            "check `app_id={}`, that the application is assigned to the user `{}`, and that its policy asks for no second \
             factor",
            self.app, login.username
        );
        if !page.status.is_success() {
            return Err(browser.refused(what, page.status, &advice));
        }
        Err(Error::config(format!(
            "the identity provider {} signed the user `{}` in, and its answer has no field `SAMLResponse`; {advice}",
            browser.name(),
            login.username
        )))
    }
}

/// The token that opens an application once.
async fn session(browser: &mut Browser<'_>, login: Login<'_>) -> Result<SecretString> {
    let url = browser.address(&["api", "v1", "authn"]);
    let body = serde_json::json!({ "username": login.username, "password": login.password.expose_secret() });
    let content = Content { kind: "application/json", body: Bytes::from(body.to_string()) };
    let what = "sending the password";
    let page = browser.post(what, url, content).await?;
    let refused = |kind: ErrorKind, text: String| {
        Error::new(kind, format!("the identity provider {} {text}", browser.name()))
    };
    let user = login.username;
    if page.status == StatusCode::UNAUTHORIZED {
        let text = format!(
            "refused the user `{user}` or his password; check `idp_username` and `idp_password`, and that the user is active"
        );
        return Err(refused(ErrorKind::Login, text));
    }
    if !page.status.is_success() {
        let advice = "check that `idp_endpoint` is an organisation of Okta, and `idp_username`";
        return Err(browser.refused(what, page.status, advice));
    }
    let answer: serde_json::Value = serde_json::from_str(&page.body)
        .map_err(|_| refused(ErrorKind::Config, "answered with no JSON; check `idp_endpoint`".to_owned()))?;
    let text =
        |name: &str| answer.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("sessionToken") {
        return Ok(SecretString::from(token));
    }
    Err(match text("status") {
        Some(status @ ("MFA_REQUIRED" | "MFA_CHALLENGE" | "MFA_ENROLL" | "MFA_ENROLL_ACTIVATE")) => refused(
            ErrorKind::Unsupported,
            format!(
                "asks the user `{user}` for a second factor ({status}), which nobody is there to give; exempt this user \
                 from it in the sign-on policy"
            ),
        ),
        Some(status @ ("PASSWORD_EXPIRED" | "PASSWORD_RESET" | "RECOVERY" | "RECOVERY_CHALLENGE")) => {
            refused(
                ErrorKind::Login,
                format!(
                    "wants the user `{user}` to change the password ({status}); change it, and `idp_password`"
                ),
            )
        }
        Some("LOCKED_OUT") => refused(
            ErrorKind::Login,
            format!("has locked the user `{user}` out (LOCKED_OUT); unlock the user there"),
        ),
        // Of what else it may say only what is a code is shown.
        Some(status) if status.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') => refused(
            ErrorKind::Unsupported,
            format!(
                "gave the user `{user}` no session, with the status `{status}`; sign in there by hand and look why"
            ),
        ),
        _ => refused(ErrorKind::Config, "gave no session and no status; check `idp_endpoint`".to_owned()),
    })
}
