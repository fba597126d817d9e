//! The client without the wrapper: mysql_async on the cluster endpoint, as an application with care writes it.
//!
//! It asks the same resolver before each connect, bounds its connects and calls, and connects anew after any error.

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Statement};
use wrapper_core::env::Resolver;

use crate::bare;
use crate::tally::Failure;
use crate::writer::Client;

/// Where and how the bare driver connects.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) options: OptsBuilder,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) resolver: Arc<dyn Resolver>,
}

/// Writes with the bare driver.
pub(crate) struct Bare {
    target: Target,
    table: String,
    open: Option<Open>,
}

struct Open {
    conn: Conn,
    insert: Statement,
    look_up: Statement,
}

impl Bare {
    pub(crate) fn new(target: Target, table: &str) -> Self {
        Self { target, table: table.to_owned(), open: None }
    }

    /// Takes the connection out: only a call that has ended well puts it back.
    async fn take(&mut self) -> Result<Open, Failure> {
        match self.open.take() {
            Some(open) => Ok(open),
            None => connect(&self.target, &self.table).await,
        }
    }
}

#[async_trait]
impl Client for Bare {
    async fn insert(&mut self, number: i64) -> Result<(), Failure> {
        let mut open = self.take().await?;
        bare::bounded(open.conn.exec_drop(&open.insert, (number,)), failure).await?;
        self.open = Some(open);
        Ok(())
    }

    async fn is_there(&mut self, number: i64) -> Result<bool, Failure> {
        let mut open = self.take().await?;
        let count = open.conn.exec_first::<i64, _, _>(&open.look_up, (number,));
        let count = bare::bounded(count, failure).await?;
        self.open = Some(open);
        Ok(count.is_some_and(|count| count > 0))
    }
}

async fn connect(target: &Target, table: &str) -> Result<Open, Failure> {
    bare::connected(async {
        let address = bare::look_up(&*target.resolver, &target.host, target.port).await?;
        let options = target.options.clone().ip_or_hostname(&target.host).tcp_port(target.port);
        let mut conn = Conn::new(options.resolved_ips(Some(vec![address.ip()])))
            .await
            .map_err(|error| not_connected(&error))?;
        let insert = conn.prep(format!("INSERT INTO {table} (id) VALUES (?)")).await;
        let insert = insert.map_err(|error| not_connected(&error))?;
        let look_up = conn.prep(format!("SELECT COUNT(*) FROM {table} WHERE id = ?")).await;
        let look_up = look_up.map_err(|error| not_connected(&error))?;
        Ok(Open { conn, insert, look_up })
    })
    .await
}

fn not_connected(error: &Error) -> Failure {
    let answer = match error {
        Error::Server(server) => Some(format!("error {}", server.code)),
        _ => None,
    };
    bare::not_connected(error, answer)
}

/// What the driver's error lets an application conclude.
fn failure(error: &Error) -> Failure {
    let (kind, outcome, in_doubt) = match error {
        // The server goes down: nobody knows what became of the statement.
        Error::Server(server) if server.code == 1053 => (format!("error {}", server.code), "unknown", true),
        // The server has answered: whatever the statement began is undone.
        Error::Server(server) => {
            let what = match server.code {
                1290 => "error 1290 (read-only: the old writer)".to_owned(),
                code => format!("error {code}"),
            };
            (what, "rolled back", false)
        }
        _ => ("connection closed".to_owned(), "unknown", true),
    };
    Failure { kind, outcome, text: bare::chain(error), in_doubt, ready: false }
}
