//! The two clients, and the loads that they run.

use std::future::Future;
use std::net::SocketAddr;

use futures_util::future::join_all;
use integration_tests::LocalCluster;
use tokio_postgres::NoTls;
use wrapper_pg::Connector;

use crate::support::Outcome;

const SQL: &str = "SELECT 1";
/// Calls that are in flight at once in the pipelined load.
pub(crate) const IN_FLIGHT: usize = 100;

/// How the calls follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Sequential,
    Pipelined,
}

/// A server and the login there.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
}

impl Place {
    /// The writer of `cluster`.
    pub(crate) fn of(cluster: &LocalCluster) -> Self {
        let app = cluster.app();
        Self {
            address: cluster.server_address(cluster.writer()),
            user: app.user.clone(),
            password: app.password.clone(),
            database: app.database.clone(),
        }
    }

    /// The bare driver's client.
    pub(crate) async fn bare(&self) -> Outcome<Bare> {
        let mut config = tokio_postgres::Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port());
        config.user(&self.user).password(&self.password).dbname(&self.database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // Its error reaches the client's calls.
            let _ = connection.await;
        });
        let statement = client.prepare(SQL).await?;
        Ok(Bare(client, statement))
    }

    /// The library's client with its default plugins; `quiet` keeps the topology monitor from asking meanwhile.
    pub(crate) async fn wrapped(&self, quiet: bool) -> Outcome<Wrapped> {
        let mut builder = Connector::builder_at(&self.address.ip().to_string(), self.address.port())
            .user(&self.user)
            .password(self.password.clone())
            .dbname(&self.database)
            .set("sslmode", "disable")
            .set("wrapper_dialect", "pg");
        if quiet {
            builder = builder.set("topology_refresh", "1h").set("topology_high_refresh", "1h");
        }
        let client = builder.build()?.connect().await?;
        let statement = client.prepare(SQL).await?;
        Ok(Wrapped(client, statement))
    }
}

/// A client that can ask for one row.
pub(crate) trait SelectOne {
    /// Asks once; gives the number of rows.
    fn one(&self) -> impl Future<Output = Outcome<usize>>;

    /// Asks `calls` times.
    async fn ask(&self, load: Load, calls: usize) -> Outcome {
        match load {
            Load::Sequential => {
                for _ in 0..calls {
                    expect_one(self.one().await)?;
                }
            }
            Load::Pipelined => {
                for _ in 0..calls / IN_FLIGHT {
                    for answer in join_all((0..IN_FLIGHT).map(|_| self.one())).await {
                        expect_one(answer)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn expect_one(answer: Outcome<usize>) -> Outcome {
    match answer? {
        1 => Ok(()),
        other => Err(format!("`{SQL}` gave {other} rows").into()),
    }
}

/// tokio-postgres.
pub(crate) struct Bare(tokio_postgres::Client, tokio_postgres::Statement);

impl SelectOne for Bare {
    async fn one(&self) -> Outcome<usize> {
        Ok(self.0.query(&self.1, &[]).await?.len())
    }
}

/// The library.
pub(crate) struct Wrapped(wrapper_pg::Client, wrapper_pg::Statement);

impl SelectOne for Wrapped {
    async fn one(&self) -> Outcome<usize> {
        Ok(self.0.query(&self.1, &[]).await?.len())
    }
}
