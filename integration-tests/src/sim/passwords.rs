//! Passwords that a closure judges: tokens, which differ from login to login.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pgwire::api::ClientInfo;
use pgwire::api::auth::mechanism::{AuthMechanism, AuthState};
use pgwire::error::PgWireResult;
use pgwire::messages::startup::{Authentication, PasswordMessageFamily};

use super::error::SqlError;
use super::inner::Server;

/// A login that shows its password in clear text.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LoginAttempt<'a> {
    /// The user.
    pub user: &'a str,
    /// The password, as it was sent.
    pub password: &'a str,
    /// The host names that lead to this server: its own, the cluster's, the readers'.
    pub hosts: &'a [String],
    /// The server's port.
    pub port: u16,
    /// Whether the connection has TLS.
    pub encrypted: bool,
    /// The program's name, by which the library's own connections are known.
    pub application_name: &'a str,
}

type Judge = dyn Fn(&LoginAttempt<'_>) -> bool + Send + Sync;

/// Judges passwords in place of the list of users.
#[derive(Clone)]
pub(crate) struct PasswordCheck(Arc<Judge>);

impl PasswordCheck {
    pub(crate) fn new(judge: impl Fn(&LoginAttempt<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }

    /// Whether `server` lets the user in.
    pub(crate) fn lets_in(
        &self,
        server: &Server,
        (user, password): (&str, &str),
        encrypted: bool,
        application_name: &str,
    ) -> bool {
        let config = &server.inner.config;
        let own = server.own();
        let hosts = [own.endpoint.clone(), config.cluster_endpoint(), config.reader_endpoint()];
        let port = own.address.port();
        (self.0)(&LoginAttempt { user, password, hosts: &hosts, port, encrypted, application_name })
    }
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordCheck")
    }
}

/// PostgreSQL's way to ask for a password in clear text.
pub(crate) struct Judged(Server);

impl Judged {
    pub(crate) fn new(server: &Server) -> Self {
        Self(server.clone())
    }
}

#[async_trait]
impl AuthMechanism for Judged {
    async fn begin(&mut self, _client: &(dyn ClientInfo + Send + Sync)) -> PgWireResult<AuthState> {
        Ok(AuthState::InProgress(Authentication::CleartextPassword))
    }

    async fn next(
        &mut self,
        client: &(dyn ClientInfo + Send + Sync),
        message: PasswordMessageFamily,
    ) -> PgWireResult<AuthState> {
        let password = message.into_password()?.password;
        let known = |name: &str| client.metadata().get(name).cloned().unwrap_or_default();
        let (user, program) = (known("user"), known("application_name"));
        let server = &self.0;
        let check = server.inner.passwords.as_ref();
        let judged = check
            .is_some_and(|check| check.lets_in(server, (&user, &password), client.is_secure(), &program));
        if judged {
            return Ok(AuthState::Ok { final_message: None, identity: None });
        }
        // As a server that asks PAM, as RDS does.
        Err(SqlError::fatal("28000", format!("PAM authentication failed for user \"{user}\"")).into())
    }
}
