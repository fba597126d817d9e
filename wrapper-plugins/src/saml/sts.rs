//! The role that the assertion is good for: `AssumeRoleWithSAML` of AWS STS.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::{Builder, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role_with_saml::AssumeRoleWithSAMLError;
use secrecy::{ExposeSecret, SecretString};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;
use wrapper_core::env::Deadline;
use wrapper_core::{Error, ErrorKind, Result};

use super::config::Rules;
use crate::aws::Identity;

/// Assumes the role.
///
/// # Errors
/// STS refuses the assertion or the role, or cannot be reached.
///
/// # Cancellation
/// Safe.
pub(super) async fn assume(
    identity: &Identity,
    rules: &Rules,
    region: &str,
    assertion: &SecretString,
    deadline: Deadline,
) -> Result<Credentials> {
    let config = identity.config(region).await;
    let mut config = Builder::from(config).region(Region::new(region.to_owned()));
    if let Some(url) = &rules.sts_endpoint {
        config = config.endpoint_url(url);
    }
    let call = Client::from_conf(config.build())
        .assume_role_with_saml()
        .role_arn(&rules.role_arn)
        .principal_arn(&rules.idp_arn)
        .saml_assertion(assertion.expose_secret());
    // The SDK writes requests and answers into the log at trace level, the assertion and the keys included (R15).
    let call = async { Ok(call.send().await) }.with_subscriber(Dispatch::none());
    let what = format!("assuming the role `{}` at AWS STS in {region}", rules.role_arn);
    let answer = deadline.cap(rules.timeout, "http_request_connect_timeout").run(&what, call).await?;
    let answer = answer.map_err(|error| failed(rules, region, error))?;
    let keys = answer.credentials().ok_or_else(|| {
        Error::new(ErrorKind::Busy, format!("{what} failed: the answer has no credentials"))
    })?;
    let end = std::time::SystemTime::try_from(*keys.expiration()).map_err(|error| {
        Error::new(ErrorKind::Busy, format!("{what} failed: the end of the credentials is no time"))
            .with_source(error)
    })?;
    let (id, secret, token) = (keys.access_key_id(), keys.secret_access_key(), keys.session_token());
    Ok(Credentials::new(id, secret, Some(token.to_owned()), Some(end), "AssumeRoleWithSAML"))
}

fn failed(rules: &Rules, region: &str, error: SdkError<AssumeRoleWithSAMLError>) -> Error {
    let Rules { role_arn: role, idp_arn, .. } = rules;
    let code = error.code().unwrap_or_default().to_owned();
    let (kind, text) = match (&error, code.as_str()) {
        (_, "ExpiredTokenException" | "ExpiredToken") => (
            ErrorKind::Config,
            "AWS STS says that the assertion has expired, which was made a moment ago: is the clock of the identity \
             provider right? An assertion is good for five minutes"
                .to_owned(),
        ),
        (_, "InvalidIdentityToken" | "InvalidIdentityTokenException") => (
            ErrorKind::Config,
            format!(
                "AWS STS does not take the assertion as one of `{idp_arn}`; check `iam_idp_arn`, and that the metadata of \
                 the identity provider in IAM is that of today (its signing certificate may have changed)"
            ),
        ),
        (_, "IDPRejectedClaim" | "IDPRejectedClaimException") => (
            ErrorKind::Config,
            "AWS STS does not take the claims of the assertion; check the rules of the identity provider for AWS".to_owned(),
        ),
        (_, "AccessDenied" | "AccessDeniedException") => (
            ErrorKind::Config,
            format!(
                "the user may not assume the role `{role}`; check `iam_role_arn`, that the identity provider gives the user \
                 this role with `{idp_arn}`, and that the role's trust policy allows `sts:AssumeRoleWithSAML` for it"
            ),
        ),
        (_, "ValidationError" | "MalformedPolicyDocument" | "PackedPolicyTooLarge") => (
            ErrorKind::Config,
            format!("AWS STS cannot take the request; check `iam_role_arn={role}` and `iam_idp_arn={idp_arn}`"),
        ),
        (_, "RegionDisabledException") => (
            ErrorKind::Config,
            format!("AWS STS is not activated in {region} for the account; activate it, or set `sts_endpoint`"),
        ),
        (SdkError::ConstructionFailure(_), _) => (
            ErrorKind::Config,
            format!("AWS STS cannot be asked; check `sts_endpoint` and the region `{region}`"),
        ),
        (SdkError::ServiceError(_), _) => {
            (ErrorKind::Busy, format!("AWS STS did not let the user assume the role `{role}`"))
        }
        _ => (
            ErrorKind::Network,
            format!(
                "AWS STS in {region} could not be reached{}",
                rules.sts_endpoint.as_ref().map(|url| format!(" at {url}")).unwrap_or_default()
            ),
        ),
    };
    Error::new(kind, text).with_shared_source(Arc::new(Told(summary(&error))))
}

/// What the service said, in a line. Its answers' bodies are left out.
fn summary(error: &SdkError<AssumeRoleWithSAMLError>) -> String {
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
