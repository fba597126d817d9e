//! Pools of sqlx on MySQL-family clusters.

use std::time::Duration;

use integration_tests::mysql::Builder;
use integration_tests::names::NameTable;
use integration_tests::{Flavour, MySqlCluster, NodeId};
use mysql_async::prelude::Queryable;
use sqlx::MySqlConnection;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use wrapper_core::host::HostInfo;
use wrapper_sqlx::mysql::{PoolBuilder, PoolHandle};

use super::site::Ground;

/// A cluster that promotes 300 ms after a loss, and whose old writers stay away until told.
pub(crate) fn cluster(flavour: Flavour) -> Builder {
    let promotion = Duration::from_millis(300);
    MySqlCluster::builder().flavour(flavour).promotion_time(promotion..=promotion).rejoin_after(None)
}

/// Connect options for the application at the cluster endpoint.
pub(crate) fn options(cluster: &MySqlCluster) -> MySqlConnectOptions {
    let app = cluster.app();
    MySqlConnectOptions::new()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username(&app.user)
        .password(&app.password)
        .database(&app.database)
        .ssl_mode(MySqlSslMode::Disabled)
}

/// Hosts are reached at the addresses of the cluster's name table: sqlx looks names up by itself.
pub(crate) fn by_table(
    names: NameTable,
) -> impl Fn(&HostInfo, MySqlConnectOptions) -> MySqlConnectOptions + Send + Sync + 'static {
    move |host, options| match names.lookup(host.host()) {
        Some(address) => options.host(&address.to_string()),
        None => options,
    }
}

/// A pool of the cluster with these connect options, not connected yet; its monitor looks every 50 ms.
pub(crate) fn pool_with(
    cluster: &MySqlCluster,
    pool: MySqlPoolOptions,
    options: MySqlConnectOptions,
) -> PoolBuilder {
    PoolBuilder::new(pool, options)
        .reach(by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms")
}

/// As [`pool_with`], for the application at the cluster endpoint.
pub(crate) fn pool_of(cluster: &MySqlCluster, pool: MySqlPoolOptions) -> PoolBuilder {
    pool_with(cluster, pool, options(cluster))
}

/// As many connections as the tests that count them want.
pub(crate) fn sized(connections: u32) -> MySqlPoolOptions {
    MySqlPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(20))
}

/// Runs SQL on the writer, past the library.
pub(crate) async fn sql(cluster: &MySqlCluster, sql: &str) {
    let mut direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    direct.query_drop(sql).await.expect("run past the library");
}

/// The node behind a connection, by its server's own word.
///
/// # Errors
/// The question's.
pub(crate) async fn node_of(
    cluster: &MySqlCluster,
    connection: &mut MySqlConnection,
) -> sqlx::Result<NodeId> {
    let id: String = sqlx::query_scalar(MySqlCluster::WHO).fetch_one(connection).await?;
    Ok(cluster.who(&id))
}

/// The node that the monitor takes for the writer.
pub(crate) fn known_writer(cluster: &MySqlCluster, handle: &PoolHandle) -> Option<NodeId> {
    Ground::known_writer(cluster, handle.cluster())
}
