//! Pools of sqlx on the clusters: plain ones of both versions, and the own type.

use std::time::Duration;

use integration_tests::{LocalCluster, MySqlCluster, NodeId};
use sqlx::mysql::MySqlSslMode;
use sqlx::postgres::PgSslMode;
use wrapper_sqlx::cluster_pool::{ClusterConnection, MySqlClusterPool, PgClusterPool};

use crate::cell::SIZE;
use crate::sqlx_support::site::{self, Refused, Site};
use crate::sqlx_support::{self, mysql as my};
use crate::support::Outcome;

/// How long an acquire may take.
const ACQUIRE: Duration = Duration::from_secs(20);

/// A plain pool of sqlx 0.9.
pub(crate) async fn pg<'c>(
    cluster: &'c LocalCluster,
    authority: Option<&str>,
    refresh: &str,
) -> site::pg::On<'c> {
    let builder =
        wrapper_sqlx::postgres::PoolBuilder::new(sqlx_support::sized(SIZE), pg_options(cluster, authority))
            .reach(sqlx_support::by_table(cluster.names()))
            .set("topology_refresh", refresh)
            .set("topology_high_refresh", "50ms");
    site::pg::On::new(cluster, builder).await
}

fn pg_options(cluster: &LocalCluster, authority: Option<&str>) -> sqlx::postgres::PgConnectOptions {
    let options = sqlx_support::options(cluster);
    match authority {
        Some(pem) => options.ssl_mode(PgSslMode::VerifyCa).ssl_root_cert_from_pem(pem.as_bytes().to_vec()),
        None => options,
    }
}

/// A plain pool of sqlx 0.8.
pub(crate) async fn pg_0_8<'c>(
    cluster: &'c LocalCluster,
    authority: Option<&str>,
    refresh: &str,
) -> site::pg_0_8::On<'c> {
    use wrapper_sqlx::v0_8::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
    let app = cluster.app();
    let options = PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username(&app.user)
        .password(&app.password)
        .database(&app.database)
        .application_name(sqlx_support::APPLICATION);
    let options = match authority {
        Some(pem) => options.ssl_mode(PgSslMode::VerifyCa).ssl_root_cert_from_pem(pem.as_bytes().to_vec()),
        None => options.ssl_mode(PgSslMode::Disable),
    };
    let names = cluster.names();
    let pool = PgPoolOptions::new().max_connections(SIZE).acquire_timeout(ACQUIRE);
    let builder = wrapper_sqlx::v0_8::postgres::PoolBuilder::new(pool, options)
        .reach(move |host, options| match names.lookup(host.host()) {
            Some(address) => options.host(&address.to_string()),
            None => options,
        })
        .set("topology_refresh", refresh)
        .set("topology_high_refresh", "50ms");
    site::pg_0_8::On::new(cluster, builder).await
}

/// A plain pool of sqlx 0.9.
pub(crate) async fn mysql<'c>(
    cluster: &'c MySqlCluster,
    authority: Option<&str>,
    refresh: &str,
) -> site::mysql::On<'c> {
    let builder = my::pool_with(cluster, my::sized(SIZE), my_options(cluster, authority))
        .set("topology_refresh", refresh);
    site::mysql::On::new(cluster, builder).await
}

fn my_options(cluster: &MySqlCluster, authority: Option<&str>) -> sqlx::mysql::MySqlConnectOptions {
    let options = my::options(cluster);
    match authority {
        Some(pem) => options.ssl_mode(MySqlSslMode::VerifyCa).ssl_ca_from_pem(pem.as_bytes().to_vec()),
        None => options,
    }
}

/// A plain pool of sqlx 0.8.
pub(crate) async fn mysql_0_8<'c>(
    cluster: &'c MySqlCluster,
    authority: Option<&str>,
    refresh: &str,
) -> site::mysql_0_8::On<'c> {
    use wrapper_sqlx::v0_8::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
    let app = cluster.app();
    let options = MySqlConnectOptions::new()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username(&app.user)
        .password(&app.password)
        .database(&app.database);
    let options = match authority {
        Some(pem) => options.ssl_mode(MySqlSslMode::VerifyCa).ssl_ca_from_pem(pem.as_bytes().to_vec()),
        None => options.ssl_mode(MySqlSslMode::Disabled),
    };
    let names = cluster.names();
    let pool = MySqlPoolOptions::new().max_connections(SIZE).acquire_timeout(ACQUIRE);
    let builder = wrapper_sqlx::v0_8::mysql::PoolBuilder::new(pool, options)
        .reach(move |host, options| match names.lookup(host.host()) {
            Some(address) => options.host(&address.to_string()),
            None => options,
        })
        .set("topology_refresh", refresh)
        .set("topology_high_refresh", "50ms");
    site::mysql_0_8::On::new(cluster, builder).await
}

/// The own pool type on a cluster.
macro_rules! own {
    ($name:ident, $cluster:ty, $pool:ty, $database:ty) => {
        pub(crate) struct $name<'c> {
            cluster: &'c $cluster,
            pool: $pool,
        }

        impl Site for $name<'_> {
            type Connection = ClusterConnection<$database>;

            async fn acquire(&self) -> Result<Self::Connection, Refused> {
                self.pool.acquire().await.map_err(|error| Refused::Other(error.to_string()))
            }

            async fn node_of(&self, connection: &mut Self::Connection) -> Option<NodeId> {
                let who = <$cluster as site::Ground>::WHO;
                let answer: String = sqlx::query_scalar(who).fetch_one(&mut **connection).await.ok()?;
                Some(site::Ground::who(self.cluster, &answer))
            }

            async fn insert(&self, connection: &mut Self::Connection, id: i64) -> bool {
                let insert = <$cluster as site::Ground>::INSERT;
                sqlx::query(insert).bind(id).execute(&mut **connection).await.is_ok()
            }

            async fn ids(&self) -> Vec<i64> {
                sqlx::query_scalar("SELECT id FROM t").fetch_all(&self.pool).await.unwrap_or_default()
            }

            fn known_writer(&self) -> Option<NodeId> {
                site::Ground::known_writer(self.cluster, self.pool.cluster())
            }

            fn switched_to(&self) -> Option<NodeId> {
                self.known_writer()
            }

            fn took(&self) -> Option<Duration> {
                None
            }

            async fn end(self) {
                self.pool.close().await;
            }
        }
    };
}
own!(OwnPg, LocalCluster, PgClusterPool, sqlx::Postgres);
own!(OwnMySql, MySqlCluster, MySqlClusterPool, sqlx::MySql);

/// The own pool type.
pub(crate) async fn cluster_pg<'c>(
    cluster: &'c LocalCluster,
    authority: Option<&str>,
    refresh: &str,
) -> Outcome<OwnPg<'c>> {
    let pool = PgClusterPool::builder(sqlx_support::sized(SIZE), pg_options(cluster, authority))
        .reach(sqlx_support::by_table(cluster.names()))
        .set("topology_refresh", refresh)
        .set("topology_high_refresh", "50ms");
    Ok(OwnPg { cluster, pool: pool.connect().await? })
}

/// The own pool type.
pub(crate) async fn cluster_mysql<'c>(
    cluster: &'c MySqlCluster,
    authority: Option<&str>,
    refresh: &str,
) -> Outcome<OwnMySql<'c>> {
    let pool = MySqlClusterPool::builder(my::sized(SIZE), my_options(cluster, authority))
        .reach(my::by_table(cluster.names()))
        .set("topology_refresh", refresh)
        .set("topology_high_refresh", "50ms");
    Ok(OwnMySql { cluster, pool: pool.connect().await? })
}
