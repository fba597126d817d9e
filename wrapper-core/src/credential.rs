//! What a connection logs in with.
//!
//! What lives here: the value. What may not: where it comes from (`credentials`).

use secrecy::{ExposeSecret, SecretString};

/// What a connection logs in with. `Debug` masks the password.
///
/// ```
/// use wrapper_core::credentials::Credential;
///
/// let token = Credential::new("hunter2").with_user("app").in_clear_text();
/// assert!(token.needs_tls);
/// assert!(!format!("{token:?}").contains("hunter2"));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Credential {
    /// The user; `None` keeps the configured one.
    pub user: Option<String>,
    /// The password; `None` keeps the configured one.
    pub password: Option<SecretString>,
    /// Whether the password may be sent over TLS only. The connection is refused when it would have no TLS.
    pub needs_tls: bool,
    /// Whether the server asks for the password itself, as RDS does for IAM tokens. MySQL's drivers refuse that unless
    /// they are told to; this tells them, for this one connection.
    pub clear_text: bool,
}

impl Credential {
    /// A password for the configured user.
    pub fn new(password: impl Into<SecretString>) -> Self {
        Self { password: Some(password.into()), ..Self::default() }
    }

    /// The same credential for another user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The same credential, which travels over TLS only.
    #[must_use]
    pub fn over_tls(mut self) -> Self {
        self.needs_tls = true;
        self
    }

    /// Whether a server would take the two for one: the same user and password.
    pub fn is_same_login(&self, other: &Self) -> bool {
        let password = |it: &Self| it.password.as_ref().map(|password| password.expose_secret().to_owned());
        self.user == other.user && password(self) == password(other)
    }

    /// The same credential, which the server asks for in clear text, and which therefore travels over TLS only.
    #[must_use]
    pub fn in_clear_text(mut self) -> Self {
        self.clear_text = true;
        self.over_tls()
    }
}
