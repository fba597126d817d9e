//! A pool on a cluster, whatever the database and the version of sqlx: what the tests under load need of both.

use std::time::Duration;

use integration_tests::local::ConnectionFilter;
use integration_tests::{LocalCluster, MySqlCluster, NodeId};
use wrapper_sqlx::core::cluster::Cluster;

/// A cluster of real servers, past the library.
pub(crate) trait Ground {
    /// A text by which a server names itself.
    const WHO: &str;
    const INSERT: &str;

    /// The node that has named itself so.
    fn who(&self, answer: &str) -> NodeId;
    fn instance_named(&self, instance: &str) -> Option<NodeId>;
    /// Checks that a pool of `size` has no more connections to a node.
    async fn check_size(&self, node: NodeId, size: u64);

    /// The node that the monitor takes for the writer.
    fn known_writer(&self, cluster: &Cluster) -> Option<NodeId> {
        let published = cluster.topology()?;
        let writer = published.topology.writer()?.short_name().to_owned();
        self.instance_named(&writer)
    }
}

impl Ground for LocalCluster {
    const WHO: &str = "SELECT current_setting('cluster_name')";
    const INSERT: &str = "INSERT INTO t VALUES ($1)";

    fn who(&self, answer: &str) -> NodeId {
        self.node_named(answer).expect("a node of the cluster")
    }

    fn instance_named(&self, instance: &str) -> Option<NodeId> {
        self.node_named(instance)
    }

    async fn check_size(&self, node: NodeId, size: u64) {
        let open = super::connections_at(self, node).await;
        assert!(open <= size, "{open} connections of a pool of {size}");
    }
}

impl Ground for MySqlCluster {
    const WHO: &str = "SELECT CAST(@@GLOBAL.server_id AS CHAR)";
    const INSERT: &str = "INSERT INTO t VALUES (?)";

    fn who(&self, answer: &str) -> NodeId {
        let named = self.nodes().into_iter().find(|node| self.server_id(*node).to_string() == answer);
        named.expect("a node of the cluster")
    }

    fn instance_named(&self, instance: &str) -> Option<NodeId> {
        self.node_named(instance)
    }

    /// The monitor's connections have no name of their own here; once the search is over there is one.
    async fn check_size(&self, node: NodeId, size: u64) {
        let filter = ConnectionFilter::all().user(self.app().user);
        super::until("a pool's size and a monitor", async || {
            self.count_connections(node, &filter).await.expect("counted") <= size + 1
        })
        .await;
    }
}

/// Why an acquire gave no connection.
#[derive(Debug)]
pub(crate) enum Refused {
    /// sqlx's own connect ended so, where no hook is: it repeats only what was refused by nobody.
    Connecting(String),
    Other(String),
}

/// A pool, its handle and its cluster.
pub(crate) trait Site {
    type Connection;

    /// A connection of the pool.
    async fn acquire(&self) -> Result<Self::Connection, Refused>;
    /// The node behind a connection, if it answers.
    async fn node_of(&self, connection: &mut Self::Connection) -> Option<NodeId>;
    /// Whether the write was acknowledged.
    async fn insert(&self, connection: &mut Self::Connection, id: i64) -> bool;
    /// All that was written.
    async fn ids(&self) -> Vec<i64>;
    fn known_writer(&self) -> Option<NodeId>;
    /// The instance that the pool was last switched to.
    fn switched_to(&self) -> Option<NodeId>;
    /// How long the last switch took.
    fn took(&self) -> Option<Duration>;
    /// Ends the following, closes the pool.
    async fn end(self);
}

/// A [`Site`] for one cluster type and the pools of one module of the library.
macro_rules! site {
    ($name:ident, $cluster:ty, [$($sqlx:tt)+], [$($module:tt)+], $database:ident) => {
        pub(crate) mod $name {
            use $($module)+::{PoolBuilder, PoolHandle};
            use $($sqlx)+ as sqlx;

            use super::*;

            pub(crate) type Database = sqlx::$database;

            /// A pool on a cluster.
            pub(crate) struct On<'c> {
                pub(crate) cluster: &'c $cluster,
                pub(crate) pool: sqlx::Pool<Database>,
                pub(crate) handle: PoolHandle,
            }

            impl<'c> On<'c> {
                pub(crate) async fn new(cluster: &'c $cluster, builder: PoolBuilder) -> Self {
                    let (pool, handle) = crate::sqlx_support::within("the pool", builder.connect())
                        .await
                        .expect("a pool");
                    Self { cluster, pool, handle }
                }
            }

            impl Site for On<'_> {
                type Connection = sqlx::pool::PoolConnection<Database>;

                async fn acquire(&self) -> Result<Self::Connection, Refused> {
                    self.pool.acquire().await.map_err(|error| match error {
                        sqlx::Error::Io(_) | sqlx::Error::Database(_) => {
                            Refused::Connecting(error.to_string())
                        }
                        error => Refused::Other(error.to_string()),
                    })
                }

                async fn node_of(&self, connection: &mut Self::Connection) -> Option<NodeId> {
                    let asked = sqlx::query_scalar(<$cluster>::WHO).fetch_one(&mut **connection);
                    let answer: String = asked.await.ok()?;
                    Some(self.cluster.who(&answer))
                }

                async fn insert(&self, connection: &mut Self::Connection, id: i64) -> bool {
                    sqlx::query(<$cluster>::INSERT).bind(id).execute(&mut **connection).await.is_ok()
                }

                async fn ids(&self) -> Vec<i64> {
                    sqlx::query_scalar("SELECT id FROM t").fetch_all(&self.pool).await.expect("read")
                }

                fn known_writer(&self) -> Option<NodeId> {
                    self.cluster.known_writer(self.handle.cluster())
                }

                fn switched_to(&self) -> Option<NodeId> {
                    let switch = self.handle.last_switch()?;
                    self.cluster.instance_named(switch.to.short_name())
                }

                fn took(&self) -> Option<Duration> {
                    Some(self.handle.last_switch()?.took)
                }

                async fn end(self) {
                    let Self { pool, handle, .. } = self;
                    crate::sqlx_support::ended(handle.cluster(), handle.shutdown()).await;
                    crate::sqlx_support::within("the close", pool.close()).await;
                }
            }
        }
    };
}

site!(pg, LocalCluster, [::sqlx], [::wrapper_sqlx::postgres], Postgres);
site!(pg_0_8, LocalCluster, [::wrapper_sqlx::v0_8::sqlx], [::wrapper_sqlx::v0_8::postgres], Postgres);
site!(mysql, MySqlCluster, [::sqlx], [::wrapper_sqlx::mysql], MySql);
site!(mysql_0_8, MySqlCluster, [::wrapper_sqlx::v0_8::sqlx], [::wrapper_sqlx::v0_8::mysql], MySql);
