//! Where the password of a connection comes from.

use std::fmt::Debug;

use async_trait::async_trait;
use secrecy::SecretString;
use wrapper_core::Result;
use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::Deadline;

/// What a connection logs in with.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Credential {
    /// The user; `None` keeps the configured one.
    pub user: Option<String>,
    /// The password; `None` keeps the configured one.
    pub password: Option<SecretString>,
    /// Whether the password may be sent over TLS only. The connection is refused when it would have no TLS.
    pub needs_tls: bool,
}

/// Gives the credential for each connection: asked once per connect, so that a rotated one is picked up.
#[async_trait]
pub trait CredentialSource: Debug + Send + Sync {
    /// The credential for a connection to `target`.
    ///
    /// # Errors
    /// There is none; the connect ends with this error.
    ///
    /// # Cancellation
    /// Must be safe: the caller bounds it with the deadline of the connect.
    async fn credential(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Credential>;
}

/// The user and the password of the configuration, as they stand there.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfiguredCredential;

#[async_trait]
impl CredentialSource for ConfiguredCredential {
    async fn credential(&self, _: &ConnectTarget, _: Deadline) -> Result<Credential> {
        Ok(Credential::default())
    }
}
