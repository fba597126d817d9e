//! Logins: passwords, TLS, refusals.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use integration_tests::sim::{Login, SimCluster, SimError};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Result, cluster, config, connect, connect_with, failed, one, state};

#[tokio::test]
async fn passwords_are_asked_for_and_can_be_rotated() -> Result<()> {
    for login in [Login::Cleartext, Login::Scram] {
        let cluster = SimCluster::builder().nodes(1).login(login).user("app", "first").start().await?;
        let mut config = config(&cluster, 0)?;
        let good = connect_with(config.password("first")).await?;
        let error = failed(connect_with(config.password("wrong")).await);
        assert_eq!(
            (state(&error), error.as_db_error().map(|e| e.severity())),
            ("28P01", Some("FATAL")),
            "{login:?}"
        );
        assert_eq!(state(&failed(connect_with(config.clone().user("nobody")).await)), "28P01", "{login:?}");
        // As long as an IAM token.
        let token =
            format!("shop-1.xyz.us-east-2.rds.amazonaws.com:5432/?Action=connect&X-Amz={}", "a".repeat(1200));
        cluster.set_password("app", &token);
        assert_eq!(state(&failed(connect_with(config.password("first")).await)), "28P01", "{login:?}");
        connect_with(config.password(&token)).await?;
        assert_eq!(one(&good, "SELECT current_user").await?.as_deref(), Some("app"));
    }
    let error = SimCluster::builder().login(Login::Scram).start().await.err();
    assert!(matches!(error, Some(SimError::Setting { setting: "login", .. })), "{error:?}");
    Ok(())
}

fn tls(ca_pem: &str) -> Result<MakeRustlsConnect> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[tokio::test]
async fn tls_certificates_carry_the_endpoint_names() -> Result<()> {
    let cluster =
        SimCluster::builder().require_tls(true).login(Login::Scram).user("app", "pw").start().await?;
    let tls = tls(cluster.ca_pem().ok_or("no certificate")?)?;
    let mut config = config(&cluster, 0)?;
    config.password("pw");
    assert_eq!(
        state(&failed(connect_with(config.clone().ssl_mode(tokio_postgres::config::SslMode::Disable)).await)),
        "28000"
    );
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    for name in [cluster.cluster_endpoint(), cluster.reader_endpoint(), cluster.instance_endpoint(0)?] {
        let (client, connection) = config.clone().host(&name).connect(tls.clone()).await?;
        tokio::spawn(connection);
        assert_eq!(one(&client, "SELECT 1").await?.as_deref(), Some("1"), "{name}");
    }
    let error = failed(config.clone().host("db.example.com").connect(tls).await.map(drop));
    assert!(error.source().is_some_and(|cause| cause.to_string().contains("certificate")), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn refused_and_rejected_logins_leave_open_sessions_alone() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    let config = config(&cluster, 0)?;
    cluster.refuse(0).await?;
    assert!(failed(connect_with(&config).await).code().is_none());
    assert_eq!(one(&client, "SELECT 1").await?.as_deref(), Some("1"));
    cluster.heal(0).await?;
    cluster.reject_logins(0, Some(("57P03", "the database system is starting up")))?;
    assert_eq!(state(&failed(connect_with(&config).await)), "57P03");
    cluster.heal(0).await?;
    cluster.set_max_connections(0, 1)?;
    assert_eq!(state(&failed(connect_with(&config).await)), "53300");
    cluster.set_max_connections(0, 2)?;
    connect_with(&config).await?;
    cluster.terminate_sessions(0)?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(client.is_closed());
    Ok(())
}
