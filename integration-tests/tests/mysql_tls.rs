//! TLS to MySQL-family servers: the name is verified although an address is dialled, and a password in clear text never
//! travels without it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![cfg(target_os = "linux")]

mod mysql_kit;

use std::net::SocketAddr;

use async_trait::async_trait;
use integration_tests::names::NameTable;
use integration_tests::{Flavour, MySqlCluster};
use mysql_kit::{connected, end, failed, within};
use wrapper_core::env::{Environment, Resolver};
use wrapper_mysql::{Connector, ConnectorBuilder, ErrorKind};

/// The cluster's names, and one that its certificate does not have.
#[derive(Debug)]
struct Names(NameTable, SocketAddr);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let address = self.0.lookup(host).unwrap_or(self.1.ip());
        Ok(vec![SocketAddr::new(address, port)])
    }
}

fn builder(cluster: &MySqlCluster, host: &str) -> ConnectorBuilder {
    let (app, names) = (cluster.app(), Names(cluster.names(), cluster.address(cluster.writer())));
    Connector::builder_at(host, cluster.port())
        .user(&app.user)
        .password(app.password)
        .dbname(&app.database)
        .environment(Environment::builder().resolver(names).build())
}

/// The host's name is verified while the resolver's address is dialled, before and after a failover; a name that the
/// certificate does not have, and an authority that nobody trusts, are refused; without TLS on the server the modes say
/// what happens.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_verified_though_an_address_is_dialled() {
    let names = ["*.cxyz.us-east-2.rds.amazonaws.com", "shop.cluster-cxyz.us-east-2.rds.amazonaws.com"];
    let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).expect("made");
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let builder_of = || MySqlCluster::builder().hash("cxyz").flavour(Flavour::Aurora);
    let cluster = builder_of().tls(&pem, key).start().await.expect("the cluster starts");
    let file = cluster.folder().join("ca.pem");
    std::fs::write(&file, &pem).expect("written");
    let file = file.to_string_lossy().into_owned();

    // An RDS name is verified without being told to.
    let endpoint = cluster.cluster_endpoint();
    let connector = builder(&cluster, &endpoint).set("ssl_ca", &file).build().expect("valid");
    assert!(connector.explain().contains("crypto provider"), "{}", connector.explain());
    let mut conn = connected(&connector).await;
    assert!(conn.is_secure());
    let cipher: Option<(String, String)> =
        conn.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.expect("asked");
    assert!(cipher.is_some_and(|(_, cipher)| !cipher.is_empty()));
    cluster.fail_over().await.expect("failed over");
    let error = failed(within("the call", conn.query_drop("DO 1")).await, "a call on a dead writer");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    assert!(conn.is_secure());
    drop(conn);
    end(connector).await;

    let other_name = builder(&cluster, "db.example.com").set("ssl_ca", &file);
    let strict = other_name.set("ssl_mode", "verify_identity").set("plugins", "").build().expect("valid");
    let error = failed(within("the connect", strict.connect()).await, "another name");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("ssl_mode"), "{error}");
    // Stricter than its name; see `TlsMode::VerifyCa`.
    let authority = builder(&cluster, &endpoint).set("ssl_ca", &file).set("plugins", "");
    let authority = authority.set("ssl_mode", "verify_ca").build().expect("valid");
    assert!(connected(&authority).await.is_secure());
    let untrusted = builder(&cluster, &endpoint).set("plugins", "").build().expect("valid");
    let error = failed(within("the connect", untrusted.connect()).await, "an unknown authority");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    cluster.stop().await;

    let plain = builder_of().start().await.expect("the cluster starts");
    let with = |mode: &str| {
        builder(&plain, &plain.cluster_endpoint())
            .set("plugins", "")
            .set("ssl_mode", mode)
            .build()
            .expect("valid")
    };
    assert!(!connected(&with("preferred")).await.is_secure());
    let error = failed(within("the connect", with("required").connect()).await, "TLS that is not there");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    // A password in clear text needs TLS, also where it is only preferred.
    let clear = builder(&plain, &plain.cluster_endpoint()).set("plugins", "").set("ssl_mode", "preferred");
    let clear = clear.set("enable_cleartext_plugin", "true").build().expect("valid");
    let error = failed(within("the connect", clear.connect()).await, "a clear password without TLS");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    plain.stop().await;
}
