//! What the tests of sqlx pools share: clusters, pools onto them, who is behind a connection.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests")]

pub(crate) mod load;
pub(crate) mod mysql;
pub(crate) mod site;

use std::future::Future;
use std::time::Duration;

use integration_tests::local::{Builder, ConnectionFilter};
use integration_tests::names::NameTable;
use integration_tests::{Flavour, LocalCluster, NodeId};
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use wrapper_core::cluster::Cluster;
use wrapper_core::host::HostInfo;
use wrapper_sqlx::postgres::{PoolBuilder, PoolHandle};

/// No wait in these tests is longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The `application_name` of the pools' connections.
pub(crate) const APPLICATION: &str = "pool";

/// A cluster that promotes 300 ms after a loss, and whose old writers stay away until told.
pub(crate) fn cluster(flavour: Flavour) -> Builder {
    let promotion = Duration::from_millis(300);
    LocalCluster::builder().flavour(flavour).promotion_time(promotion..=promotion).rejoin_after(None)
}

/// The same with TLS; and the certificate authority, in PEM.
pub(crate) fn cluster_with_tls(flavour: Flavour) -> (Builder, String) {
    let (pem, key) = certificate();
    (cluster(flavour).hash("cxyz").tls(pem.clone(), key), pem)
}

/// A certificate for the hosts of a cluster with the hash `cxyz`, which is its own authority, and its key, in PEM.
pub(crate) fn certificate() -> (String, String) {
    // For `verify-ca` sqlx asks for the provider of the process, and with two compiled in, as all features have it, there is
    // none by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let names = ["*.cxyz.us-east-2.rds.amazonaws.com", "shop.cluster-cxyz.us-east-2.rds.amazonaws.com"];
    let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Connect options for the application at the cluster endpoint.
pub(crate) fn options(cluster: &LocalCluster) -> PgConnectOptions {
    let app = cluster.app();
    PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username(&app.user)
        .password(&app.password)
        .database(&app.database)
        .ssl_mode(PgSslMode::Disable)
        .application_name(APPLICATION)
}

/// Hosts are reached at the addresses of the cluster's name table: sqlx looks names up by itself.
pub(crate) fn by_table(
    names: NameTable,
) -> impl Fn(&HostInfo, PgConnectOptions) -> PgConnectOptions + Send + Sync + 'static {
    move |host, options| match names.lookup(host.host()) {
        Some(address) => options.host(&address.to_string()),
        None => options,
    }
}

/// A pool of the cluster, not connected yet; its monitor looks every 50 ms.
pub(crate) fn pool_of(cluster: &LocalCluster, pool: PgPoolOptions) -> PoolBuilder {
    PoolBuilder::new(pool, options(cluster))
        .reach(by_table(cluster.names()))
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms")
}

/// As many connections as the tests that count them want.
pub(crate) fn sized(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(20))
}

/// Runs SQL on the writer, past the library.
pub(crate) async fn sql(cluster: &LocalCluster, sql: &str) {
    let direct = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
    direct.batch_execute(sql).await.expect("run past the library");
}

/// The node behind a connection, by its server's own word.
///
/// # Errors
/// The question's.
pub(crate) async fn node_of(cluster: &LocalCluster, connection: &mut PgConnection) -> sqlx::Result<NodeId> {
    let name: String =
        sqlx::query_scalar("SELECT current_setting('cluster_name')").fetch_one(connection).await?;
    Ok(cluster.node_named(&name).expect("a node of the cluster"))
}

/// The node that the monitor takes for the writer.
pub(crate) fn known_writer(cluster: &LocalCluster, handle: &PoolHandle) -> Option<NodeId> {
    let published = handle.cluster().topology()?;
    let writer = published.topology.writer()?.short_name().to_owned();
    cluster.node_named(&writer)
}

/// How many connections of the pools a node has.
pub(crate) async fn connections_at(cluster: &LocalCluster, node: NodeId) -> u64 {
    let filter = ConnectionFilter::all().application(APPLICATION);
    cluster.count_connections(node, &filter).await.expect("counted")
}

/// Fails the test instead of hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not end within {LIMIT:?}"),
    }
}

/// Waits until `done` says so.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + LIMIT;
    while !done().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends the following: soon, whatever has become of the servers, and without a task left.
pub(crate) async fn end(handle: PoolHandle) {
    ended(handle.cluster(), handle.shutdown()).await;
}

/// As [`end`], for the handle of any pool.
pub(crate) async fn ended(cluster: &Cluster, shutdown: impl Future<Output = ()>) {
    let began = tokio::time::Instant::now();
    within("the shutdown", shutdown).await;
    assert!(began.elapsed() < Duration::from_secs(15), "the shutdown took {:?}", began.elapsed());
    assert_eq!(cluster.task_count(), 0, "a task outlived the shutdown");
}
