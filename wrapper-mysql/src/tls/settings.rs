//! The settings of TLS, and the plan that follows from them for a host.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use mysql_async::{Opts, SslOpts};
use wrapper_core::{Error, Result};

/// How much TLS a connection has: MySQL's `--ssl-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsMode {
    /// No TLS.
    Disabled,
    /// TLS if the server speaks it, not verified; else none.
    Preferred,
    /// TLS; the certificate is not verified.
    Required,
    /// TLS with a certificate of a trusted authority. The driver means to let any host name pass then, but as of 0.37.1
    /// with rustls 0.23 it does not recognise that case: the name is verified too, as for
    /// [`VerifyIdentity`](Self::VerifyIdentity).
    VerifyCa,
    /// TLS with a certificate of a trusted authority for this host. The default for RDS host names.
    VerifyIdentity,
}

impl TlsMode {
    const ALL: [Self; 5] =
        [Self::Disabled, Self::Preferred, Self::Required, Self::VerifyCa, Self::VerifyIdentity];

    /// The name that `ssl_mode` has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Preferred => "preferred",
            Self::Required => "required",
            Self::VerifyCa => "verify_ca",
            Self::VerifyIdentity => "verify_identity",
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TlsMode {
    type Err = Error;

    /// MySQL's name in any case, with `_` or `-`.
    fn from_str(text: &str) -> Result<Self> {
        let wanted = text.to_ascii_lowercase().replace('-', "_");
        Self::ALL.into_iter().find(|mode| mode.as_str() == wanted).ok_or_else(|| {
            Error::config(format!(
                "`ssl_mode={text}` is unknown; expected `disabled`, `preferred`, `required`, `verify_ca` or \
                 `verify_identity`"
            ))
        })
    }
}

/// The crypto provider under rustls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CryptoProvider {
    /// ring; needs the feature `tls-ring`.
    Ring,
    /// AWS-LC; needs the feature `tls-aws-lc-rs`.
    AwsLcRs,
}

impl CryptoProvider {
    /// The name that `tls_provider` has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::AwsLcRs => "aws-lc-rs",
        }
    }
}

impl fmt::Display for CryptoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CryptoProvider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ring" => Ok(Self::Ring),
            "aws-lc-rs" => Ok(Self::AwsLcRs),
            _ => Err(Error::config(format!(
                "`tls_provider={text}` is unknown; expected `ring` or `aws-lc-rs`"
            ))),
        }
    }
}

/// Where the certificates of authorities are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Roots {
    File(PathBuf),
    Pem(String),
}

/// How connections are encrypted.
///
/// Defaults: what the options of the driver say (`ssl_opts`); where they say nothing, `verify_identity` for RDS host
/// names and for passwords in clear text when TLS is compiled in, else `preferred`. Trusted are the driver's built-in authorities, to which those of RDS
/// do not belong; `ssl_ca` names a file of others, such as the RDS global bundle, which are then trusted alone.
///
/// The driver takes the crypto provider that is installed for the process. When none is, the one that `tls_provider`
/// names is installed, or the one that is compiled in, and of two AWS-LC.
/// [`Connector::explain`](crate::Connector::explain) says which one and why.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TlsSettings {
    mode: Option<TlsMode>,
    roots: Option<Roots>,
    built_in_too: bool,
    client: Option<(PathBuf, PathBuf)>,
    provider: Option<CryptoProvider>,
}

impl TlsSettings {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the mode (`ssl_mode`), for every host.
    pub fn mode(mut self, mode: TlsMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets whom to trust (`ssl_ca`): a file of certificates in PEM or DER form.
    pub fn roots(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots = Some(Roots::File(file.into()));
        self
    }

    /// Sets whom to trust: certificates in PEM form.
    pub fn roots_pem(mut self, pem: &str) -> Self {
        self.roots = Some(Roots::Pem(pem.to_owned()));
        self
    }

    /// Trusts the driver's built-in authorities beside those that are set: RDS Proxy's certificates come from them
    /// (`ssl_ca=built-in,PATH`).
    pub fn built_in_roots_too(mut self) -> Self {
        self.built_in_too = true;
        self
    }

    /// Sets the client's own certificate with its chain (`ssl_cert`) and its private key (`ssl_key`), both files in PEM
    /// or DER form; shown to servers that ask for one. The key is not encrypted.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((certificate.into(), key.into()));
        self
    }

    /// Sets the crypto provider (`tls_provider`).
    pub fn provider(mut self, provider: CryptoProvider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Reads what the settings name, so that a missing file is found before the first connect.
    pub(crate) fn build(&self, opts: &Opts) -> Result<Tls> {
        let given = opts.ssl_opts().cloned();
        let off = self.mode == Some(TlsMode::Disabled);
        if opts.enable_cleartext_plugin() && off {
            return Err(clear_without_tls("every host"));
        }
        if off {
            return Ok(Tls { mode: self.mode, ssl: SslOpts::default(), given: false, provider: None });
        }
        let wanted = self.mode.is_some_and(|mode| mode != TlsMode::Preferred)
            || self.roots.is_some()
            || self.client.is_some()
            || given.is_some();
        if !cfg!(feature = "_rustls") {
            if wanted {
                return Err(not_compiled());
            }
            return Ok(Tls { mode: self.mode, ssl: SslOpts::default(), given: false, provider: None });
        }
        let mut ssl = given.clone().unwrap_or_default();
        if let Some(roots) = &self.roots {
            let pem = match roots {
                Roots::File(file) => {
                    std::fs::read(file).map_err(|error| unreadable("ssl_ca", file, error))?
                }
                Roots::Pem(pem) => pem.clone().into_bytes(),
            };
            ssl = ssl.with_root_certs(vec![pem.into()]).with_disable_built_in_roots(!self.built_in_too);
        }
        if let Some((certificate, key)) = &self.client {
            ssl = with_client(ssl, certificate, key)?;
        }
        Ok(Tls { mode: self.mode, ssl, given: given.is_some(), provider: self.choose_provider()? })
    }

    #[cfg(feature = "_rustls")]
    fn choose_provider(&self) -> Result<Option<String>> {
        super::provider::ensure(self.provider).map(Some)
    }

    #[cfg(not(feature = "_rustls"))]
    fn choose_provider(&self) -> Result<Option<String>> {
        match self.provider {
            Some(_) => Err(not_compiled()),
            None => Ok(None),
        }
    }
}

fn unreadable(setting: &str, file: &std::path::Path, error: std::io::Error) -> Error {
    Error::config(format!(
        "`{setting}={}` cannot be read; expected a file of certificates or a key",
        file.display()
    ))
    .with_source(error)
}

#[cfg(feature = "_rustls")]
fn with_client(ssl: SslOpts, certificate: &std::path::Path, key: &std::path::Path) -> Result<SslOpts> {
    let chain = std::fs::read(certificate).map_err(|error| unreadable("ssl_cert", certificate, error))?;
    let key = std::fs::read(key).map_err(|error| unreadable("ssl_key", key, error))?;
    Ok(ssl.with_client_identity(Some(mysql_async::ClientIdentity::new(chain.into(), key.into()))))
}

#[cfg(not(feature = "_rustls"))]
fn with_client(_: SslOpts, _: &std::path::Path, _: &std::path::Path) -> Result<SslOpts> {
    Err(not_compiled())
}

fn not_compiled() -> Error {
    Error::config(
        "`ssl_mode`, `ssl_ca`, `ssl_cert` or `tls_provider` needs TLS, which is not compiled in; enable the feature \
         `tls-ring` or `tls-aws-lc-rs` of wrapper-mysql",
    )
}

pub(crate) fn clear_without_tls(host: &str) -> Error {
    Error::config(format!(
        "the password for {host} would travel in clear text (`enable_cleartext_plugin`, or a credential that needs \
         TLS), and the connection would have no TLS; set `ssl_mode=verify_identity`, with a feature for TLS enabled"
    ))
}

/// What one connection does about TLS.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What the driver is told; `None` for no TLS.
    pub(crate) ssl: Option<SslOpts>,
    /// Whether it goes on without when the server has none.
    pub(crate) or_plain: bool,
}

/// The settings, ready for use.
#[derive(Clone)]
pub(crate) struct Tls {
    mode: Option<TlsMode>,
    ssl: SslOpts,
    /// Whether the options of the driver ask for TLS, and how much of it.
    given: bool,
    provider: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("mode", &self.mode)
            .field("given", &self.given)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Who encrypts, and with which crypto provider, in a line.
    pub(crate) fn describe(&self) -> String {
        match &self.provider {
            Some(provider) => format!("rustls, crypto provider {provider}"),
            None if cfg!(feature = "_rustls") => "off by `ssl_mode=disabled`".to_owned(),
            None => "not compiled in".to_owned(),
        }
    }

    /// What a connection to `host` does. `clear`: the password may be sent as it is, so it needs TLS.
    pub(crate) fn plan(&self, host: &str, unix: bool, clear: bool) -> Result<Plan> {
        if unix {
            return Ok(Plan { ssl: None, or_plain: false });
        }
        let compiled = cfg!(feature = "_rustls");
        let mode = match self.mode {
            Some(mode) => mode,
            None if self.given => {
                return Ok(Plan { ssl: Some(self.ssl.clone()), or_plain: false });
            }
            // A password that anybody could read goes to a server that has shown who it is.
            None if compiled && (clear || is_rds(host)) => TlsMode::VerifyIdentity,
            None => TlsMode::Preferred,
        };
        if mode == TlsMode::Disabled || !compiled {
            return if clear {
                Err(clear_without_tls(host))
            } else {
                Ok(Plan { ssl: None, or_plain: false })
            };
        }
        let verify = matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
        let ssl = self
            .ssl
            .clone()
            .with_danger_accept_invalid_certs(!verify)
            .with_danger_skip_domain_validation(mode != TlsMode::VerifyIdentity);
        Ok(Plan { ssl: Some(ssl), or_plain: mode == TlsMode::Preferred && !clear })
    }
}

/// Whether a host name is one of RDS's, in any partition.
fn is_rds(host: &str) -> bool {
    const ENDS: [&str; 7] = [
        ".amazonaws.com",
        ".amazonaws.com.cn",
        ".amazonaws.eu",
        ".amazonaws.au",
        ".amazonaws.uk",
        ".c2s.ic.gov",
        ".sc2s.sgov.gov",
    ];
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (host.contains(".rds.") || host.contains(".rds-fips.")) && ENDS.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_async::OptsBuilder;

    const RDS: &str = "db.cluster-xyz.us-east-2.rds.amazonaws.com";

    fn opts(clear: bool) -> Opts {
        OptsBuilder::default().enable_cleartext_plugin(clear).into()
    }

    #[test]
    fn unknown_modes_are_refused_with_the_allowed_ones() {
        let error = "full".parse::<TlsMode>().unwrap_err().to_string();
        assert!(error.contains("ssl_mode=full") && error.contains("verify_identity"), "{error}");
        for mode in TlsMode::ALL {
            assert_eq!(mode.as_str().to_uppercase().parse::<TlsMode>().unwrap(), mode);
        }
        assert_eq!("VERIFY-CA".parse::<TlsMode>().unwrap(), TlsMode::VerifyCa);
    }

    #[test]
    fn a_password_in_clear_text_never_travels_without_tls() {
        let off = TlsSettings::new().mode(TlsMode::Disabled);
        let error = off.build(&opts(true)).err().map(|error| error.to_string());
        assert!(error.as_deref().is_some_and(|text| text.contains("clear text")), "{error:?}");
        let off = off.build(&opts(false)).unwrap();
        assert!(off.plan("db-1", false, true).is_err());
        assert!(off.plan("db-1", false, false).unwrap().ssl.is_none());
    }

    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
    #[cfg(not(feature = "_rustls"))]
    #[test]
    fn without_tls_compiled_in_the_error_names_the_features() {
        let error = TlsSettings::new().mode(TlsMode::Required).build(&opts(false)).unwrap_err().to_string();
        assert!(error.contains("tls-ring") && error.contains("ssl_mode"), "{error}");
        let tls = TlsSettings::new().build(&opts(false)).unwrap();
        assert!(tls.plan(RDS, false, false).unwrap().ssl.is_none());
        assert!(tls.plan(RDS, false, true).is_err());
    }

    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
    #[test]
    fn an_rds_name_gets_full_verification_and_others_what_mysql_gives_them() {
        let tls = TlsSettings::new().build(&opts(false)).unwrap();
        let plan = tls.plan(RDS, false, false).unwrap();
        let ssl = plan.ssl.unwrap();
        assert!(!ssl.accept_invalid_certs() && !ssl.skip_domain_validation() && !plan.or_plain);
        let plan = tls.plan("db.example.com", false, false).unwrap();
        assert!(plan.or_plain && plan.ssl.unwrap().accept_invalid_certs());
        // In clear text the password needs TLS in any case.
        let plan = tls.plan("db.example.com", false, true).unwrap();
        assert!(!plan.or_plain && !plan.ssl.unwrap().accept_invalid_certs());
    }

    #[test]
    fn rds_names_are_known_in_every_partition() {
        for host in [
            RDS,
            "instance-1.xyz.us-gov-west-1.rds-fips.amazonaws.com.",
            "db.cluster-xyz.rds.cn-north-1.amazonaws.com.cn",
        ] {
            assert!(is_rds(host), "{host}");
        }
        for host in ["localhost", "10.0.0.1", "rds.amazonaws.com", "db.rds.example.com"] {
            assert!(!is_rds(host), "{host}");
        }
    }
}
