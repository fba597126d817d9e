//! What the example programs share: the name table of a test cluster as a resolver, and connectors onto a simulated
//! cluster.
//!
//! What may not live here: anything that an application on a real cluster would need. There, a URL is enough.

#[cfg(feature = "pools")]
pub mod orders;

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use integration_tests::names::NameTable;
use integration_tests::sim::SimCluster;
use wrapper_core::env::{Environment, Resolver};
use wrapper_pg::{Connector, ConnectorBuilder};

/// The name table of a test cluster in the place of DNS, its lag included.
#[derive(Clone, Debug)]
pub struct TableResolver(pub NameTable);

#[async_trait]
impl Resolver for TableResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let unknown = || {
            let text = format!("`{host}` is not in the test cluster's name table");
            io::Error::new(io::ErrorKind::NotFound, text)
        };
        let address = host.parse().ok().or_else(|| self.0.lookup(host)).ok_or_else(unknown)?;
        Ok(vec![SocketAddr::new(address, port)])
    }
}

/// A connector onto a host of a simulated cluster, such as its cluster endpoint.
///
/// Three things differ from a connector onto Aurora: the resolver, and that the simulated servers ask for neither a
/// password nor TLS.
pub fn simulated(cluster: &SimCluster, host: &str) -> ConnectorBuilder {
    Connector::builder_at(host, cluster.port())
        .user("app")
        .dbname("shop")
        .set("sslmode", "disable")
        .environment(Environment::builder().resolver(TableResolver(cluster.names().clone())).build())
}

/// The same onto a host of a simulated MySQL cluster.
pub fn simulated_mysql(cluster: &SimCluster, host: &str) -> wrapper_mysql::ConnectorBuilder {
    wrapper_mysql::Connector::builder_at(host, cluster.port())
        .user("app")
        .dbname("shop")
        .set("ssl_mode", "disabled")
        .environment(Environment::builder().resolver(TableResolver(cluster.names().clone())).build())
}

/// A plain sqlx pool onto a simulated cluster.
///
/// sqlx looks names up by itself, so each host is replaced by its address.
#[cfg(feature = "sqlx")]
pub fn simulated_pool(
    cluster: &SimCluster,
    options: sqlx::postgres::PgPoolOptions,
) -> wrapper_sqlx::postgres::PoolBuilder {
    use sqlx::postgres::{PgConnectOptions, PgSslMode};
    use wrapper_sqlx::postgres::PoolBuilder;

    let endpoint = PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username("app")
        .database("shop")
        .ssl_mode(PgSslMode::Disable);
    let names = cluster.names().clone();
    PoolBuilder::new(options, endpoint).reach(move |host, options| match names.lookup(host.host()) {
        Some(address) => options.host(&address.to_string()),
        None => options,
    })
}

/// The examples of the README, compiled.
#[cfg(all(doctest, feature = "sqlx"))]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The examples of the guide to pools, compiled.
#[cfg(all(doctest, feature = "sqlx"))]
#[doc = include_str!("../../docs/guide/pools.md")]
pub struct Pools;
