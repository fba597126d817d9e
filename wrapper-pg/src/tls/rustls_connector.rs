//! rustls as the TLS of connections: configurations per mode, always with an explicit crypto provider.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;
use wrapper_core::{Error, Result};

use super::provider::{Chosen, choose};
use super::settings::ClientCertificate;
use super::{CryptoProvider, Handshake, Made, RootCertificates, TlsMode, client_certificate, roots};

/// What the server of a direct TLS connection insists on.
const ALPN: &[u8] = b"postgresql";

/// Connectors per mode, made when they are first needed.
pub(super) struct Rustls {
    chosen: Chosen,
    client: Option<Arc<SingleCertAndKey>>,
    /// The certificates of `sslrootcert`, read at once; `None` for the system's alone, which are read when needed.
    file: Option<Arc<RootCertStore>>,
    unverified: OnceLock<Arc<dyn Handshake>>,
    authority: OnceLock<Arc<dyn Handshake>>,
    full: OnceLock<Arc<dyn Handshake>>,
}

impl Rustls {
    pub(super) fn new(
        named: Option<CryptoProvider>,
        roots: Option<&RootCertificates>,
        client: Option<&ClientCertificate>,
    ) -> Result<Self> {
        let file = match roots {
            Some(RootCertificates::System) | None => None,
            Some(roots) => Some(Arc::new(roots::read(roots)?)),
        };
        let chosen = choose(named)?;
        let client = client.map(|files| client_certificate::read(files, &chosen.provider)).transpose()?;
        Ok(Self {
            chosen,
            client,
            file,
            unverified: OnceLock::new(),
            authority: OnceLock::new(),
            full: OnceLock::new(),
        })
    }

    /// Which crypto provider is used, and why.
    pub(super) fn provider_chosen(&self) -> &str {
        &self.chosen.why
    }

    pub(super) fn handshake(&self, mode: TlsMode) -> Result<Arc<dyn Handshake>> {
        let verify_authority = match mode {
            // libpq: who names an authority wants it checked.
            TlsMode::Require | TlsMode::Prefer => self.file.is_some(),
            TlsMode::VerifyCa => true,
            TlsMode::Disable | TlsMode::VerifyFull => false,
        };
        let (cell, checks) = match mode {
            TlsMode::VerifyFull => (&self.full, Checks::Name),
            _ if verify_authority => (&self.authority, Checks::Authority),
            _ => (&self.unverified, Checks::Nothing),
        };
        if let Some(made) = cell.get() {
            return Ok(Arc::clone(made));
        }
        let made: Arc<dyn Handshake> = Arc::new(Made(MakeRustlsConnect::new(self.config(checks)?)));
        Ok(Arc::clone(cell.get_or_init(|| made)))
    }

    fn config(&self, checks: Checks) -> Result<ClientConfig> {
        let provider = &self.chosen.provider;
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                Error::config("the crypto provider speaks no version of TLS").with_source(error)
            })?;
        let verified = match checks {
            Checks::Name => builder.with_root_certificates(self.roots()?),
            Checks::Authority | Checks::Nothing => {
                let chain = match checks {
                    Checks::Authority => {
                        let verifier =
                            WebPkiServerVerifier::builder_with_provider(self.roots()?, Arc::clone(provider));
                        Some(verifier.build().map_err(|error| {
                            Error::config("`sslrootcert` holds no usable certificate").with_source(error)
                        })?)
                    }
                    _ => None,
                };
                let algorithms = provider.signature_verification_algorithms;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { chain, algorithms }))
            }
        };
        let mut config = match &self.client {
            Some(client) => verified.with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(client)),
            None => verified.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        roots::system().map(Arc::new)
    }
}

/// What is verified of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    Nothing,
    Authority,
    Name,
}

/// Verifies less than rustls does by itself: the chain without the name, or that the server owns its key only.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at after the chain was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Rustls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rustls").finish_non_exhaustive()
    }
}

/// What to do about a certificate that was refused.
pub(super) fn advice(error: &(dyn StdError + 'static), host: &str) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref::<rustls::Error>() {
            return certificate_advice(reason, host);
        }
        // `io::Error::source` skips the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn certificate_advice(reason: &CertificateError, host: &str) -> Option<String> {
    match reason {
        CertificateError::UnknownIssuer => Some(format!(
            "the certificate of {host} was issued by an authority that is not trusted here. Amazon RDS and Aurora use \
             authorities of their own: download \
             https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem and set `sslrootcert` to its path, or to \
             `system,PATH` where an RDS Proxy is used too"
        )),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Some(format!(
            "the certificate that was shown is not for {host}; connect by a name that it is for, or set `sslmode` to \
             `verify-ca`, which does not compare names"
        )),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some(format!("the certificate of {host} has expired, or the clock of this machine is wrong"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_root_file_is_named() {
        let missing = RootCertificates::File("/nonexistent/bundle.pem".into());
        let error = Rustls::new(None, Some(&missing), None).unwrap_err().to_string();
        assert!(error.contains("sslrootcert=/nonexistent/bundle.pem"), "{error}");
    }
}
