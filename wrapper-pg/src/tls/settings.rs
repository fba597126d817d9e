//! The settings of TLS, and the plan that follows from them for a host.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use wrapper_core::{Error, Result};

use super::{Handshake, Made, Socket};

/// How much TLS a connection has: libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS if the server speaks it, not verified; else none.
    Prefer,
    /// TLS; the certificate is verified only when `sslrootcert` is set.
    Require,
    /// TLS with a certificate of a trusted authority, for whatever host.
    VerifyCa,
    /// TLS with a certificate of a trusted authority for this host. The default for RDS host names.
    VerifyFull,
}

impl TlsMode {
    const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The name that `sslmode` has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
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

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| {
            Error::config(format!(
                "`sslmode={text}` is unknown; expected `disable`, `prefer`, `require`, `verify-ca` or `verify-full`"
            ))
        })
    }
}

/// Whom to trust: `sslrootcert`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootCertificates {
    /// The system's store. Does not hold the authorities of RDS; it does hold those that RDS Proxy's certificates come
    /// from.
    System,
    /// A file of certificates in PEM form, such as the RDS global bundle; or a folder, of which every file whose name ends
    /// in `.pem` or `.crt` is read.
    File(PathBuf),
    /// Certificates in PEM form.
    Pem(String),
    /// The system's store and these: for an application that uses RDS Proxy and the database itself.
    SystemAnd(Box<RootCertificates>),
}

impl FromStr for RootCertificates {
    type Err = Error;

    /// `system`, the path of a file or a folder, or `system,` with such a path behind it.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" => Err(Error::config("`sslrootcert` is empty; expected `system` or a file's path")),
            "system" => Ok(Self::System),
            text => match text.strip_prefix("system,") {
                Some(more) => Ok(Self::SystemAnd(Box::new(more.parse()?))),
                None => Ok(Self::File(PathBuf::from(text))),
            },
        }
    }
}

impl fmt::Display for RootCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::File(path) => path.display().fmt(f),
            Self::Pem(_) => f.write_str("certificates given in code"),
            Self::SystemAnd(more) => write!(f, "system,{more}"),
        }
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

/// The files of the client's own certificate and of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// How connections are encrypted.
///
/// Defaults: `verify-full` for RDS host names, and for credentials that travel over TLS only, when TLS is compiled in;
/// else what the driver's configuration says (`prefer` when it says nothing); the system's certificates; no client certificate.
///
/// The crypto provider is the one that `tls_provider` names; without that the one that the application has installed
/// for its process (`rustls::crypto::CryptoProvider::install_default`); without that the one that is compiled in, and
/// of two AWS-LC. [`Connector::explain`](crate::Connector::explain) says which one and why.
#[derive(Clone, Default)]
#[must_use]
pub struct TlsSettings {
    mode: Option<TlsMode>,
    roots: Option<RootCertificates>,
    provider: Option<CryptoProvider>,
    client: Option<ClientCertificate>,
    connector: Option<Arc<dyn Handshake>>,
}

impl TlsSettings {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the mode (`sslmode`), for every host.
    pub fn mode(mut self, mode: TlsMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets whom to trust (`sslrootcert`).
    pub fn roots(mut self, roots: RootCertificates) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Sets the crypto provider (`tls_provider`).
    pub fn provider(mut self, provider: CryptoProvider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets the client's own certificate with its chain (`sslcert`) and its private key (`sslkey`), both files in PEM
    /// form; shown to servers that ask for one. The key is PKCS#8, PKCS#1 or SEC1 and not encrypted.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some(ClientCertificate { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Sets a connector of another making. What it verifies is its own business: of the modes only whether TLS is
    /// wanted counts.
    pub fn connector<T>(mut self, connector: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + 'static,
        T::TlsConnect: Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send + 'static,
    {
        self.connector = Some(Arc::new(Made(connector)));
        self
    }

    /// Reads what the settings name, so that a missing file is found before the first connect.
    pub(crate) fn build(&self) -> Result<Tls> {
        if self.connector.is_some() {
            return Ok(Tls {
                settings: self.clone(),
                #[cfg(feature = "_rustls")]
                rustls: None,
            });
        }
        self.build_own()
    }

    #[cfg(feature = "_rustls")]
    fn build_own(&self) -> Result<Tls> {
        let rustls = if self.mode == Some(TlsMode::Disable) {
            None
        } else {
            let made = super::rustls_connector::Rustls::new(
                self.provider,
                self.roots.as_ref(),
                self.client.as_ref(),
            );
            Some(Arc::new(made?))
        };
        Ok(Tls { settings: self.clone(), rustls })
    }

    #[cfg(not(feature = "_rustls"))]
    fn build_own(&self) -> Result<Tls> {
        match self.mode {
            None | Some(TlsMode::Prefer) if self.client.is_some() => Err(Error::config(
                "`sslcert` needs TLS, which is not compiled in; enable the feature `tls-ring` or `tls-aws-lc-rs` of \
                 wrapper-pg, or give a connector",
            )),
            None | Some(TlsMode::Disable | TlsMode::Prefer) => Ok(Tls { settings: self.clone() }),
            Some(mode) => Err(not_compiled(mode)),
        }
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("mode", &self.mode)
            .field("roots", &self.roots)
            .field("provider", &self.provider)
            .field("client", &self.client)
            .field("connector", &self.connector.is_some())
            .finish()
    }
}

#[cfg(not(feature = "_rustls"))]
fn not_compiled(mode: TlsMode) -> Error {
    Error::config(format!(
        "`sslmode={mode}` needs TLS, which is not compiled in; enable the feature `tls-ring` or `tls-aws-lc-rs` of \
         wrapper-pg, or give a connector"
    ))
}

/// What one connection does about TLS.
#[derive(Clone)]
pub(crate) struct Plan {
    /// What the driver is told.
    pub(crate) ssl_mode: SslMode,
    /// Who shakes hands; `None` when there is no TLS.
    pub(crate) handshake: Option<Arc<dyn Handshake>>,
}

impl Plan {
    /// No TLS.
    pub(crate) fn plain() -> Self {
        Self { ssl_mode: SslMode::Disable, handshake: None }
    }
}

/// The settings, ready for use.
#[derive(Clone)]
pub(crate) struct Tls {
    settings: TlsSettings,
    #[cfg(feature = "_rustls")]
    rustls: Option<Arc<super::rustls_connector::Rustls>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Tls {
    /// Who encrypts, and with which crypto provider, in a line.
    pub(crate) fn describe(&self) -> String {
        if self.settings.connector.is_some() {
            return "by the connector that was given".to_owned();
        }
        #[cfg(feature = "_rustls")]
        if let Some(rustls) = &self.rustls {
            return format!("rustls, crypto provider {}", rustls.provider_chosen());
        }
        let off = cfg!(feature = "_rustls");
        if off { "off by `sslmode=disable`" } else { "not compiled in" }.to_owned()
    }

    /// What a connection to `host` does. `needed`: the credential may not travel without TLS.
    pub(crate) fn plan(&self, config: &Config, host: &str, unix: bool, needed: bool) -> Result<Plan> {
        if unix {
            return if needed { Err(refused_without_tls(host)) } else { Ok(Plan::plain()) };
        }
        let mode = self.mode(config, host, needed);
        if needed && mode == TlsMode::Disable {
            return Err(refused_without_tls(host));
        }
        let handshake = self.handshake(mode)?;
        let ssl_mode = match (mode, &handshake) {
            (TlsMode::Disable, _) => SslMode::Disable,
            (TlsMode::Prefer, None) if needed => return Err(refused_without_tls(host)),
            (TlsMode::Prefer, None) => SslMode::Disable,
            (TlsMode::Prefer, Some(_)) if !needed => SslMode::Prefer,
            _ => SslMode::Require,
        };
        Ok(Plan { ssl_mode, handshake })
    }

    /// A credential that must not be read by others goes to a server that has shown who it is, unless the user has said
    /// how much TLS there is to be.
    fn mode(&self, config: &Config, host: &str, needed: bool) -> TlsMode {
        match (self.settings.mode, config.get_ssl_mode()) {
            (Some(mode), _) => mode,
            (None, SslMode::Disable) => TlsMode::Disable,
            (None, SslMode::Require) => TlsMode::Require,
            (None, _) if self.speaks_tls() && (needed || is_rds(host)) => TlsMode::VerifyFull,
            (None, _) => TlsMode::Prefer,
        }
    }

    fn speaks_tls(&self) -> bool {
        cfg!(feature = "_rustls") || self.settings.connector.is_some()
    }

    fn handshake(&self, mode: TlsMode) -> Result<Option<Arc<dyn Handshake>>> {
        if mode == TlsMode::Disable {
            return Ok(None);
        }
        if let Some(connector) = &self.settings.connector {
            return Ok(Some(Arc::clone(connector)));
        }
        self.own_handshake(mode)
    }

    #[cfg(feature = "_rustls")]
    fn own_handshake(&self, mode: TlsMode) -> Result<Option<Arc<dyn Handshake>>> {
        match &self.rustls {
            Some(rustls) => rustls.handshake(mode).map(Some),
            None => Ok(None),
        }
    }

    #[cfg(not(feature = "_rustls"))]
    fn own_handshake(&self, mode: TlsMode) -> Result<Option<Arc<dyn Handshake>>> {
        if mode == TlsMode::Prefer { Ok(None) } else { Err(not_compiled(mode)) }
    }
}

fn refused_without_tls(host: &str) -> Error {
    Error::config(format!(
        "the credential for {host} may be sent over TLS only, and this connection would have none; set `sslmode` to \
         `verify-full`"
    ))
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

    #[test]
    fn rds_names_are_known_in_every_partition() {
        for host in [
            "db.cluster-xyz.us-east-2.rds.amazonaws.com",
            "instance-1.xyz.us-gov-west-1.rds-fips.amazonaws.com.",
            "db.cluster-xyz.rds.cn-north-1.amazonaws.com.cn",
            "db.cluster-xyz.rds.us-iso-east-1.c2s.ic.gov",
        ] {
            assert!(is_rds(host), "{host}");
        }
        for host in ["localhost", "10.0.0.1", "rds.amazonaws.com", "db.rds.example.com"] {
            assert!(!is_rds(host), "{host}");
        }
    }

    #[test]
    fn unknown_modes_are_refused_with_the_allowed_ones() {
        let error = "allow".parse::<TlsMode>().unwrap_err().to_string();
        assert!(error.contains("sslmode=allow") && error.contains("verify-full"), "{error}");
        for mode in TlsMode::ALL {
            assert_eq!(mode.as_str().parse::<TlsMode>().unwrap(), mode);
        }
    }

    #[test]
    fn a_credential_that_needs_tls_never_travels_without() {
        let off = TlsSettings::new().mode(TlsMode::Disable).build().unwrap();
        let error = off.plan(&Config::new(), "db-1", false, true).err().map(|error| error.to_string());
        assert!(error.as_deref().is_some_and(|text| text.contains("TLS only")), "{error:?}");
        assert!(off.plan(&Config::new(), "/tmp", true, true).is_err());
        assert!(off.plan(&Config::new(), "db-1", false, false).is_ok());
    }

    #[cfg(not(feature = "_rustls"))]
    #[test]
    fn without_tls_compiled_in_the_error_names_the_features() {
        let error = TlsSettings::new().mode(TlsMode::Require).build().unwrap_err().to_string();
        assert!(error.contains("tls-ring") && error.contains("sslmode=require"), "{error}");
        let tls = TlsSettings::new().build().unwrap();
        let mut config = Config::new();
        let rds = "db.cluster-xyz.us-east-2.rds.amazonaws.com";
        assert_eq!(tls.plan(&config, rds, false, false).unwrap().ssl_mode, SslMode::Disable);
        config.ssl_mode(SslMode::Require);
        assert!(tls.plan(&config, rds, false, false).is_err());
    }

    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
    #[test]
    fn an_rds_name_gets_full_verification_and_others_what_libpq_gives_them() {
        let tls = TlsSettings::new().build().unwrap();
        let config = Config::new();
        assert_eq!(
            tls.mode(&config, "db.cluster-xyz.us-east-2.rds.amazonaws.com", false),
            TlsMode::VerifyFull
        );
        assert_eq!(tls.mode(&config, "db.example.com", false), TlsMode::Prefer);
        assert_eq!(tls.mode(&config, "db.example.com", true), TlsMode::VerifyFull);
        assert_eq!(tls.plan(&config, "db.example.com", false, false).unwrap().ssl_mode, SslMode::Prefer);
        assert_eq!(tls.plan(&config, "db.example.com", false, true).unwrap().ssl_mode, SslMode::Require);
    }
}
