//! The bare driver's configuration and TLS for a cluster of the user's own, from the URL that the wrapper has read.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;
use wrapper_core::config::Settings;

/// The driver's own part of the settings; TLS unless `sslmode=disable`, or unless the mode is left open and the host
/// is none of RDS'.
pub(crate) fn bare(settings: &Settings, host: &str) -> Result<(Config, Option<MakeRustlsConnect>), String> {
    let mut text = String::new();
    for (name, value) in settings.driver_parameters() {
        if !matches!(name, "sslmode" | "sslrootcert" | "tls_provider" | "hostaddr") {
            let value = value.expose().replace('\\', "\\\\").replace('\'', "\\'");
            text.push_str(&format!("{name}='{value}' "));
        }
    }
    let mut config: Config = text
        .parse()
        .map_err(|_| "--url: the bare driver does not understand one of its parameters".to_owned())?;
    let mode = settings.driver_parameter("sslmode").map(|value| value.expose().to_owned());
    let encrypted = match mode.as_deref() {
        Some("disable") => false,
        Some("prefer") | None => host.contains(".rds.amazonaws.com"),
        Some(_) => true,
    };
    if !encrypted {
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        return Ok((config, None));
    }
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let file = settings.driver_parameter("sslrootcert").map(|value| value.expose().to_owned());
    let tls = MakeRustlsConnect::new(client(file.as_deref().filter(|file| *file != "system"))?);
    Ok((config, Some(tls)))
}

fn client(file: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let failed = |error| format!("--url: `sslrootcert={file}` cannot be read: {error}");
            for certificate in CertificateDer::pem_file_iter(file).map_err(failed)? {
                let certificate = certificate.map_err(failed)?;
                roots.add(certificate).map_err(|error| format!("--url: `sslrootcert={file}`: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
