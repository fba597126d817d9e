//! Logins: who may open a session, and what a new session is told.
//!
//! What may not live here: what the session does then (`handlers.rs`).

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::Sink;
use pgwire::api::auth::cleartext::CleartextPasswordAuth;
use pgwire::api::auth::mechanism::{AuthMechanism, AuthMechanismFactory, AuthState};
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, gen_salted_password};
use pgwire::api::auth::{
    AuthDriver, AuthOutcome, AuthSource, LoginInfo, Password, ServerParameterProvider, StartupHandler,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, PidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily, SecretKey};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::builder::Login;
use super::error::SqlError;
use super::handlers::Backend;
use super::inner::{Inner, Server, locked};
use super::passwords::Judged;
use super::session::{REPORTED, Variables};

/// The cluster's users, as the password mechanisms ask for them.
#[derive(Debug)]
struct Users(Arc<Inner>);

#[async_trait]
impl AuthSource for Users {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let user = login.user().unwrap_or_default();
        let password = locked(&self.0.users).get(user).cloned();
        let password = password.ok_or_else(|| PgWireError::InvalidPassword(user.to_owned()))?;
        match self.0.config.login {
            Login::Scram => {
                let salt: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(16).collect();
                let salted = gen_salted_password(&password, &salt, SCRAM_ITERATIONS);
                Ok(Password::new(Some(salt), salted))
            }
            _ => Ok(Password::new(None, password.into_bytes())),
        }
    }
}

/// Lets everybody in.
struct Trust;

#[async_trait]
impl AuthMechanism for Trust {
    async fn begin(&mut self, _client: &(dyn ClientInfo + Send + Sync)) -> PgWireResult<AuthState> {
        Ok(AuthState::Ok { final_message: None, identity: None })
    }

    async fn next(
        &mut self,
        _client: &(dyn ClientInfo + Send + Sync),
        _message: PasswordMessageFamily,
    ) -> PgWireResult<AuthState> {
        Err(PgWireError::NoAuthenticationInProgress)
    }
}

/// What ParameterStatus messages told the client.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<HashMap<String, String>>);

impl Reported {
    /// Takes the present settings; yields those that the client has not been told yet.
    pub(crate) fn update(&self, vars: &Variables, server: &Server, user: &str) -> Vec<(String, String)> {
        let mut told = locked(&self.0);
        let present = REPORTED.iter().filter_map(|name| {
            let value = match *name {
                "session_authorization" => user.to_owned(),
                _ => vars.show(name, server)?,
            };
            Some(((*name).to_owned(), value))
        });
        let news: Vec<_> = present.filter(|(name, value)| told.get(name) != Some(value)).collect();
        told.extend(news.iter().cloned());
        news
    }
}

impl ServerParameterProvider for Reported {
    fn server_parameters<C: ClientInfo>(&self, _client: &C) -> Option<HashMap<String, String>> {
        Some(locked(&self.0).clone())
    }
}

#[async_trait]
impl StartupHandler for Backend {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let server = self.server();
        let driver = AuthDriver::<_, ()>::new(self.reported());
        let outcome = match message {
            PgWireFrontendMessage::Startup(ref startup) => {
                protocol_negotiation(client, startup).await?;
                save_startup_parameters_to_metadata(client, startup);
                admit(server, client)?;
                let users = Arc::new(Users(Arc::clone(&server.inner)));
                let mechanism: Box<dyn AuthMechanism> = match server.inner.config.login {
                    Login::Trust => Box::new(Trust),
                    Login::Cleartext if server.inner.passwords.is_some() => Box::new(Judged::new(server)),
                    Login::Cleartext => CleartextPasswordAuth::new(users).create(),
                    // The others are MySQL's, which the builder has refused.
                    _ => ScramAuth::new(users).create(),
                };
                driver.begin_authentication(client, mechanism).await
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                driver.advance_authentication(client, message).await
            }
            _ => return Ok(()),
        };
        match outcome {
            Ok(AuthOutcome::InProgress) => Ok(()),
            Ok(AuthOutcome::Authenticated { final_message, .. }) => self.welcome(client, final_message).await,
            Err(PgWireError::InvalidPassword(user)) => {
                let message = format!("password authentication failed for user \"{user}\"");
                Err(SqlError::fatal("28P01", message).into())
            }
            Err(other) => Err(other),
        }
    }
}

impl Backend {
    async fn welcome<C>(&self, client: &mut C, final_message: Option<Authentication>) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let fatal = |error: SqlError| SqlError { fatal: true, ..error };
        let vars = Variables::starting(settings_of(client.metadata())).map_err(fatal)?;
        let (pid, secret) = self.server().inner.pids.generate(client);
        // The session stands before the client is told that it may ask.
        self.enter_session(client, vars, pid, secret.clone()).await;
        let driver = AuthDriver::<_, ()>::new(self.reported());
        let driver = driver.with_pid_secret_key_generator(Arc::new(Known(pid, secret)));
        driver.complete_authentication(client, final_message).await
    }
}

/// Hands out the key that the session was entered with.
struct Known(i32, SecretKey);

impl PidSecretKeyGenerator for Known {
    fn generate(&self, _client: &dyn ClientInfo) -> (i32, SecretKey) {
        (self.0, self.1.clone())
    }
}

/// Refuses logins that the server would not even ask for a password.
fn admit<C: ClientInfo>(server: &Server, client: &C) -> Result<(), SqlError> {
    let state = server.own().state();
    if let Some((code, message)) = &state.rejection {
        return Err(SqlError::fatal(code.clone(), message.clone()));
    }
    if state.sessions.len() > state.max_connections {
        return Err(SqlError::fatal("53300", "sorry, too many clients already"));
    }
    let user = client.metadata().get("user").map_or("", String::as_str);
    if user.is_empty() {
        return Err(SqlError::fatal("28000", "no PostgreSQL user name specified in startup packet"));
    }
    if server.inner.config.require_tls && !client.is_secure() {
        let host = client.socket_addr().ip();
        let message = format!("no pg_hba.conf entry for host \"{host}\", user \"{user}\", no encryption");
        return Err(SqlError::fatal("28000", message));
    }
    Ok(())
}

/// The settings of a startup message, those in `options` included.
fn settings_of(metadata: &HashMap<String, String>) -> Vec<(String, String)> {
    let other = |name: &str| {
        matches!(name, "user" | "database" | "options" | "replication") || name.starts_with("_pq_")
    };
    let plain = metadata.iter().filter(|(name, _)| !other(name));
    let mut settings: Vec<_> = plain.map(|(name, value)| (name.clone(), value.clone())).collect();
    let options = metadata.get("options").map_or("", String::as_str).replace("-c ", "-c");
    let named = options.split_whitespace().filter_map(|option| {
        let option = option.strip_prefix("-c").or_else(|| option.strip_prefix("--"))?;
        option.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    settings.extend(named);
    settings
}
