//! TLS against a real server.
#![cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so")]
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

mod common;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use common::certificates::{NAME, certificates};
use common::{Fixed, PASSWORD, Server, builder, deadline, text};
use wrapper_core::credentials::Credential;
use wrapper_core::driver::{ConnectTarget, DriverConnection, TransactionStatus};
use wrapper_core::env::Environment;
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};
use wrapper_pg::{CryptoProvider, PgConnection, RootCertificates, TlsMode, TlsSettings};

struct Secure {
    server: Server,
    authority: PathBuf,
}

fn server() -> Arc<Secure> {
    static SHARED: Mutex<Weak<Secure>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let folder = OnceLock::new();
        let server = Server::start_with(|data| {
            certificates(data);
            let _ = folder.set(data.to_owned());
            vec!["ssl=on".into()]
        });
        let secure = Arc::new(Secure { server, authority: folder.get().unwrap().join("ca.crt") });
        *shared = Arc::downgrade(&secure);
        secure
    })
}

fn settings() -> TlsSettings {
    TlsSettings::new()
}

impl Secure {
    fn trusting(&self) -> TlsSettings {
        settings().roots(RootCertificates::File(self.authority.clone()))
    }

    fn target(&self, name: &str) -> ConnectTarget {
        ConnectTarget::session(HostInfo::new(name, self.server.port, HostRole::Unknown))
    }

    async fn open(&self, name: &str, tls: TlsSettings) -> Result<Arc<PgConnection>> {
        self.open_with(name, tls, |_| ()).await
    }

    async fn open_with(
        &self,
        name: &str,
        tls: TlsSettings,
        change: impl FnOnce(&mut tokio_postgres::Config),
    ) -> Result<Arc<PgConnection>> {
        let mut config = self.server.config();
        change(&mut config);
        let environment = Environment::builder().resolver(Fixed(vec!["127.0.0.1".parse().unwrap()])).build();
        let driver = builder(config).environment(environment).tls(tls).build()?;
        driver.open(&self.target(name), deadline(10)).await
    }
}

async fn encrypted(connection: &PgConnection) -> bool {
    let on_server = text(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    assert_eq!(on_server.as_deref() == Some("t"), connection.is_secure());
    connection.is_secure()
}

#[tokio::test]
async fn an_rds_name_is_verified_in_full_by_default() {
    let secure = server();
    let connection = secure.open(NAME, secure.trusting()).await.unwrap();
    assert!(encrypted(&connection).await);
    // The tap hears through the encryption.
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
    connection.run_sql("BEGIN", deadline(5)).await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Open);
    connection.run_sql("nonsense", deadline(5)).await.unwrap_err();
    assert_eq!(connection.transaction_status(), TransactionStatus::Failed);
    connection.run_sql("ROLLBACK", deadline(5)).await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
    let rows = connection
        .fetch_text("SELECT repeat('Z', 40) FROM generate_series(1, 200000)", deadline(60))
        .await
        .unwrap();
    assert_eq!(rows.len(), 200_000);
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);

    let error = secure.open("other.xyz.us-east-2.rds.amazonaws.com", secure.trusting()).await.unwrap_err();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Config, ErrorClass::Other));
    assert!(error.to_string().contains("is not for other.xyz.us-east-2.rds.amazonaws.com"), "{error}");
}

#[tokio::test]
async fn every_crypto_provider_that_is_compiled_in_talks_to_a_server() {
    let secure = server();
    let mut talked = 0;
    for (provider, compiled) in [
        (CryptoProvider::Ring, cfg!(feature = "tls-ring")),
        (CryptoProvider::AwsLcRs, cfg!(feature = "tls-aws-lc-rs")),
    ] {
        match secure.open(NAME, secure.trusting().provider(provider)).await {
            Ok(connection) => {
                assert!(compiled && encrypted(&connection).await);
                talked += 1;
            }
            Err(error) => {
                assert!(
                    !compiled && error.to_string().contains(&format!("`tls_provider={provider}`")),
                    "{error}"
                );
            }
        }
    }
    assert!(talked > 0);
    let named = if cfg!(feature = "tls-aws-lc-rs") { "aws-lc-rs" } else { "ring" };
    let driver = secure.server.builder().tls(secure.trusting()).build().unwrap();
    assert!(driver.tls().starts_with(&format!("rustls, crypto provider {named}, the ")), "{}", driver.tls());
}

#[tokio::test]
async fn an_address_does_not_replace_the_name() {
    let secure = server();
    let driver = secure.server.builder().tls(secure.trusting()).build().unwrap();
    let mut target = secure.target(NAME);
    target.address = "127.0.0.1".parse().ok();
    let connection = driver.open(&target, deadline(10)).await.unwrap();
    assert!(encrypted(&connection).await);
    let mut target = secure.target("wrong.xyz.us-east-2.rds.amazonaws.com");
    target.address = "127.0.0.1".parse().ok();
    driver.open(&target, deadline(10)).await.unwrap_err();
}

#[tokio::test]
async fn an_unknown_authority_is_explained() {
    let secure = server();
    let error = match secure.open(NAME, settings().roots(RootCertificates::System)).await {
        Err(error) if error.to_string().contains("no trusted certificates") => return,
        other => other.unwrap_err(),
    };
    let said = error.to_string();
    assert!(
        said.contains("sslrootcert") && said.contains("global-bundle.pem") && said.contains(NAME),
        "{said}"
    );
    assert_eq!((error.kind(), error.class()), (ErrorKind::Config, ErrorClass::Other));
    assert!(!said.contains(PASSWORD));
}

#[tokio::test]
async fn the_modes_verify_what_they_say() {
    let secure = server();
    let other = "db.example.com";
    let unverified = secure.open(other, settings().mode(TlsMode::Require)).await.unwrap();
    assert!(encrypted(&unverified).await);
    let preferred = secure.open(other, settings()).await.unwrap();
    assert!(encrypted(&preferred).await);
    let authority_only = secure.open(other, secure.trusting().mode(TlsMode::VerifyCa)).await.unwrap();
    assert!(encrypted(&authority_only).await);
    secure.open(other, secure.trusting().mode(TlsMode::VerifyFull)).await.unwrap_err();
    let none = secure.open(NAME, settings().mode(TlsMode::Disable)).await.unwrap();
    assert!(!encrypted(&none).await);
}

#[tokio::test]
async fn channel_binding_works_through_the_tap() {
    let secure = server();
    let connection = secure
        .open_with(NAME, secure.trusting(), |config| {
            config.channel_binding(tokio_postgres::config::ChannelBinding::Require);
        })
        .await
        .unwrap();
    assert!(encrypted(&connection).await);
}

#[tokio::test]
async fn a_server_without_tls() {
    let plain = Server::shared();
    let target = ConnectTarget::session(HostInfo::new("127.0.0.1", plain.port, HostRole::Unknown));
    let open =
        async |tls: TlsSettings| plain.builder().tls(tls).build().unwrap().open(&target, deadline(5)).await;
    let connection = open(settings().mode(TlsMode::Prefer)).await.unwrap();
    assert!(!connection.is_secure());
    connection.run_sql("BEGIN", deadline(5)).await.unwrap();
    assert_eq!(connection.transaction_status(), TransactionStatus::Open, "behind the lone answer byte");
    let error = open(settings().mode(TlsMode::Require)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("server does not support TLS"), "{error}");
}

#[tokio::test]
async fn kill_and_cancel_work_over_tls() {
    let secure = server();
    let connection = secure.open(NAME, secure.trusting()).await.unwrap();
    let cancel = connection.cancel_token();
    let call = connection.fetch_text("SELECT pg_sleep(30)", deadline(20));
    let (answer, ()) = tokio::join!(call, async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        cancel.cancel(deadline(5)).await.unwrap();
    });
    assert_eq!(answer.unwrap_err().sqlstate(), Some("57014"));
    let call = connection.fetch_text("SELECT pg_sleep(30)", deadline(20));
    let start = std::time::Instant::now();
    let (answer, ()) = tokio::join!(call, async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        connection.kill(Error::new(ErrorKind::HostSilent, "silent"));
    });
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::HostSilent);
    assert!(start.elapsed() < std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn authorities_come_from_folders_and_texts_too() {
    let secure = server();
    let pem = std::fs::read_to_string(&secure.authority).unwrap();
    let folder = secure.authority.parent().unwrap().to_owned();
    for roots in [RootCertificates::Pem(pem), RootCertificates::File(folder)] {
        let connection = secure.open(NAME, settings().roots(roots)).await.unwrap();
        assert!(encrypted(&connection).await);
    }
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    for (roots, expected) in [
        (RootCertificates::Pem("nothing".to_owned()), "holds no certificate"),
        (RootCertificates::File(sources), "no file whose name ends in"),
    ] {
        let config = secure.server.config();
        let error = builder(config).tls(settings().roots(roots)).build().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("`sslrootcert=") && error.to_string().contains(expected),
            "{error}"
        );
    }
    let both: RootCertificates = "system,/etc/rds/global-bundle.pem".parse().unwrap();
    assert_eq!(both.to_string(), "system,/etc/rds/global-bundle.pem");
}

#[tokio::test]
async fn a_token_travels_over_tls_only() {
    let plain = Server::shared();
    let mut config = plain.config();
    config.password("not-the-password");
    let target = plain.target();
    let open = async |tls: TlsSettings, target: &ConnectTarget| {
        let mut target = target.clone();
        target.credential = Some(Credential::new(PASSWORD).over_tls());
        builder(config.clone()).tls(tls).build().unwrap().open(&target, deadline(5)).await
    };
    for mode in [TlsMode::Disable, TlsMode::Prefer] {
        let error = open(settings().mode(mode), &target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{mode}: {error}");
        assert!(!error.to_string().contains(PASSWORD));
    }
    let secure = server();
    let mut target = secure.target(NAME);
    target.address = "127.0.0.1".parse().ok();
    let connection = open(secure.trusting(), &target).await.unwrap();
    assert!(encrypted(&connection).await);
}

#[tokio::test]
async fn a_connector_of_the_users_is_taken() {
    /// Refuses, and so shows that it was asked and for which name.
    #[derive(Clone)]
    struct Refuses;
    impl tokio_postgres::tls::MakeTlsConnect<wrapper_pg::Socket> for Refuses {
        type Stream = tokio_postgres::tls::NoTlsStream;
        type TlsConnect = tokio_postgres::NoTls;
        type Error = std::io::Error;
        fn make_tls_connect(&mut self, name: &str) -> std::io::Result<tokio_postgres::NoTls> {
            Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("asked for {name}")))
        }
    }
    let secure = server();
    let error = secure.open(NAME, TlsSettings::new().connector(Refuses)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("asked for {NAME}")), "{error}");
    // "Prefer" does without it.
    let connection = secure.open("db.example.com", TlsSettings::new().connector(Refuses)).await.unwrap();
    assert!(!encrypted(&connection).await);
}
