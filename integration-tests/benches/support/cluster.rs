//! How a connector reaches a local cluster.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use integration_tests::names::NameTable;
use integration_tests::{LocalCluster, MySqlCluster};
use wrapper_core::env::{Environment, Resolver};
use wrapper_pg::{Connector, ConnectorBuilder};

#[derive(Debug)]
struct TableResolver(NameTable);

#[async_trait]
impl Resolver for TableResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let address = match host.parse() {
            Ok(address) => address,
            Err(_) => self.0.lookup(host).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("`{host}` is not in the cluster's name table"),
                )
            })?,
        };
        Ok(vec![SocketAddr::new(address, port)])
    }
}

/// A connector to the writer endpoint, as the application's user, with default settings.
pub(crate) fn connector(cluster: &LocalCluster) -> ConnectorBuilder {
    let app = cluster.app();
    Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .user(&app.user)
        .password(app.password.clone())
        .dbname(&app.database)
        .set("sslmode", "disable")
        .environment(environment(cluster.names()))
}

/// The same for a cluster of the MySQL family.
pub(crate) fn mysql_connector(cluster: &MySqlCluster) -> wrapper_mysql::ConnectorBuilder {
    let app = cluster.app();
    wrapper_mysql::Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .user(&app.user)
        .password(app.password.clone())
        .dbname(&app.database)
        .set("sslmode", "disable")
        .environment(environment(cluster.names()))
}

fn environment(names: NameTable) -> Environment {
    Environment::builder().resolver(TableResolver(names)).build()
}
