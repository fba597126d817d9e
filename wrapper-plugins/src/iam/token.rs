//! The token: a presigned request to connect, without its scheme.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use tracing::Dispatch;
use tracing::dispatcher::with_default;
use wrapper_core::{Error, ErrorKind, Result};

/// How long a token lives; the server looks at it at login only.
pub(crate) const LIFE: Duration = Duration::from_secs(900);

/// What RFC 3986 leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) region: &'a str,
    pub(crate) user: &'a str,
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Makes a token that is dated `at`. No network is used.
///
/// # Errors
/// Host or user cannot stand in a URL.
pub(crate) fn token(credentials: &Credentials, place: Place<'_>, at: SystemTime) -> Result<SecretString> {
    let Place { host, port, region, user } = place;
    // The signature is made over what is sent, so the user is encoded before.
    let mut url = format!("https://{host}:{port}/?Action=connect&DBUser={}", encode(user));
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(
            ErrorKind::Config,
            format!("no IAM token can be made for user `{user}` at `{host}:{port}`"),
        )
        .with_source(Unsigned(source))
    };
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFE);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(at)
        .settings(settings)
        .build()
        .map_err(|error| failed(error.into()))?
        .into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::empty())
        .map_err(|error| failed(error.into()))?;
    // The signer writes what it signs into the log at trace level, the session token included (R15).
    let signed = with_default(&Dispatch::none(), || sign(request, &params));
    let (instructions, _) = signed.map_err(|error| failed(error.into()))?.into_parts();
    let (_, extra) = instructions.into_parts();
    for (name, value) in extra {
        url.push_str(&format!("&{name}={}", encode(value.as_ref())));
    }
    Ok(SecretString::from(url.split_off("https://".len())))
}

/// Why the signer refused.
#[derive(Debug)]
struct Unsigned(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Unsigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unsigned {}
