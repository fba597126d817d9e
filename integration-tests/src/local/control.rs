//! The harness's own connections: direct to a server, past the proxies, each step with a time limit.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Row, SimpleQueryMessage};

use super::conf::HARNESS;
use super::error::Error;
use crate::verbs::NodeId;

/// By this name the harness's connections are left out of all counts.
pub(crate) const APPLICATION: &str = "local-cluster";

/// A connection of the harness; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Control {
    node: NodeId,
    client: Client,
    limit: Duration,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Control {
    /// Connects to a database of a node; `limit` holds for this and for each later statement.
    pub(crate) async fn connect(
        node: NodeId,
        address: SocketAddr,
        password: &str,
        database: &str,
        limit: Duration,
    ) -> Result<Self, Error> {
        let mut config = tokio_postgres::Config::new();
        config.hostaddr(address.ip()).port(address.port()).user(HARNESS).password(password);
        config
            .dbname(database)
            .application_name(APPLICATION)
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        let connected = within(limit, "connect", node, config.connect(NoTls)).await?;
        let (client, connection) = connected;
        let task = tokio::spawn(async move {
            // Its error reaches the client's calls.
            let _ = connection.await;
        });
        Ok(Self { node, client, limit, task })
    }

    /// Runs statements that answer nothing.
    pub(crate) async fn run(&self, what: &'static str, sql: &str) -> Result<(), Error> {
        within(self.limit, what, self.node, self.client.batch_execute(sql)).await
    }

    /// The first column of the first row as text.
    pub(crate) async fn text(&self, what: &'static str, sql: &str) -> Result<Option<String>, Error> {
        let messages = within(self.limit, what, self.node, self.client.simple_query(sql)).await?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// One row of a statement with parameters.
    pub(crate) async fn row(
        &self,
        what: &'static str,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Row, Error> {
        within(self.limit, what, self.node, self.client.query_one(sql, parameters)).await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    node: NodeId,
    future: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.map_err(|source| Error::Sql { node, what, source }),
        Err(_) => Err(Error::Deadline { what: format!("{node}, {what}"), limit }),
    }
}
