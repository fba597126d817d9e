//! The client without the wrapper: tokio-postgres on the cluster endpoint, as an application with care writes it.
//!
//! It asks the same resolver before each connect, bounds its connects and calls, and connects anew after any error.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::{Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;
use wrapper_core::env::Resolver;

use crate::tally::Failure;
use crate::writer::Client;

/// Limit of one connect, login included.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Limit of one statement; without it a frozen server would hold the client for ever.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(5);

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
        let done = bounded(open.client.execute(&open.insert, &[&number])).await;
        done.map(drop).inspect_err(|_| self.open = None)
    }

    async fn is_there(&mut self, number: i64) -> Result<bool, Failure> {
        let open = self.open().await?;
        let done = bounded(open.client.query_one(&open.look_up, &[&number])).await;
        done.map(|row| row.get::<_, i64>(0) > 0).inspect_err(|_| self.open = None)
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(_) => Err(Failure {
            kind: "call timed out".to_owned(),
            outcome: "unknown",
            text: format!("no answer within {CALL_LIMIT:?}"),
            in_doubt: true,
            ready: false,
        }),
    }
}

async fn connect(target: &Target, table: &str) -> Result<Open, Failure> {
    let connecting = async {
        let address = target.resolver.resolve(&target.host, target.port).await.and_then(|found| {
            found.first().copied().ok_or_else(|| std::io::Error::other("the name has no address"))
        });
        let address = address.map_err(|error| unsent("look-up failed", &error))?;
        let (client, connection) = dial(target, address).await.map_err(|error| not_connected(&error))?;
        let prepared = async {
            let insert = client.prepare(&format!("INSERT INTO {table} (id) VALUES ($1)")).await?;
            let look_up = client.prepare(&format!("SELECT count(*) FROM {table} WHERE id = $1")).await?;
            Ok((insert, look_up))
        };
        let (insert, look_up) = prepared.await.map_err(|error| not_connected(&error))?;
        Ok(Open { client, insert, look_up, _connection: connection })
    };
    match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
        Ok(result) => result,
        Err(_) => Err(unsent("connect timed out", &format!("no connection within {CONNECT_LIMIT:?}"))),
    }
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

fn unsent(kind: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure {
        kind: kind.to_owned(),
        outcome: "not sent",
        text: error.to_string(),
        in_doubt: false,
        ready: false,
    }
}

fn not_connected(error: &tokio_postgres::Error) -> Failure {
    let refused = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|source| source.kind() == std::io::ErrorKind::ConnectionRefused);
    let kind = match error.as_db_error() {
        Some(db) => format!("SQLSTATE {} at connect", db.code().code()),
        None if refused => "connect refused".to_owned(),
        None => "connect failed".to_owned(),
    };
    unsent(&kind, &chain(error))
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
    Failure { kind, outcome, text: chain(error), in_doubt, ready: false }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
