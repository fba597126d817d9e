//! deadpool-postgres' `Connect`.

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, PoolBuilder};
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use super::RawConnect;
use super::refusal::into_driver;

impl RawConnect {
    /// Starts a pool of deadpool-postgres, with [`hook`](Self::hook) set.
    ///
    /// Of the recycling methods, `Fast` hands a client out that its last user has left in a transaction by a `BEGIN` of
    /// its own; `Custom("ROLLBACK")` does not. A `Transaction` that is dropped rolls back by itself.
    ///
    /// What a server refuses at a checkout is the driver's error with the server's SQLSTATE. Any other error of the
    /// library travels inside the driver's, and `Error::from_driver` gets it back.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use deadpool_postgres::ManagerConfig;
    /// use wrapper_pg::Connector;
    /// use wrapper_pg::pool::RawConnect;
    ///
    /// let url = "postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop";
    /// let pool = RawConnect::new(Connector::from_url(url)?).pool(ManagerConfig::default()).max_size(20).build()?;
    /// let client = pool.get().await?;
    /// let orders = client.prepare_cached("SELECT count(*) FROM orders").await?;
    /// let row = client.query_one(&orders, &[]).await?;
    /// # let _ = row; Ok(()) }
    /// ```
    pub fn pool(self, config: ManagerConfig) -> PoolBuilder {
        let hook = self.hook();
        // What to connect to is the connector's business.
        let manager = Manager::from_connect(tokio_postgres::Config::new(), self, config);
        Pool::builder(manager).pre_recycle(hook)
    }
}

impl Connect for RawConnect {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async move {
            match self.open().await {
                Ok(opened) => Ok(opened),
                Err(error) => Err(into_driver(error).await),
            }
        })
    }
}
