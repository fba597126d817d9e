//! The harness's own connections: direct to a server, past proxies and front, each step with a time limit.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};

use super::Error;
use super::conf::HARNESS;
use super::kind::MySqlKind;
use crate::verbs::NodeId;

/// A connection of the harness; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Control {
    node: NodeId,
    pub(crate) kind: MySqlKind,
    conn: Conn,
    limit: Duration,
}

impl Control {
    /// Connects to a node; `limit` holds for this and for each later statement.
    pub(crate) async fn connect(
        (node, kind): (NodeId, MySqlKind),
        address: SocketAddr,
        password: &str,
        limit: Duration,
    ) -> Result<Self, Error> {
        let options = options(address).user(Some(HARNESS)).pass(Some(password));
        let conn = within(limit, "connect", node, Conn::new(options)).await?;
        Ok(Self { node, kind, conn, limit })
    }

    /// Runs a statement that answers nothing.
    pub(crate) async fn run(&mut self, what: &'static str, sql: &str) -> Result<(), Error> {
        within(self.limit, what, self.node, self.conn.query_drop(sql)).await
    }

    /// The first row; none when there is none.
    pub(crate) async fn row(&mut self, what: &'static str, sql: &str) -> Result<Option<Row>, Error> {
        within(self.limit, what, self.node, self.conn.query_first(sql)).await
    }

    /// The first column of the first row as text.
    pub(crate) async fn text(&mut self, what: &'static str, sql: &str) -> Result<Option<String>, Error> {
        let row = self.row(what, sql).await?;
        Ok(row.and_then(|mut row| row.take_opt::<Option<String>, _>(0)?.ok()?))
    }

    /// From now on each statement may take this long.
    pub(crate) fn allow(&mut self, limit: Duration) {
        self.limit = limit;
    }
}

/// Settings of a bare driver for a server at an address.
pub(crate) fn options(address: SocketAddr) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        // On loopback the driver would change over to the server's Unix socket, past proxy and front.
        .prefer_socket(false)
        // Given here, it need not be asked from the server.
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800))
}

pub(crate) async fn within<T>(
    limit: Duration,
    what: &'static str,
    node: NodeId,
    future: impl Future<Output = Result<T, mysql_async::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.map_err(|source| Error::MySql { node, what, source }),
        Err(_) => Err(Error::Deadline { what: format!("{node}, {what}"), limit }),
    }
}
