//! TLS to the identity provider.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use wrapper_core::{Error, Result};

/// Whom to trust.
#[derive(Debug)]
pub(super) struct Trust {
    verify: bool,
    given: RootCertStore,
}

impl Trust {
    /// As `ssl_secure` and `idp_ssl_root_cert` say, and certificates in PEM form that were given in code.
    ///
    /// # Errors
    /// A file that cannot be read, one without certificates.
    pub(super) fn new(verify: bool, file: Option<&str>, pem: Option<&str>) -> Result<Self> {
        let mut given = RootCertStore::empty();
        if let Some(path) = file {
            let wrong = |why: &str| {
                Error::config(format!(
                    "`idp_ssl_root_cert={path}`: {why}; expected a file of certificates in PEM form"
                ))
            };
            let found = CertificateDer::pem_file_iter(path)
                .map_err(|error| wrong("the file could not be read").with_source(error))?;
            add(&mut given, found, wrong)?;
        }
        if let Some(text) = pem {
            let wrong =
                |why: &str| Error::config(format!("the certificates for the identity provider: {why}"));
            add(&mut given, CertificateDer::pem_slice_iter(text.as_bytes()), wrong)?;
        }
        Ok(Self { verify, given })
    }

    /// Reads the system's certificates too; ring does the cryptography, as for AWS's own services.
    ///
    /// # Errors
    /// There is no certificate to trust.
    pub(super) fn connector(&self) -> Result<TlsConnector> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(
                |error| Error::config("the crypto provider speaks no version of TLS").with_source(error),
            )?;
        let mut config = if self.verify {
            builder.with_root_certificates(self.roots()?).with_no_client_auth()
        } else {
            let nothing = Arc::new(Nothing(algorithms));
            builder.dangerous().with_custom_certificate_verifier(nothing).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut store = self.given.clone();
        let system = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(system.certs);
        if store.is_empty() {
            return Err(Error::config(
                "the system has no trusted certificates; set `idp_ssl_root_cert` to a file of certificates in PEM form",
            ));
        }
        Ok(store)
    }
}

fn add<'a, E: std::error::Error + Send + Sync + 'static>(
    store: &mut RootCertStore,
    found: impl Iterator<Item = std::result::Result<CertificateDer<'a>, E>>,
    wrong: impl Fn(&str) -> Error,
) -> Result<()> {
    let before = store.len();
    for certificate in found {
        let certificate = certificate.map_err(|error| wrong("it is damaged").with_source(error))?;
        store.add(certificate).map_err(|error| wrong("a certificate is not usable").with_source(error))?;
    }
    if store.len() == before { Err(wrong("there is no certificate in it")) } else { Ok(()) }
}

/// For `ssl_secure=false`: verifies that the server owns the key of the certificate that it shows, whoever it is.
#[derive(Debug)]
struct Nothing(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Nothing {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// What is wrong with the certificate, and what to do; `None` when that is not what failed.
pub(super) fn advice(error: &std::io::Error, host: &str) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(reason) = inner else { return None };
    Some(match reason {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate that was shown is not for {host}; set `idp_endpoint` to a name that it is for"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired, or the clock of this machine is wrong")
        }
        _ => format!(
            "the certificate of {host} was issued by an authority that is not trusted here; set `idp_ssl_root_cert` to a \
             file with the certificate of that authority, or, for a test only, `ssl_secure=false`"
        ),
    })
}
