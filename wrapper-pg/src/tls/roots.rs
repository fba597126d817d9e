//! Whom to trust: certificates of authorities from the system, files, folders and texts.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use wrapper_core::{Error, Result};

use super::RootCertificates;

/// Reads all that `roots` names.
///
/// # Errors
/// A configuration error that names `sslrootcert`: a file that cannot be read, one without certificates, an empty store.
pub(super) fn read(roots: &RootCertificates) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    add(roots, &mut store)?;
    Ok(store)
}

/// The system's store.
///
/// # Errors
/// It is empty.
pub(super) fn system() -> Result<RootCertStore> {
    read(&RootCertificates::System)
}

fn add(roots: &RootCertificates, store: &mut RootCertStore) -> Result<()> {
    match roots {
        RootCertificates::System => add_system(store),
        RootCertificates::File(path) if path.is_dir() => add_folder(path, store),
        RootCertificates::File(path) => add_file(path, store),
        RootCertificates::Pem(text) => {
            let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
            add_all(&"the text given in code", certificates, store)
        }
        RootCertificates::SystemAnd(more) => {
            add_system(store)?;
            add(more, store)
        }
    }
}

fn add_system(store: &mut RootCertStore) -> Result<()> {
    let loaded = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(loaded.certs);
    if added > 0 {
        return Ok(());
    }
    let error = Error::config(
        "the system has no trusted certificates; set `sslrootcert` to a file of certificates in PEM form",
    );
    Err(match loaded.errors.into_iter().next() {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

fn add_file(path: &Path, store: &mut RootCertStore) -> Result<()> {
    let shown = path.display();
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(&shown, "the file could not be read").with_source(error))?;
    add_all(&shown, certificates, store)
}

fn add_folder(folder: &Path, store: &mut RootCertStore) -> Result<()> {
    let shown = folder.display();
    let failed = |error: std::io::Error| wrong(&shown, "the folder could not be read").with_source(error);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "pem" || end == "crt") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(wrong(&shown, "the folder has no file whose name ends in `.pem` or `.crt`"));
    }
    files.iter().try_for_each(|file| add_file(file, store))
}

fn add_all<'a, E>(
    shown: &dyn std::fmt::Display,
    certificates: impl Iterator<Item = std::result::Result<CertificateDer<'a>, E>>,
    store: &mut RootCertStore,
) -> Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let before = store.len();
    for certificate in certificates {
        let certificate =
            certificate.map_err(|error| wrong(shown, "the file is damaged").with_source(error))?;
        let added = store.add(certificate);
        added.map_err(|error| wrong(shown, "a certificate is not usable").with_source(error))?;
    }
    if store.len() == before {
        return Err(wrong(shown, "the file holds no certificate"));
    }
    Ok(())
}

fn wrong(shown: &dyn std::fmt::Display, why: &str) -> Error {
    Error::config(format!(
        "`sslrootcert={shown}`: {why}; expected certificates in PEM form, such as those of the RDS global bundle"
    ))
}
