//! What a pool of clients needs, whichever pool it is: opening one, and looking whether it may be handed out again.

use std::time::Duration;

use wrapper_core::driver::{DriverConnection, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::{Error, ErrorKind, Result};

use crate::connection::PgConnection;
use crate::{Client, Connector};

/// How long a client may take to be ready for its next user.
const LIMIT: Duration = Duration::from_millis(500);

/// Undoes what a session has set, without forgetting prepared statements.
const CLEAN: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
                     SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// What a [`Manager`] does with a client that was used before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recycling {
    /// Hands it out without a round trip when nothing speaks against it. The default.
    #[default]
    Fast,
    /// Asks the server for an answer first: one round trip.
    Verified,
    /// Undoes what the session has set (settings, temporary tables, advisory locks, LISTEN, cursors): one round trip.
    /// Prepared statements stay.
    Clean,
}

/// Opens and checks the clients of a pool; the `Manager` of deadpool (feature `deadpool`) and the `ManageConnection` of
/// bb8 (feature `bb8`).
///
/// A client is not handed out again when its connection is lost, when its host has lost the writer role since the
/// connection was opened, or when its last user has left it in a transaction. None of this takes a round trip, unless
/// the last user has left something unanswered: then the pool waits for that for at most 500 ms, and throws the client
/// away when it is not done by then. A [`Transaction`](crate::Transaction) that is dropped rolls back by itself and its
/// client stays in the pool.
///
/// A client that is lost while it is in use switches to the new writer by itself, as outside of a pool, and goes on to
/// be used. Opening a client takes at most `connect_timeout`; bound the wait for a free place at the pool.
#[cfg_attr(
    feature = "deadpool",
    doc = r#"
```no_run
# async fn f() -> Result<(), Box<dyn std::error::Error>> {
use wrapper_pg::Connector;
use wrapper_pg::pool::Manager;

let connector = Connector::from_url("postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop")?;
let pool = deadpool::managed::Pool::<Manager>::builder(Manager::new(connector)).max_size(20).build()?;
let client = pool.get().await?;
client.execute("INSERT INTO orders VALUES ($1)", &[&7_i64]).await?;
# Ok(()) }
```"#
)]
#[cfg_attr(
    feature = "bb8",
    doc = r#"
```no_run
# async fn f() -> Result<(), Box<dyn std::error::Error>> {
use wrapper_pg::Connector;
use wrapper_pg::pool::Manager;

let connector = Connector::from_url("postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop")?;
let pool = bb8::Pool::builder().max_size(20).build(Manager::new(connector)).await?;
let client = pool.get().await?;
client.execute("INSERT INTO orders VALUES ($1)", &[&7_i64]).await?;
# Ok(()) }
```"#
)]
#[derive(Clone, Debug)]
pub struct Manager {
    connector: Connector,
    recycling: Recycling,
}

impl Manager {
    /// For clients of `connector`; one made by [`Connector::derive`] with the reader endpoint gives a pool for reads.
    pub fn new(connector: Connector) -> Self {
        Self { connector, recycling: Recycling::Fast }
    }

    /// Sets what is done with a client that was used before.
    #[must_use]
    pub fn recycling(mut self, recycling: Recycling) -> Self {
        self.recycling = recycling;
        self
    }

    /// The connector: topology, reports, shutdown.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) async fn open(&self) -> Result<Client> {
        self.connector.connect().await
    }

    /// Whether the client may be handed out.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) async fn check(&self, client: &Client) -> Result<()> {
        refuse_closed(client)?;
        let current = client.session().pin();
        let asked = self.ask(&current.connection).await;
        if asked.is_err() {
            // It is told at once rather than at its next look.
            self.connector.cluster().core().request_search();
        }
        asked?;
        if current.connection.transaction_status() != TransactionStatus::Idle {
            return Err(Error::new(ErrorKind::Closed, "the client was left in a transaction"));
        }
        refuse_closed(client)
    }

    async fn ask(&self, connection: &PgConnection) -> Result<()> {
        let deadline = Deadline::after(LIMIT, "the pool's limit for a client that was used before");
        if self.recycling == Recycling::Verified || !connection.is_settled() {
            // What the last user has queued is answered before this is.
            connection.ping(deadline).await?;
        }
        // In a transaction the text would fail; a client that is still in one is thrown away.
        if self.recycling == Recycling::Clean && connection.is_settled() {
            connection.run_sql(CLEAN, deadline).await?;
        }
        Ok(())
    }
}

fn refuse_closed(client: &Client) -> Result<()> {
    if client.is_closed() {
        return Err(Error::new(
            ErrorKind::Closed,
            format!("the connection to {} is lost, or its host has lost the writer role", client.host().key),
        ));
    }
    Ok(())
}
