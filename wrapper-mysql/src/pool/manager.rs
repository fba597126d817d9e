//! What a pool of connections needs, whichever pool it is: opening one, and looking whether it may be handed out again.

use std::time::Duration;

use wrapper_core::driver::{DriverConnection, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::session::Operation;
use wrapper_core::{Error, ErrorKind, Result};

use crate::conn::Reset;
use crate::{Conn, Connector};

/// How long a connection may take to be ready for its next user.
const LIMIT: Duration = Duration::from_millis(500);

/// What a [`Manager`] does with a connection that was used before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recycling {
    /// Hands it out without a round trip when nothing speaks against it. The driver does not notice that a connection was
    /// lost while nobody used it: its next user does, by a call that ends with a finished failover.
    Fast,
    /// Asks the server for an answer first: one round trip. The default.
    #[default]
    Verified,
    /// Undoes what the session has set (variables, autocommit, temporary tables, locks): one round trip. Statements are
    /// prepared again when they are used.
    Clean,
}

/// Opens and checks the connections of a pool; the `Manager` of deadpool (feature `deadpool`) and the `ManageConnection`
/// of bb8 (feature `bb8`).
///
/// A connection is not handed out again when it is lost, when its host has lost the writer role since it was opened, when
/// its last user has left it in a transaction, or has dropped a call before its answer. A
/// [`Transaction`](crate::Transaction) that is dropped rolls back by itself and its connection stays in the pool. The
/// server has 500 ms to answer.
///
/// A connection that is lost while it is in use switches to the new writer by itself, as outside of a pool, and goes on to
/// be used. Opening one takes at most `connect_timeout`; bound the wait for a free place at the pool.
#[cfg_attr(
    feature = "deadpool",
    doc = r#"
```no_run
# async fn f() -> Result<(), Box<dyn std::error::Error>> {
use wrapper_mysql::Connector;
use wrapper_mysql::pool::Manager;

let connector = Connector::from_url("mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop")?;
let pool = deadpool::managed::Pool::<Manager>::builder(Manager::new(connector)).max_size(20).build()?;
let mut conn = pool.get().await?;
conn.exec_drop("INSERT INTO orders VALUES (?)", (7,)).await?;
# Ok(()) }
```"#
)]
#[cfg_attr(
    feature = "bb8",
    doc = r#"
```no_run
# async fn f() -> Result<(), Box<dyn std::error::Error>> {
use wrapper_mysql::Connector;
use wrapper_mysql::pool::Manager;

let connector = Connector::from_url("mysql://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop")?;
let pool = bb8::Pool::builder().max_size(20).build(Manager::new(connector)).await?;
let mut conn = pool.get().await?;
conn.exec_drop("INSERT INTO orders VALUES (?)", (7,)).await?;
# Ok(()) }
```"#
)]
#[derive(Clone, Debug)]
pub struct Manager {
    connector: Connector,
    recycling: Recycling,
}

impl Manager {
    /// For connections of `connector`; one made by [`Connector::derive`] with the reader endpoint gives a pool for reads.
    pub fn new(connector: Connector) -> Self {
        Self { connector, recycling: Recycling::default() }
    }

    /// Sets what is done with a connection that was used before.
    #[must_use]
    pub fn recycling(mut self, recycling: Recycling) -> Self {
        self.recycling = recycling;
        self
    }

    /// The connector: topology, reports, shutdown.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) async fn open(&self) -> Result<Conn> {
        self.connector.connect().await
    }

    /// Whether the connection may be handed out.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) async fn check(&self, conn: &mut Conn) -> Result<()> {
        conn.reclaim();
        refuse_closed(conn)?;
        let checked = self.ask(conn).await;
        if checked.is_err() {
            // It is told at once rather than at its next look.
            self.connector.cluster().core().request_search();
        }
        checked?;
        let current = conn.session().pin();
        if current.connection.transaction_status() != TransactionStatus::Idle
            || current.connection.is_undone()
        {
            return Err(Error::new(ErrorKind::Closed, "the connection was left in a transaction"));
        }
        refuse_closed(conn)
    }

    async fn ask(&self, conn: &Conn) -> Result<()> {
        let current = conn.session().pin();
        let connection = &current.connection;
        let deadline = Deadline::after(LIMIT, "the pool's limit for a connection that was used before");
        match self.recycling {
            Recycling::Fast if connection.is_settled() => Ok(()),
            // The answer to a rollback that was sent before is read first.
            Recycling::Fast | Recycling::Verified => connection.ping(deadline).await,
            Recycling::Clean => {
                if deadline.run("a reset", Reset.run(connection)).await? {
                    return Ok(());
                }
                Err(Error::new(
                    ErrorKind::Unsupported,
                    "the server cannot reset a session (MySQL 5.7.3 and MariaDB 10.2.4 can); use `Recycling::Verified`",
                ))
            }
        }
    }
}

fn refuse_closed(conn: &Conn) -> Result<()> {
    if conn.is_disconnected() {
        return Err(Error::new(
            ErrorKind::Closed,
            format!("the connection to {} is lost, or its host has lost the writer role", conn.host().key),
        ));
    }
    Ok(())
}
