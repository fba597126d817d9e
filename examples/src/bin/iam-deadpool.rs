//! A pool of deadpool whose connections log in with IAM tokens: each new connection with one that is good, before and after
//! half an hour in which nobody connected.
//!
//! Runs anywhere: the cluster is simulated in this process, and checks each token as RDS does.
//!
//! ```text
//! cargo run -p examples --features aws,deadpool --bin iam-deadpool
//! ```
//!
//! On a cluster of your own, with the AWS identity of your shell (`AWS_PROFILE`, a role, …):
//!
//! ```text
//! cargo run -p examples --features aws,deadpool --bin iam-deadpool -- \
//!   'postgres://app@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?plugins=failover,efm,iam&sslrootcert=global-bundle.pem'
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program runs in real time")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use deadpool::managed::Object;
use examples::TableResolver;
use integration_tests::sim::{SimCluster, TokenCheck};
use wrapper_core::env::Environment;
use wrapper_pg::plugins::iam::{Credentials, Iam};
use wrapper_pg::pool::Manager;
use wrapper_pg::{Connector, RootCertificates, TlsSettings};

type Pool = deadpool::managed::Pool<Manager>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(url) => on_a_cluster_of_your_own(&url).await,
        None => on_a_simulated_cluster().await,
    }
}

async fn on_a_cluster_of_your_own(url: &str) -> Result<(), Box<dyn Error>> {
    let connector = Connector::from_url(url)?;
    let pool = Pool::builder(Manager::new(connector.clone())).max_size(5).build()?;
    let client = pool.get().await?;
    let row = client.query_one("SELECT current_user::text", &[]).await?;
    println!("logged in as {} on {}", row.get::<_, String>(0), client.host().short_name());
    drop(client);
    connector.shutdown().await;
    Ok(())
}

async fn on_a_simulated_cluster() -> Result<(), Box<dyn Error>> {
    // An application has none of this: the keys are those of its AWS identity, RDS does the checking, and the clock is the
    // machine's.
    let (id, secret) = ("AKIDEXAMPLE", "not-a-real-key");
    let check = TokenCheck::new(id, secret, "us-east-2");
    let ahead = Arc::new(AtomicU64::new(0));
    let clock = {
        let ahead = Arc::clone(&ahead);
        move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::SeqCst))
    };
    let server_clock = clock.clone();
    let cluster = SimCluster::builder()
        .tls(true)
        .passwords(move |login| check.verify(login, server_clock()).is_ok())
        .start()
        .await?;
    let authority = RootCertificates::Pem(cluster.ca_pem().unwrap_or_default().to_owned());

    let resolver = TableResolver(cluster.names().clone());
    let connector = Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .user("app")
        .dbname("shop")
        .tls(TlsSettings::new().roots(authority))
        .environment(Environment::builder().resolver(resolver).wall_clock(clock).build())
        .plugin(Iam::new().credentials(Credentials::new(id, secret, None, None, "example")))
        .build()?;
    let pool = Pool::builder(Manager::new(connector.clone())).max_size(5).build()?;
    for hour in 0..4 {
        let client = pool.get().await?;
        client.batch_execute("SELECT 1").await?;
        println!("hour {hour}: logged in on {}", client.host().short_name());
        // Out of the pool, so that the next checkout opens another one.
        drop(Object::take(client));
        ahead.fetch_add(3600, Ordering::SeqCst);
    }
    println!("each connection was let in");
    connector.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}
