//! Log in with a secret that is rotated while the service runs: no restart, no refused connect.
//!
//! Runs anywhere: the cluster and AWS Secrets Manager are simulated in this process.
//!
//! ```text
//! cargo run -p examples --features aws --bin secrets-rotation
//! ```
//!
//! On a cluster of your own, with the AWS identity of your shell (`AWS_PROFILE`, a role, …); rotate the secret meanwhile:
//!
//! ```text
//! cargo run -p examples --features aws --bin secrets-rotation -- \
//!   'postgres://db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?plugins=failover,efm,secrets_manager&secrets_manager_secret_id=shop/app&secrets_manager_region=us-east-2&sslrootcert=global-bundle.pem'
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program runs in real time")]

use std::error::Error;
use std::time::Duration;

use examples::TableResolver;
use integration_tests::secrets::{CURRENT, PENDING, SecretsServer};
use integration_tests::sim::{Login, SimCluster};
use wrapper_core::env::Environment;
use wrapper_pg::plugins::secrets_manager::{Credentials, SecretsManager};
use wrapper_pg::{Connector, RootCertificates, TlsSettings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(url) => on_a_cluster_of_your_own(&url).await,
        None => on_a_simulated_cluster().await,
    }
}

async fn on_a_cluster_of_your_own(url: &str) -> Result<(), Box<dyn Error>> {
    let connector = Connector::from_url(url)?;
    for round in 1..=60 {
        let client = connector.connect().await?;
        let row = client.query_one("SELECT current_user::text", &[]).await?;
        println!("{round}: logged in as {}", row.get::<_, String>(0));
        drop(client);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    connector.shutdown().await;
    Ok(())
}

async fn on_a_simulated_cluster() -> Result<(), Box<dyn Error>> {
    let cluster = SimCluster::builder().tls(true).login(Login::Scram).user("app", "first").start().await?;
    let service = SecretsServer::start().await?;
    service.put_login("shop/app", CURRENT, "app", "first");
    let authority = RootCertificates::Pem(cluster.ca_pem().unwrap_or_default().to_owned());
    let secret = SecretsManager::new()
        .secret("shop/app")
        .region("us-east-2")
        .endpoint(&service.url())
        .credentials(Credentials::new("AKIDEXAMPLE", "not-a-real-key", None, None, "example"));
    let connector = Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .dbname("shop")
        .tls(TlsSettings::new().roots(authority))
        .environment(Environment::builder().resolver(TableResolver(cluster.names().clone())).build())
        .plugin(secret)
        .build()?;
    drop(connector.connect().await?);
    println!("logged in with the first password");

    // What a rotation function does, in its order.
    service.put_login("shop/app", PENDING, "app", "second");
    cluster.set_password("app", "second");
    drop(connector.connect().await?);
    println!("logged in between the change in the database and the end of the rotation");
    service.put_login("shop/app", CURRENT, "app", "second");
    service.remove("shop/app", PENDING);
    drop(connector.connect().await?);
    println!("logged in with the second password, after {} requests", service.requests().len());
    connector.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}
