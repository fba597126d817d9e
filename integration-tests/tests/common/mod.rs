//! What the scenario tests share: a connector onto a local cluster, a writer load, waits with deadlines.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests")]

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::join_all;
use integration_tests::names::NameTable;
use integration_tests::{Flavour, LocalCluster};
use wrapper_core::env::{Environment, Resolver};
use wrapper_pg::{Connector, ConnectorBuilder};

/// No wait in these tests is longer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The cluster's name table as the library's resolver.
#[derive(Debug)]
pub struct TableResolver(pub NameTable);

#[async_trait]
impl Resolver for TableResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let address = self.0.lookup(host).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("`{host}` is not in the cluster's name table"))
        })?;
        Ok(vec![SocketAddr::new(address, port)])
    }
}

/// A connector to `host` of `cluster`, as the cluster's application user.
pub fn builder(cluster: &LocalCluster, host: &str) -> ConnectorBuilder {
    let app = cluster.app();
    Connector::builder_at(host, cluster.port())
        .user(&app.user)
        .password(app.password.clone())
        .dbname(&app.database)
        .set("sslmode", "disable")
        .environment(Environment::builder().resolver(TableResolver(cluster.names())).build())
}

/// A connector to the writer endpoint, with defaults.
pub fn connector(cluster: &LocalCluster) -> Connector {
    builder(cluster, &cluster.cluster_endpoint()).build().expect("the configuration is valid")
}

/// Plays a test on a cluster of each flavour, at the same time.
pub async fn on_each<F>(flavours: impl IntoIterator<Item = Flavour>, test: fn(Flavour) -> F)
where
    F: Future<Output = ()>,
{
    let runs = flavours.into_iter().map(|flavour| async move {
        let played = AssertUnwindSafe(test(flavour)).catch_unwind().await;
        assert!(played.is_ok(), "it failed on {flavour:?}");
    });
    join_all(runs).await;
}

/// Fails the test instead of hanging.
pub async fn within<T>(what: &str, future: impl std::future::Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not end within {LIMIT:?}"),
    }
}
