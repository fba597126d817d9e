//! Log in with IAM tokens: no password anywhere, before and after a failover.
//!
//! Runs anywhere: the cluster is simulated in this process, and checks each token as RDS does.
//!
//! ```text
//! cargo run -p examples --features aws --bin iam-pg
//! ```
//!
//! On a cluster of your own, with the AWS identity of your shell (`AWS_PROFILE`, a role, …):
//!
//! ```text
//! cargo run -p examples --features aws --bin iam-pg -- \
//!   'postgres://app@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?plugins=failover,efm,iam&sslrootcert=global-bundle.pem'
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program runs in real time")]

use std::error::Error;
use std::time::SystemTime;

use examples::TableResolver;
use integration_tests::sim::{SimCluster, TokenCheck};
use wrapper_core::env::Environment;
use wrapper_pg::plugins::iam::{Credentials, Iam};
use wrapper_pg::{Connector, ErrorKind, RootCertificates, TlsSettings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(url) => on_a_cluster_of_your_own(&url).await,
        None => on_a_simulated_cluster().await,
    }
}

async fn on_a_cluster_of_your_own(url: &str) -> Result<(), Box<dyn Error>> {
    let connector = Connector::from_url(url)?;
    let client = connector.connect().await?;
    let row = client.query_one("SELECT current_user::text", &[]).await?;
    println!("logged in as {} on {}", row.get::<_, String>(0), client.host().short_name());
    connector.shutdown().await;
    Ok(())
}

async fn on_a_simulated_cluster() -> Result<(), Box<dyn Error>> {
    // An application has none of this: the keys are those of its AWS identity, and RDS does the checking.
    let (id, secret) = ("AKIDEXAMPLE", "not-a-real-key");
    let check = TokenCheck::new(id, secret, "us-east-2");
    let cluster = SimCluster::builder()
        .tls(true)
        .passwords(move |login| check.verify(login, SystemTime::now()).is_ok())
        .start()
        .await?;
    let authority = RootCertificates::Pem(cluster.ca_pem().unwrap_or_default().to_owned());

    let connector = Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .user("app")
        .dbname("shop")
        .tls(TlsSettings::new().roots(authority))
        .environment(Environment::builder().resolver(TableResolver(cluster.names().clone())).build())
        .plugin(Iam::new().credentials(Credentials::new(id, secret, None, None, "example")))
        .build()?;
    let client = connector.connect().await?;
    client.batch_execute("CREATE TABLE orders (id bigint PRIMARY KEY)").await?;
    println!("logged in on {} with a token", client.host().short_name());

    cluster.fail_over().await?;
    while let Err(error) = client.execute("INSERT INTO orders VALUES (1)", &[]).await {
        if error.kind() != ErrorKind::FailoverSucceeded || !error.outcome().is_not_applied() {
            return Err(error.into());
        }
    }
    println!("logged in on {} with a token of its own", client.host().short_name());
    connector.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}
