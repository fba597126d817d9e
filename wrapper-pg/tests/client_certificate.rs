//! Client certificates against a real server that asks for one (`clientcert=verify-full`).
#![cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so")]
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::certificates::{NAME, certificates, client, openssl};
use common::{Fixed, PASSWORD, Server};
use wrapper_core::ErrorKind;
use wrapper_core::env::Environment;
use wrapper_pg::{Connector, ConnectorBuilder};

/// A server that lets in only those who show a certificate for their own user name, and its folder.
fn server() -> (Server, PathBuf) {
    let folder = OnceLock::new();
    let server = Server::start_with(|data| {
        certificates(data);
        let rule = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n";
        std::fs::write(data.join("pg_hba.conf"), rule).unwrap();
        let _ = folder.set(data.to_owned());
        vec!["ssl=on".into(), "ssl_ca_file=ca.crt".into()]
    });
    (server, folder.get().unwrap().clone())
}

fn builder(server: &Server, folder: &Path) -> ConnectorBuilder {
    Connector::builder_at(NAME, server.port)
        .user("postgres")
        .password(PASSWORD)
        .dbname("postgres")
        .set("wrapper_dialect", "pg")
        .set("sslrootcert", &folder.join("ca.crt").display().to_string())
        .environment(Environment::builder().resolver(Fixed(vec!["127.0.0.1".parse().unwrap()])).build())
}

/// What the server says of the certificate of the client's connection.
async fn subject(builder: ConnectorBuilder) -> wrapper_pg::Result<String> {
    let connector = builder.build()?;
    let client = connector.connect().await?;
    let sql = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await?;
    let subject = row.get(0);
    connector.shutdown().await;
    Ok(subject)
}

#[tokio::test]
async fn keys_of_every_form_are_shown_to_the_server() {
    let (server, folder) = server();
    let path = |name: &str| folder.join(name).display().to_string();
    client(&folder, "ec", "postgres", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    client(&folder, "rsa", "postgres", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    client(
        &folder,
        "stranger",
        "somebody",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    );
    client(&folder, "old", "postgres", &["-algorithm", "ED25519"]);
    openssl(&["ec", "-in", &path("ec.key"), "-out", &path("sec1.key")]);
    openssl(&["rsa", "-traditional", "-in", &path("rsa.key"), "-out", &path("pkcs1.key")]);
    for (key, mark) in [
        ("ec.key", "BEGIN PRIVATE KEY"),
        ("old.key", "BEGIN PRIVATE KEY"),
        ("rsa.key", "BEGIN PRIVATE KEY"),
        ("sec1.key", "BEGIN EC PRIVATE KEY"),
        ("pkcs1.key", "BEGIN RSA PRIVATE KEY"),
    ] {
        assert!(std::fs::read_to_string(folder.join(key)).unwrap().contains(mark), "{key}");
        let certificate = match key {
            "ec.key" | "sec1.key" => "ec.crt",
            "old.key" => "old.crt",
            _ => "rsa.crt",
        };
        let builder = builder(&server, &folder).set("sslcert", &path(certificate)).set("sslkey", &path(key));
        assert_eq!(subject(builder).await.unwrap(), "/CN=postgres", "{key}");
    }

    // The server's own refusals: no certificate, and another user's.
    let none = subject(builder(&server, &folder)).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Login, "{none}");
    let stranger =
        builder(&server, &folder).set("sslcert", &path("stranger.crt")).set("sslkey", &path("stranger.key"));
    let stranger = subject(stranger).await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Login, "{stranger}");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_when_the_connector_is_built() {
    let folder = std::env::temp_dir().join(format!("wrapper-pg-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    certificates(&folder);
    let ec = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    client(&folder, "one", "postgres", &ec);
    client(&folder, "other", "postgres", &ec);
    openssl(&[
        "pkey",
        "-aes256",
        "-passout",
        "pass:x",
        "-in",
        &path("one.key"),
        "-out",
        &path("pkcs8-locked.key"),
    ]);
    openssl(&[
        "ec",
        "-aes256",
        "-passout",
        "pass:x",
        "-in",
        &path("one.key"),
        "-out",
        &path("sec1-locked.key"),
    ]);
    std::fs::write(folder.join("nonsense"), "nothing of the kind").unwrap();
    let (one, nonsense) = (path("one.crt"), path("nonsense"));
    let rows = [
        (Some(&one), None, ErrorKind::Config, "without `sslkey`"),
        (None, Some(path("one.key")), ErrorKind::Config, "without `sslcert`"),
        (Some(&one), Some(path("other.key")), ErrorKind::Config, "do not go together"),
        (Some(&one), Some(path("absent")), ErrorKind::Config, "sslkey="),
        (Some(&one), Some(nonsense.clone()), ErrorKind::Config, "no usable private key"),
        (Some(&nonsense), Some(path("one.key")), ErrorKind::Config, "holds no certificate"),
        (Some(&one), Some(path("pkcs8-locked.key")), ErrorKind::Unsupported, "the key is encrypted"),
        (Some(&one), Some(path("sec1-locked.key")), ErrorKind::Unsupported, "the key is encrypted"),
    ];
    let base = || Connector::builder("db.example.com").user("app");
    for (certificate, key, kind, said) in rows {
        let mut builder = base();
        if let Some(certificate) = certificate {
            builder = builder.set("sslcert", certificate);
        }
        if let Some(key) = &key {
            builder = builder.set("sslkey", key);
        }
        let error = builder.build().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(said), "{text}");
        let folder = folder.display().to_string();
        assert!(text.contains(&folder), "the file is not named: {text}");
    }
    let error = base().set("sslpassword", "never-shown").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("`sslpassword`") && !error.to_string().contains("never-shown"),
        "{error}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
