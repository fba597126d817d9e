//! A plain `sqlx::PgPool` that logs in with IAM tokens: no password anywhere, before and after a failover, and half an hour
//! later.
//!
//! Runs anywhere: the cluster is simulated in this process, and checks each token as RDS does.
//!
//! ```text
//! cargo run -p examples --features aws,sqlx --bin iam-sqlx
//! ```
//!
//! On a cluster of your own, with the AWS identity of your shell (`AWS_PROFILE`, a role, …):
//!
//! ```text
//! cargo run -p examples --features aws,sqlx --bin iam-sqlx -- \
//!   'postgres://app@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?sslmode=verify-full&sslrootcert=global-bundle.pem'
//! ```
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program runs in real time")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use integration_tests::sim::{SimCluster, TokenCheck};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use wrapper_core::env::Environment;
use wrapper_sqlx::plugins::iam::{Credentials, Iam};
use wrapper_sqlx::postgres::PoolBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(url) => on_a_cluster_of_your_own(&url).await,
        None => on_a_simulated_cluster().await,
    }
}

async fn on_a_cluster_of_your_own(url: &str) -> Result<(), Box<dyn Error>> {
    let builder = PoolBuilder::new(PgPoolOptions::new().max_connections(5), url.parse()?);
    let (pool, handle) = builder.plugin(Iam::new()).connect().await?;
    let user: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&pool).await?;
    println!("logged in as {user}");
    handle.shutdown().await;
    Ok(())
}

async fn on_a_simulated_cluster() -> Result<(), Box<dyn Error>> {
    // An application has none of this: the keys are those of its AWS identity, RDS does the checking, and the clock is the
    // machine's.
    let _ = rustls::crypto::ring::default_provider().install_default();
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
    let options = PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username("app")
        .database("shop")
        .ssl_mode(PgSslMode::VerifyCa)
        .ssl_root_cert_from_pem(cluster.ca_pem().unwrap_or_default().as_bytes().to_vec());
    let names = cluster.names().clone();

    let (pool, handle) = PoolBuilder::new(PgPoolOptions::new().max_connections(5), options)
        .reach(move |host, options| match names.lookup(host.host()) {
            Some(address) => options.host(&address.to_string()),
            None => options,
        })
        .environment(Environment::builder().wall_clock(clock).build())
        .plugin(Iam::new().credentials(Credentials::new(id, secret, None, None, "example")))
        .connect()
        .await?;
    sqlx::query("CREATE TABLE orders (id bigint PRIMARY KEY)").execute(&pool).await?;
    println!("logged in with a token");

    // Half an hour of a process that was stopped: the token in the pool's options has run out. `handle.acquire` lets no
    // refused login through; the pool's own acquire follows within a quarter of a second.
    ahead.store(1800, Ordering::SeqCst);
    drop(handle.acquire().await?.detach());
    println!("logged in half an hour later");

    cluster.fail_over().await?;
    let mut connection = loop {
        // A writer that has just gone fails an acquire as in any pool.
        match handle.acquire().await {
            Ok(connection) => break connection,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    sqlx::query("INSERT INTO orders VALUES (1)").execute(&mut *connection).await?;
    println!("logged in on the new writer with a token of its own");
    drop(connection);
    handle.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}
