//! One open connection of sqlx, as core sees it.
//!
//! What lives here: [`SqlxConnection`]. What may not: how it was opened (`driver`), what its errors mean (`error`).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use wrapper_core::driver::{DriverConnection, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, ErrorClass, Result};

use super::error::map_error;
use super::family::Family;
use super::sqlx;
use crate::slot::Slot;

/// One open connection to a server, made by sqlx.
///
/// sqlx's connection serves one call at a time: calls queue in the order in which they were made. Its transaction
/// status is asked of the server after texts that may change it; the bytes received are a lower bound, counted answer
/// by answer. Dropping the last handle closes the socket.
pub struct SqlxConnection<DB: Family> {
    slot: Slot<DB::Connection>,
    seen: Arc<Seen>,
    host: HostInfo,
}

/// What the answers so far have told.
#[derive(Debug)]
struct Seen {
    received: AtomicU64,
    status: Mutex<TransactionStatus>,
}

impl Seen {
    fn status(&self) -> TransactionStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_status(&self, status: TransactionStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

impl<DB: Family> SqlxConnection<DB> {
    pub(crate) fn new(connection: DB::Connection, host: HostInfo) -> Self {
        let seen = Seen { received: AtomicU64::new(0), status: Mutex::new(TransactionStatus::Idle) };
        Self { slot: Slot::new(connection), seen: Arc::new(seen), host }
    }

    /// The host that it was opened to.
    pub fn host(&self) -> &HostInfo {
        &self.host
    }

    /// Gives `call` sqlx's own connection when the calls before it have ended. What it does bypasses plugins; the
    /// transaction status is asked of the server afterwards, which takes a round trip.
    ///
    /// # Errors
    /// The call's, mapped to the library's error with sqlx's as its source; the reason why the connection was given up.
    ///
    /// # Cancellation
    /// Safe: sqlx reads the rest of an abandoned answer before the next call.
    pub async fn with_raw<T, F>(&self, call: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut DB::Connection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let seen = Arc::clone(&self.seen);
        let run = self.slot.run(move |connection| {
            async move {
                seen.set_status(TransactionStatus::Unknown);
                let result = call(connection).await;
                seen.set_status(DB::transaction_status(connection).await);
                result.map_err(map_error::<DB>)
            }
            .boxed()
        });
        run.await.map_err(|error| self.told(error, "with_raw"))
    }

    async fn query(&self, sql: &str, operation: &'static str, deadline: Deadline) -> Result<Rows> {
        let (seen, sql) = (Arc::clone(&self.seen), sql.to_owned());
        let run = self.slot.run(move |connection| query::<DB>(connection, seen, sql).boxed());
        deadline.run(operation, run).await.map_err(|error| self.told(error, operation))
    }

    /// The error with host and operation; one that says that the connection is gone closes it.
    fn told(&self, error: Error, operation: &'static str) -> Error {
        let error = match error.host() {
            Some(_) => error,
            None => error.with_operation(operation).with_host(self.host.key.to_string()),
        };
        if error.class() == ErrorClass::Network {
            self.slot.kill(error.clone());
        }
        error
    }
}

async fn query<DB: Family>(connection: &mut DB::Connection, seen: Arc<Seen>, sql: String) -> Result<Rows> {
    let before = seen.status();
    let may_change = DB::may_change_transaction(&sql) || before == TransactionStatus::Unknown;
    if may_change {
        // Should this future be dropped, the next call finds the truth out.
        let meanwhile = if before == TransactionStatus::Idle { TransactionStatus::Unknown } else { before };
        seen.set_status(meanwhile);
    }
    let result = DB::ask(connection, sql).await;
    let refused = result.is_err() && before != TransactionStatus::Idle;
    if may_change || refused {
        seen.set_status(DB::transaction_status(connection).await);
    }
    let (rows, bytes) = result.map_err(map_error::<DB>)?;
    seen.received.fetch_add(bytes, Ordering::Relaxed);
    Ok(rows)
}

#[async_trait]
impl<DB: Family> DriverConnection for SqlxConnection<DB> {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        self.query(sql, "query", deadline).await
    }

    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        self.query(sql, "execute", deadline).await.map(drop)
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        let run = self
            .slot
            .run(|connection| async { DB::probe(connection).await.map_err(map_error::<DB>) }.boxed());
        deadline.run("ping", run).await.map_err(|error| self.told(error, "ping"))?;
        self.seen.received.fetch_add(6, Ordering::Relaxed);
        Ok(())
    }

    fn kill(&self, reason: Error) {
        self.slot.kill(reason);
    }

    fn drain(&self) {
        self.slot.drain();
    }

    fn is_closed(&self) -> bool {
        self.slot.is_closed()
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.seen.status()
    }

    fn bytes_received(&self) -> u64 {
        self.seen.received.load(Ordering::Relaxed)
    }
}

impl<DB: Family> fmt::Debug for SqlxConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlxConnection")
            .field("driver", &DB::DRIVER)
            .field("host", &self.host)
            .field("slot", &self.slot)
            .field("seen", &self.seen)
            .finish()
    }
}
