//! How a user signs in at ADFS: by the form that a person would fill in.

use hyper::body::Bytes;
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};
use wrapper_core::{Error, ErrorKind, Result};

use crate::saml::{Browser, Content, Form, IdentityProvider, Login, Page, assertion};

/// ADFS, at which AWS is known by this name.
#[derive(Debug)]
pub(super) struct Adfs {
    pub(super) relying_party: String,
}

impl IdentityProvider for Adfs {
    const NAME: &'static str = "federated_auth";

    async fn sign_in(&self, browser: &mut Browser<'_>, login: Login<'_>) -> Result<SecretString> {
        let mut url = browser.address(&["adfs", "ls", "IdpInitiatedSignOn.aspx"]);
        url.query_pairs_mut().append_pair("loginToRp", &self.relying_party);
        let what = "getting the sign-in page";
        let page = browser.get(what, url).await?;
        if !page.status.is_success() {
            let advice =
                "check `idp_endpoint`, and that the page `IdpInitiatedSignOn.aspx` is switched on there";
            return Err(browser.refused(what, page.status, advice));
        }
        let mut forms = Form::all(&page.body);
        let Some(index) = forms.iter().position(Form::asks_for_password) else {
            return Err(Error::config(format!(
                "the sign-in page of the identity provider {} asks for no password; check `rp_identifier={}`, and that \
                 the page `IdpInitiatedSignOn.aspx` and authentication by forms are switched on there",
                browser.name(),
                self.relying_party
            )));
        };
        let form = forms.swap_remove(index);
        let to = target(&page, &form).ok_or_else(|| {
            Error::config(format!(
                "the form on the sign-in page of the identity provider {} is sent to something that is no address",
                browser.name()
            ))
        })?;
        let body = Bytes::from(filled_in(&form, login));
        let content = Content { kind: "application/x-www-form-urlencoded", body };
        let what = "sending the password";
        let page = browser.post(what, to, content).await?;
        if let Some(assertion) = assertion(&page.body) {
            return Ok(assertion);
        }
        if !page.status.is_success() {
            return Err(browser.refused(what, page.status, "check `idp_username` and `idp_password`"));
        }
        Err(self.no_assertion(browser, &Form::all(&page.body), login))
    }
}

impl Adfs {
    /// The error for a page that comes after the password and is not the last one.
    fn no_assertion(&self, browser: &Browser<'_>, forms: &[Form], login: Login<'_>) -> Error {
        let name = browser.name();
        if forms.iter().any(Form::asks_for_password) {
            return Error::new(
                ErrorKind::Login,
                format!(
                    "the identity provider {name} refused the user `{}` or his password; check `idp_username` (it may have \
                     to be `DOMAIN\\user` or `user@domain`) and `idp_password`",
                    login.username
                ),
            );
        }
        let asks_more =
            |form: &Form| form.fields.iter().any(|field| is_another_step(&field.name.to_lowercase()));
        if forms.iter().any(asks_more) {
            return Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the identity provider {name} asks the user `{}` for a second factor (MFA), which nobody is there to \
                     give; exempt this user from it, for the relying party `{}`",
                    login.username, self.relying_party
                ),
            );
        }
        Error::config(format!(
            "the identity provider {name} signed the user `{}` in, and its answer has no field `SAMLResponse`; check \
             `rp_identifier={}`, and that the user may use this relying party",
            login.username, self.relying_party
        ))
    }
}

/// Whether a field of this name belongs to a step after the password.
fn is_another_step(name: &str) -> bool {
    ["authmethod", "verificationcode", "challenge", "passcode", "otp"].iter().any(|part| name.contains(part))
}

/// Where the form is sent.
fn target(page: &Page, form: &Form) -> Option<Url> {
    match form.action.as_deref().map(str::trim).filter(|action| !action.is_empty()) {
        Some(action) => page.url.join(action).ok(),
        None => Some(page.url.clone()),
    }
}

/// The form as a person would send it, each field once.
fn filled_in(form: &Form, login: Login<'_>) -> String {
    let mut body = form_urlencoded::Serializer::new(String::new());
    let mut seen: Vec<String> = Vec::new();
    for field in &form.fields {
        let lower = field.name.to_lowercase();
        let value = if lower.contains("username") {
            login.username
        } else if lower.contains("password") {
            login.password.expose_secret()
        } else if lower.contains("authmethod") && field.value.is_empty() {
            continue;
        } else {
            &field.value
        };
        if !seen.contains(&lower) {
            body.append_pair(&field.name, value);
            seen.push(lower);
        }
    }
    body.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields that a page of ADFS has.
    #[test]
    fn the_fields_of_the_form_are_sent_once_and_filled_in() {
        let page = r#"<form method="post" action="/adfs/ls?x=1&amp;y=2"><input name="UserName" type="email" value=""/>
            <input id="x" name="username" value="twice"/><input name="Password" type="password"/>
            <input name="AuthMethod" value=""/><input name="Kmsi" type="checkbox" value="true"/>
            <input name="AuthMethod" value="FormsAuthentication"/><input name="empty"/><input value="nameless"/></form>"#;
        let form = Form::all(page).swap_remove(1);
        let secret = SecretString::from("a&b=c d+é");
        let body = filled_in(&form, Login { username: r"CORP\jane", password: &secret });
        assert_eq!(
            body,
            "UserName=CORP%5Cjane&Password=a%26b%3Dc+d%2B%C3%A9&Kmsi=true&AuthMethod=FormsAuthentication&empty="
        );
        let at = |action: Option<&str>| {
            let url = Url::parse("https://adfs.example.com/adfs/ls/page.aspx?a=1").unwrap();
            let page = Page { url, status: hyper::StatusCode::OK, body: String::new() };
            let form = Form { action: action.map(str::to_owned), fields: Vec::new() };
            target(&page, &form).map(String::from)
        };
        assert_eq!(at(Some("/adfs/ls?x=1")).unwrap(), "https://adfs.example.com/adfs/ls?x=1");
        assert_eq!(at(Some("next.aspx")).unwrap(), "https://adfs.example.com/adfs/ls/next.aspx");
        for nothing in [None, Some(""), Some(" ")] {
            assert_eq!(at(nothing).unwrap(), "https://adfs.example.com/adfs/ls/page.aspx?a=1");
        }
        // Refused before anything is sent there.
        assert_eq!(at(Some("http://adfs.example.com/")).unwrap(), "http://adfs.example.com/");
        assert_eq!(at(Some("https://[")), None);
    }
}
