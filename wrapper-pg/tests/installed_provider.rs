//! The crypto provider that an application has installed for its process is the one that is used.
#![cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use rustls::crypto::CryptoProvider;
use wrapper_pg::Connector;

// One test in this program: what is installed holds for the whole process.
#[test]
fn an_installed_provider_is_used_unless_another_one_is_named() {
    #[cfg(feature = "tls-ring")]
    let (provider, name) = (rustls::crypto::ring::default_provider(), "ring");
    #[cfg(not(feature = "tls-ring"))]
    let (provider, name) = (rustls::crypto::aws_lc_rs::default_provider(), "aws-lc-rs");
    let build = |text: &str| Connector::from_url(&format!("host=db.example.com {text}")).unwrap().explain();
    let before = build("");
    assert!(before.contains("compiled in") && !before.contains("installed"), "{before}");
    CryptoProvider::install_default(provider).unwrap();
    let after = build("");
    assert!(after.contains("crypto provider the one that the application has installed"), "{after}");
    let named = build(&format!("tls_provider={name}"));
    assert!(named.contains(&format!("crypto provider {name}, named by `tls_provider`")), "{named}");
    assert!(build("sslmode=disable").contains("TLS: off by `sslmode=disable`"));
}
