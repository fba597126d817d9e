//! Pools of deadpool and bb8: of the library's clients, and `deadpool_postgres::Pool` of the driver's.

use std::ops::DerefMut;
use std::time::Duration;

use deadpool_postgres::{ManagerConfig, RecyclingMethod};
use integration_tests::{LocalCluster, MySqlCluster, NodeId};
use wrapper_core::cluster::Cluster;

use crate::cell::SIZE;
use crate::sqlx_support::site::{Ground, Refused, Site};
use crate::support::{Outcome, cluster};

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A pool that lends clients.
pub(crate) trait Lends {
    type Client;
    async fn lend(&self) -> Result<Self::Client, String>;
}

impl<M: deadpool::managed::Manager<Error: std::fmt::Display>> Lends for deadpool::managed::Pool<M> {
    type Client = deadpool::managed::Object<M>;

    async fn lend(&self) -> Result<Self::Client, String> {
        self.get().await.map_err(text)
    }
}

impl<M: bb8::ManageConnection<Error: std::error::Error>> Lends for bb8::Pool<M> {
    type Client = bb8::PooledConnection<'static, M>;

    async fn lend(&self) -> Result<Self::Client, String> {
        self.get_owned().await.map_err(text)
    }
}

/// A client that the load can use.
pub(crate) trait Asks<G: Ground> {
    async fn who(&mut self) -> Option<String>;
    async fn insert(&mut self, id: i64) -> bool;
}

impl Asks<LocalCluster> for wrapper_pg::Client {
    async fn who(&mut self) -> Option<String> {
        self.query_one_scalar(LocalCluster::WHO, &[]).await.ok()
    }

    async fn insert(&mut self, id: i64) -> bool {
        self.execute(LocalCluster::INSERT, &[&id]).await.is_ok()
    }
}

impl Asks<LocalCluster> for deadpool_postgres::ClientWrapper {
    async fn who(&mut self) -> Option<String> {
        let who = self.prepare_cached(LocalCluster::WHO).await.ok()?;
        self.query_one(&who, &[]).await.ok()?.try_get(0).ok()
    }

    async fn insert(&mut self, id: i64) -> bool {
        let Ok(insert) = self.prepare_cached(LocalCluster::INSERT).await else { return false };
        self.execute(&insert, &[&id]).await.is_ok()
    }
}

impl Asks<MySqlCluster> for wrapper_mysql::Conn {
    async fn who(&mut self) -> Option<String> {
        self.query_first(MySqlCluster::WHO).await.ok()?
    }

    async fn insert(&mut self, id: i64) -> bool {
        self.exec_drop(MySqlCluster::INSERT, (id,)).await.is_ok()
    }
}

/// A connector of either adapter.
pub(crate) trait Connects {
    fn cluster(&self) -> &Cluster;
    async fn end(&self);
}

impl Connects for wrapper_pg::Connector {
    fn cluster(&self) -> &Cluster {
        self.cluster()
    }

    async fn end(&self) {
        self.shutdown().await;
    }
}

impl Connects for wrapper_mysql::Connector {
    fn cluster(&self) -> &Cluster {
        self.cluster()
    }

    async fn end(&self) {
        self.shutdown().await;
    }
}

/// A pool on a cluster.
pub(crate) struct Over<'c, G, C, P> {
    ground: &'c G,
    connector: C,
    pool: P,
}

impl<G, C, P> Site for Over<'_, G, C, P>
where
    G: Ground,
    C: Connects,
    P: Lends,
    P::Client: DerefMut<Target: Asks<G>>,
{
    type Connection = P::Client;

    async fn acquire(&self) -> Result<P::Client, Refused> {
        self.pool.lend().await.map_err(Refused::Other)
    }

    async fn node_of(&self, client: &mut P::Client) -> Option<NodeId> {
        Some(self.ground.who(&client.deref_mut().who().await?))
    }

    async fn insert(&self, client: &mut P::Client, id: i64) -> bool {
        client.deref_mut().insert(id).await
    }

    async fn ids(&self) -> Vec<i64> {
        Vec::new()
    }

    fn known_writer(&self) -> Option<NodeId> {
        self.ground.known_writer(self.connector.cluster())
    }

    fn switched_to(&self) -> Option<NodeId> {
        self.known_writer()
    }

    fn took(&self) -> Option<Duration> {
        None
    }

    async fn end(self) {
        drop(self.pool);
        self.connector.end().await;
    }
}

fn pg(cluster: &LocalCluster, refresh: &str) -> Outcome<wrapper_pg::Connector> {
    let builder = cluster::connector(cluster)
        .set("topology_refresh", refresh)
        .set("topology_high_refresh", "50ms")
        .set("connect_timeout", "20s");
    Ok(builder.build()?)
}

fn mysql(cluster: &MySqlCluster, refresh: &str) -> Outcome<wrapper_mysql::Connector> {
    let builder = cluster::mysql_connector(cluster)
        .set("topology_refresh", refresh)
        .set("topology_high_refresh", "50ms")
        .set("connect_timeout", "20s");
    Ok(builder.build()?)
}

type PgPool = deadpool::managed::Pool<wrapper_pg::pool::Manager>;
type MySqlPool = deadpool::managed::Pool<wrapper_mysql::pool::Manager>;

/// deadpool with the library's clients.
pub(crate) fn deadpool_pg<'c>(
    ground: &'c LocalCluster,
    refresh: &str,
) -> Outcome<Over<'c, LocalCluster, wrapper_pg::Connector, PgPool>> {
    let connector = pg(ground, refresh)?;
    let manager = wrapper_pg::pool::Manager::new(connector.clone());
    Ok(Over { ground, connector, pool: PgPool::builder(manager).max_size(SIZE as usize).build()? })
}

/// bb8 with the library's clients.
pub(crate) async fn bb8_pg<'c>(
    ground: &'c LocalCluster,
    refresh: &str,
) -> Outcome<Over<'c, LocalCluster, wrapper_pg::Connector, bb8::Pool<wrapper_pg::pool::Manager>>> {
    let connector = pg(ground, refresh)?;
    let manager = wrapper_pg::pool::Manager::new(connector.clone());
    Ok(Over { ground, connector, pool: bb8::Pool::builder().max_size(SIZE).build(manager).await? })
}

/// deadpool-postgres with the driver's clients.
pub(crate) fn deadpool_postgres<'c>(
    ground: &'c LocalCluster,
    refresh: &str,
) -> Outcome<Over<'c, LocalCluster, wrapper_pg::Connector, deadpool_postgres::Pool>> {
    let connector = pg(ground, refresh)?;
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let pool = wrapper_pg::pool::RawConnect::new(connector.clone()).pool(config).max_size(SIZE as usize);
    Ok(Over { ground, connector, pool: pool.build()? })
}

/// deadpool with the library's connections.
pub(crate) fn deadpool_mysql<'c>(
    ground: &'c MySqlCluster,
    refresh: &str,
) -> Outcome<Over<'c, MySqlCluster, wrapper_mysql::Connector, MySqlPool>> {
    let connector = mysql(ground, refresh)?;
    let manager = wrapper_mysql::pool::Manager::new(connector.clone());
    Ok(Over { ground, connector, pool: MySqlPool::builder(manager).max_size(SIZE as usize).build()? })
}

/// bb8 with the library's connections.
pub(crate) async fn bb8_mysql<'c>(
    ground: &'c MySqlCluster,
    refresh: &str,
) -> Outcome<Over<'c, MySqlCluster, wrapper_mysql::Connector, bb8::Pool<wrapper_mysql::pool::Manager>>> {
    let connector = mysql(ground, refresh)?;
    let manager = wrapper_mysql::pool::Manager::new(connector.clone());
    Ok(Over { ground, connector, pool: bb8::Pool::builder().max_size(SIZE).build(manager).await? })
}
