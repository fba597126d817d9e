//! The fetching of a secret.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{Builder, Region};
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use tokio::sync::OnceCell;
use wrapper_core::credentials::{
    Credential, CredentialKey, CredentialProvider, FetchRequest, Fetched, Wanted,
};
use wrapper_core::{Error, ErrorKind, Result};

use super::document::{Keys, login};
use crate::aws::Identity;

/// How long a secret is used when the service gives no newer one.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// How soon a secret is looked at again that was not current yet.
const PENDING: Duration = Duration::from_secs(30);

/// What the plugin was set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) id: String,
    pub(super) region: String,
    pub(super) endpoint: Option<String>,
    pub(super) expiration: Duration,
    pub(super) keys: Keys,
}

#[derive(Debug)]
pub(super) struct SecretsProvider {
    identity: Identity,
    rules: Rules,
    client: OnceCell<Client>,
}

impl SecretsProvider {
    pub(super) fn new(identity: Identity, rules: Rules) -> Self {
        Self { identity, rules, client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| async {
                let config = self.identity.config(&self.rules.region).await;
                let mut config = Builder::from(config).region(Region::new(self.rules.region.clone()));
                if let Some(endpoint) = &self.rules.endpoint {
                    config = config.endpoint_url(endpoint);
                }
                Client::from_conf(config.build())
            })
            .await
    }

    /// The login of one stage; `None` when the secret has no version of it.
    async fn stage(&self, stage: Option<&str>) -> Result<Option<Credential>> {
        let id = &self.rules.id;
        let client = self.client().await;
        let mut call = client.get_secret_value().secret_id(id);
        if let Some(stage) = stage {
            call = call.version_stage(stage);
        }
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) if stage.is_some() && is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        match answer.secret_string() {
            Some(text) => login(id, &self.rules.keys, text).map(Some),
            None => Err(Error::config(format!(
                "the secret `{id}` is binary; expected a text, a JSON object with the keys `{}` and `{}`",
                self.rules.keys.user, self.rules.keys.password
            ))),
        }
    }

    async fn current(&self) -> Result<Credential> {
        let current = self.stage(None).await?;
        current.ok_or_else(|| Error::config(format!("the secret `{}` has no version", self.rules.id)))
    }

    fn failed(&self, error: SdkError<GetSecretValueError>) -> Error {
        let Rules { id, region, .. } = &self.rules;
        let code = error.code().unwrap_or_default().to_owned();
        let (kind, text) = match (&error, code.as_str()) {
            (_, "ResourceNotFoundException") => (
                ErrorKind::Config,
                format!(
                    "there is no secret `{id}` in the region {region}, or it has no current version; check \
                     `secrets_manager_secret_id` and `secrets_manager_region`"
                ),
            ),
            (_, "AccessDeniedException" | "AccessDenied") => (
                ErrorKind::Config,
                format!(
                    "the AWS identity ({}) may not read the secret `{id}`; it needs `secretsmanager:GetSecretValue` on it, \
                     and `kms:Decrypt` where a key of your own encrypts it",
                    self.identity.name()
                ),
            ),
            (_, "DecryptionFailure") => (
                ErrorKind::Config,
                format!("the secret `{id}` cannot be decrypted; check its KMS key, and `kms:Decrypt` on it"),
            ),
            (_, "InvalidRequestException" | "InvalidParameterException" | "ValidationException") => (
                ErrorKind::Config,
                format!(
                    "the secret `{id}` cannot be read; is it marked for deletion? Check `secrets_manager_secret_id`"
                ),
            ),
            (
                _,
                "UnrecognizedClientException"
                | "InvalidClientTokenId"
                | "ExpiredTokenException"
                | "ExpiredToken"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch",
            ) => (
                ErrorKind::Config,
                format!(
                    "AWS Secrets Manager refused the AWS credentials ({}); check them, and the clock of this machine",
                    self.identity.name()
                ),
            ),
            (SdkError::ServiceError(_), _) => {
                (ErrorKind::Busy, format!("AWS Secrets Manager did not give the secret `{id}`"))
            }
            (SdkError::ConstructionFailure(_), _) => (
                ErrorKind::Config,
                format!(
                    "AWS Secrets Manager cannot be asked; check `secrets_manager_endpoint` and `secrets_manager_region={region}`"
                ),
            ),
            (SdkError::DispatchFailure(failure), _) if failure.is_user() || is_about_credentials(&error) => (
                ErrorKind::Config,
                format!(
                    "AWS Secrets Manager cannot be asked with the AWS credentials ({}); set `aws_profile`, or give some in \
                     code",
                    self.identity.name()
                ),
            ),
            _ => (
                ErrorKind::Network,
                format!(
                    "AWS Secrets Manager in {region} could not be reached{}",
                    self.rules.endpoint.as_ref().map(|url| format!(" at {url}")).unwrap_or_default()
                ),
            ),
        };
        Error::new(kind, text).with_shared_source(Arc::new(Told(summary(&error))))
    }
}

fn is_missing(error: &SdkError<GetSecretValueError>) -> bool {
    error.code() == Some("ResourceNotFoundException")
}

/// Whether the call failed before it was made, for want of AWS credentials.
fn is_about_credentials(error: &SdkError<GetSecretValueError>) -> bool {
    use aws_credential_types::provider::error::CredentialsError;
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)) => {
                return true;
            }
            _ => next = error.source(),
        }
    }
    false
}

/// What the service said, in a line. Its answers' bodies are left out.
fn summary(error: &SdkError<GetSecretValueError>) -> String {
    if let SdkError::ServiceError(_) = error {
        let (code, message) = (error.code().unwrap_or("no code"), error.message().unwrap_or("no message"));
        return format!("{code}: {message}");
    }
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

/// The SDK's own error holds the raw answer, so only what it says is kept.
#[derive(Debug)]
struct Told(String);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

#[async_trait]
impl CredentialProvider for SecretsProvider {
    fn name(&self) -> &'static str {
        "secrets_manager"
    }

    fn key(&self, _: &Wanted<'_>) -> Result<CredentialKey> {
        let Rules { id, region, endpoint, .. } = &self.rules;
        let at = endpoint.as_ref().map(|url| format!(" from {url}")).unwrap_or_default();
        let identity = format!("secret `{id}`{at} by {}", self.identity.name());
        Ok(CredentialKey::new(identity).in_region(region))
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        let mut current = self.current().await?;
        let expiration = self.rules.expiration;
        let fetched =
            |credential, fresh: Duration| Fetched::new(credential, expiration + STALE).fresh_for(fresh);
        // A refused one that is still current: a rotation has changed the password and not finished yet.
        if request.refused.as_ref().is_some_and(|refused| refused.is_same_login(&current)) {
            match self.stage(Some("AWSPENDING")).await? {
                Some(pending) if !pending.is_same_login(&current) => {
                    return Ok(fetched(pending, PENDING.min(expiration)));
                }
                // It may have become current between the two questions.
                _ => current = self.current().await?,
            }
        }
        Ok(fetched(current, expiration))
    }

    fn has_others(&self) -> bool {
        true
    }

    fn advice(&self, _: &CredentialKey) -> Option<String> {
        Some(format!(
            "check that the secret `{}` holds the login that the database has; during a rotation its pending version was \
             tried too",
            self.rules.id
        ))
    }
}
