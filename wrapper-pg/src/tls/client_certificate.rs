//! The client's own certificate and key, read from files.

use std::path::Path;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider as Provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use wrapper_core::{Error, ErrorKind, Result};

use super::settings::ClientCertificate;

/// Reads a certificate with its chain and its key, and checks that they belong together.
///
/// # Errors
/// A configuration error that names the setting and its file; [`ErrorKind::Unsupported`] for an encrypted key.
pub(super) fn read(files: &ClientCertificate, provider: &Provider) -> Result<Arc<SingleCertAndKey>> {
    let chain = chain(&files.certificate)?;
    let key = key(&files.key)?;
    let unusable = |what: &str, error: rustls::Error| {
        Error::config(format!(
            "`sslcert={}` and `sslkey={}`: {what}; expected the private key of the first certificate in the file, RSA, \
             ECDSA or Ed25519",
            files.certificate.display(),
            files.key.display()
        ))
        .with_source(error)
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| unusable("the key cannot be used", error))?;
    let certified = CertifiedKey::new(chain, key);
    // What cannot be compared, such as a certificate of version 1, is the server's to judge.
    if let Err(error @ rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) =
        certified.keys_match()
    {
        return Err(unusable("they do not go together", error));
    }
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |why: &str| {
        Error::config(format!(
            "`sslcert={}`: {why}; expected a file of certificates in PEM form, the client's first",
            path.display()
        ))
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong("the file could not be read").with_source(error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong("the file is damaged").with_source(error))?;
    if certificates.is_empty() {
        return Err(wrong("the file holds no certificate"));
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let wrong = |why: &str| {
        Error::config(format!(
            "`sslkey={}`: {why}; expected a file with a private key in PEM form (PKCS#8, PKCS#1 or SEC1)",
            path.display()
        ))
    };
    let text = std::fs::read(path).map_err(|error| wrong("the file could not be read").with_source(error))?;
    if is_encrypted(&text) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`sslkey={}`: the key is encrypted, which is not supported; decrypt it with `openssl pkey -in FILE -out \
                 NEW_FILE`, protect the new file by its permissions, and set `sslkey` to it",
                path.display()
            ),
        ));
    }
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| wrong("the file holds no usable private key").with_source(error))
}

/// Whether a PEM file says of itself that its key is encrypted, in the form of PKCS#8 or in the older one.
fn is_encrypted(pem: &[u8]) -> bool {
    let says = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    says(b"BEGIN ENCRYPTED PRIVATE KEY") || says(b"Proc-Type: 4,ENCRYPTED")
}
