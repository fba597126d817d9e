//! The client without the wrapper: tokio-postgres on the cluster endpoint, as an application with care writes it.
//!
//! It asks the same resolver before each connect, bounds its connects and calls, and connects anew after any error.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::{Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;
use wrapper_core::env::Resolver;

use crate::bare;
use crate::tally::Failure;
use crate::writer::Client;

/// Where and how the bare driver connects.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) tls: Option<MakeRustlsConnect>,
}

/// Writes with the bare driver.
pub(crate) struct Bare {
    target: Target,
    table: String,
    open: Option<Open>,
}

struct Open {
    client: tokio_postgres::Client,
    insert: Statement,
    look_up: Statement,
    _connection: AbortOnDropHandle<()>,
}

impl Bare {
    pub(crate) fn new(target: Target, table: &str) -> Self {
        Self { target, table: table.to_owned(), open: None }
    }

    async fn open(&mut self) -> Result<&Open, Failure> {
        let open = match self.open.take() {
            Some(open) => open,
            None => connect(&self.target, &self.table).await?,
        };
        Ok(self.open.insert(open))
    }
}

#[async_trait]
impl Client for Bare {
    async fn insert(&mut self, number: i64) -> Result<(), Failure> {
        let open = self.open().await?;
        let done = bare::bounded(open.client.execute(&open.insert, &[&number]), failure).await;
        done.map(drop).inspect_err(|_| self.open = None)
    }

    async fn is_there(&mut self, number: i64) -> Result<bool, Failure> {
        let open = self.open().await?;
        let done = bare::bounded(open.client.query_one(&open.look_up, &[&number]), failure).await;
        done.map(|row| row.get::<_, i64>(0) > 0).inspect_err(|_| self.open = None)
    }
}

async fn connect(target: &Target, table: &str) -> Result<Open, Failure> {
    bare::connected(async {
        let address = bare::look_up(&*target.resolver, &target.host, target.port).await?;
        let (client, connection) = dial(target, address).await.map_err(|error| not_connected(&error))?;
        let prepared = async {
            let insert = client.prepare(&format!("INSERT INTO {table} (id) VALUES ($1)")).await?;
            let look_up = client.prepare(&format!("SELECT count(*) FROM {table} WHERE id = $1")).await?;
            Ok((insert, look_up))
        };
        let (insert, look_up) = prepared.await.map_err(|error| not_connected(&error))?;
        Ok(Open { client, insert, look_up, _connection: connection })
    })
    .await
}

async fn dial(
    target: &Target,
    address: SocketAddr,
) -> Result<(tokio_postgres::Client, AbortOnDropHandle<()>), tokio_postgres::Error> {
    let mut config = target.config.clone();
    config.host(&target.host).port(target.port).hostaddr(address.ip());
    let task = match &target.tls {
        None => {
            let (client, connection) = config.connect(NoTls).await?;
            // How the connection ended is what its client's calls say.
            (client, tokio::spawn(async move { drop(connection.await) }))
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls.clone()).await?;
            (client, tokio::spawn(async move { drop(connection.await) }))
        }
    };
    Ok((task.0, AbortOnDropHandle::new(task.1)))
}

fn not_connected(error: &tokio_postgres::Error) -> Failure {
    bare::not_connected(error, error.as_db_error().map(|db| format!("SQLSTATE {}", db.code().code())))
}

/// What the driver's error lets an application conclude.
fn failure(error: &tokio_postgres::Error) -> Failure {
    let (kind, outcome, in_doubt) = match error.as_db_error() {
        // The server has answered: whatever the statement began is undone.
        Some(db) if !error.is_closed() && db.severity() != "FATAL" => {
            let what = match db.code().code() {
                "25006" => "SQLSTATE 25006 (read-only: the old writer)".to_owned(),
                code => format!("SQLSTATE {code}"),
            };
            (what, "rolled back", false)
        }
        Some(db) => (format!("SQLSTATE {}", db.code().code()), "unknown", true),
        None => ("connection closed".to_owned(), "unknown", true),
    };
    Failure { kind, outcome, text: bare::chain(error), in_doubt, ready: false }
}
