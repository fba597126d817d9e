//! Certificates: an authority of the cluster's own, and a server certificate with all its host names.
//!
//! What may not live here: which connections must use TLS (`login.rs`).

use std::sync::Arc;

use pgwire::tokio::TlsAcceptor;
use pgwire::tokio::tokio_rustls::rustls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::SimError;

/// What the servers need for TLS, and what clients need to trust them.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes an authority and a server certificate for these host names.
    ///
    /// # Errors
    /// [`SimError::Tls`] when a name cannot stand in a certificate.
    pub(crate) fn new(names: Vec<String>) -> Result<Self, SimError> {
        let refused = |error: rcgen::Error| SimError::Tls(error.to_string());
        let mut authority = CertificateParams::new(Vec::new()).map_err(refused)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "Simulated cluster CA");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(refused)?);
        let authority = authority.map_err(refused)?;

        let mut server = CertificateParams::new(names).map_err(refused)?;
        server.distinguished_name.push(DnType::CommonName, "Simulated cluster server");
        let key = KeyPair::generate().map_err(refused)?;
        let certificate = server.signed_by(&key, &authority).map_err(refused)?;

        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let refused = |error: rustls::Error| SimError::Tls(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(refused)?;
        // Direct TLS (`sslnegotiation=direct`) is refused without it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem: authority.pem() })
    }
}
