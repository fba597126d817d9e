//! Beginning a transaction.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::IsolationLevel;
use wrapper_core::plugin::Call;
use wrapper_core::session::Operation;
use wrapper_core::{Error, ErrorKind, Result};

use super::{Transaction, forget};
use crate::client::{Client, send};
use crate::connection::PgConnection;

/// Begins a transaction with settings of its own; made by [`Client::build_transaction`].
#[derive(Debug)]
#[must_use = "a transaction begins with `start`"]
pub struct TransactionBuilder<'a> {
    client: &'a mut Client,
    isolation_level: Option<IsolationLevel>,
    read_only: Option<bool>,
    deferrable: Option<bool>,
}

impl Client {
    /// Begins a transaction.
    ///
    /// # Errors
    /// As for any call; when the connection was lost, nothing was begun: call again.
    ///
    /// # Cancellation
    /// Dropping the future leaves no transaction open.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>> {
        self.build_transaction().start().await
    }

    /// Begins a transaction with settings of its own.
    pub fn build_transaction(&mut self) -> TransactionBuilder<'_> {
        TransactionBuilder { client: self, isolation_level: None, read_only: None, deferrable: None }
    }
}

impl<'a> TransactionBuilder<'a> {
    /// The isolation level.
    pub fn isolation_level(mut self, isolation_level: IsolationLevel) -> Self {
        self.isolation_level = Some(isolation_level);
        self
    }

    /// Whether it only reads.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = Some(read_only);
        self
    }

    /// Whether it is deferrable; means something only for a serializable transaction that only reads.
    pub fn deferrable(mut self, deferrable: bool) -> Self {
        self.deferrable = Some(deferrable);
        self
    }

    /// Begins the transaction.
    ///
    /// # Errors
    /// As for [`Client::transaction`].
    ///
    /// # Cancellation
    /// Dropping the future leaves no transaction open.
    pub async fn start(self) -> Result<Transaction<'a>> {
        let sql = self.sql();
        let session = Arc::clone(self.client.session());
        let begin = Begin { sql: &sql, sent_on: Mutex::new(None) };
        let guard = Unbegin(&begin);
        let on = session.call(&Call::new("transaction").sql(&sql), &begin).await?;
        let pinned = session.pin();
        if !Arc::ptr_eq(&pinned.connection, &on) {
            // The guard rolls back what was begun on the connection that has been replaced.
            return Err(Error::new(
                ErrorKind::TransactionStateUnknown,
                "the session was switched while the transaction began; begin it again",
            )
            .with_outcome(wrapper_core::TransactionOutcome::RolledBack));
        }
        std::mem::forget(guard);
        Ok(Transaction::begun(session, pinned))
    }

    fn sql(&self) -> String {
        let mut modes = Vec::new();
        if let Some(level) = self.isolation_level {
            modes.push(match level {
                IsolationLevel::ReadUncommitted => "ISOLATION LEVEL READ UNCOMMITTED",
                IsolationLevel::ReadCommitted => "ISOLATION LEVEL READ COMMITTED",
                IsolationLevel::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
                _ => "ISOLATION LEVEL SERIALIZABLE",
            });
        }
        if let Some(read_only) = self.read_only {
            modes.push(if read_only { "READ ONLY" } else { "READ WRITE" });
        }
        if let Some(deferrable) = self.deferrable {
            modes.push(if deferrable { "DEFERRABLE" } else { "NOT DEFERRABLE" });
        }
        format!("START TRANSACTION {}", modes.join(", ")).trim_end().to_owned()
    }
}

/// BEGIN, and the connection to which it was handed: set in the poll that sends, before it sends.
struct Begin<'a> {
    sql: &'a str,
    sent_on: Mutex<Option<Arc<PgConnection>>>,
}

impl Operation<PgConnection> for Begin<'_> {
    type Out = Arc<PgConnection>;

    async fn run(&self, connection: &Arc<PgConnection>) -> Result<Arc<PgConnection>> {
        *self.sent_on.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(connection));
        send(connection, "transaction", Some(self.sql), connection.client().batch_execute(self.sql)).await?;
        Ok(Arc::clone(connection))
    }
}

/// Rolls back a transaction whose future was dropped, or failed, after BEGIN was sent.
struct Unbegin<'a, 'b>(&'a Begin<'b>);

impl Drop for Unbegin<'_, '_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.sent_on.lock().unwrap_or_else(PoisonError::into_inner).take() {
            forget(&connection, "ROLLBACK");
        }
    }
}
