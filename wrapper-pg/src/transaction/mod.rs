//! Transactions: pinned to the connection on which they were begun (R14).
//!
//! What lives here: [`Transaction`], [`TransactionBuilder`], [`Portal`]. What may not: any way to move a transaction
//! to another connection.

mod builder;
mod end;
mod portal;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use wrapper_core::Result;
use wrapper_core::plugin::Call;
use wrapper_core::session::{Current, Operation, Session};

use crate::client::{Batch, Client, Runner};
use crate::connection::PgConnection;

pub use builder::TransactionBuilder;
pub use portal::Portal;

pub(crate) use end::forget;

/// A transaction; it is rolled back when it is dropped before [`commit`](Self::commit).
///
/// It stays on the connection on which it was begun. When that is lost, the session is switched and every call of the
/// transaction ends with [`ErrorKind::TransactionStateUnknown`](wrapper_core::ErrorKind::TransactionStateUnknown);
/// [`outcome`](wrapper_core::Error::outcome) is *rolled back* unless something that can commit was on its way.
#[derive(Debug)]
pub struct Transaction<'a> {
    session: Arc<Session<PgConnection>>,
    pinned: Arc<Current<PgConnection>>,
    savepoint: Option<Savepoint>,
    depth: u32,
    cursors: Arc<AtomicU64>,
    done: bool,
    client: PhantomData<&'a mut Client>,
}

#[derive(Clone, Debug)]
struct Savepoint(String);

impl<'a> Transaction<'a> {
    fn begun(session: Arc<Session<PgConnection>>, pinned: Arc<Current<PgConnection>>) -> Self {
        Self {
            session,
            pinned,
            savepoint: None,
            depth: 0,
            cursors: Arc::default(),
            done: false,
            client: PhantomData,
        }
    }

    /// Commits the transaction, or releases the savepoint.
    ///
    /// # Errors
    /// [`TransactionStateUnknown`](wrapper_core::ErrorKind::TransactionStateUnknown) when the connection was lost, with
    /// the outcome; an error with the outcome *rolled back* when the server answered COMMIT with a rollback because a
    /// statement of the transaction had failed.
    ///
    /// # Cancellation
    /// Dropping the future after it has sent COMMIT leaves the outcome open; before, the transaction is rolled back.
    pub async fn commit(mut self) -> Result<()> {
        match self.savepoint.clone() {
            None => self.end("COMMIT", true).await,
            Some(Savepoint(name)) => self.end(&format!("RELEASE {name}"), false).await,
        }
    }

    /// Rolls the transaction back, or back to the savepoint.
    ///
    /// # Errors
    /// What became of the session when the connection was lost; the transaction is rolled back all the same.
    ///
    /// # Cancellation
    /// Dropping the future leaves the transaction rolled back.
    pub async fn rollback(mut self) -> Result<()> {
        match self.savepoint.clone() {
            None => self.end("ROLLBACK", false).await,
            Some(Savepoint(name)) => self.end(&format!("ROLLBACK TO {name}"), false).await,
        }
    }

    /// Begins a nested transaction: a savepoint with a name of its own.
    ///
    /// # Errors
    /// As for any call of a transaction.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>> {
        let name = format!("sp_{}", self.depth + 1);
        self.nested(name).await
    }

    /// Begins a nested transaction: a savepoint called `name`.
    ///
    /// # Errors
    /// As for any call of a transaction.
    pub async fn savepoint<I: Into<String>>(&mut self, name: I) -> Result<Transaction<'_>> {
        self.nested(name.into()).await
    }

    async fn nested(&mut self, name: String) -> Result<Transaction<'_>> {
        let sql = format!("SAVEPOINT {name}");
        // The guard exists before the savepoint is sent: when this future is dropped, it is undone.
        let mut nested = Transaction {
            session: Arc::clone(&self.session),
            pinned: Arc::clone(&self.pinned),
            savepoint: Some(Savepoint(name)),
            depth: self.depth + 1,
            cursors: Arc::clone(&self.cursors),
            done: false,
            client: PhantomData,
        };
        let started = self.run_on(&Call::new("savepoint").sql(&sql), &Batch(&sql)).await;
        if let Err(error) = started {
            nested.done = true;
            return Err(error);
        }
        Ok(nested)
    }

    /// A token that can stop the statement that runs on this transaction's connection.
    pub fn cancel_token(&self) -> crate::CancelToken {
        self.pinned.connection.cancel_token()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let sql = match &self.savepoint {
            None => "ROLLBACK".to_owned(),
            Some(Savepoint(name)) => format!("ROLLBACK TO {name}"),
        };
        forget(&self.pinned.connection, &sql);
    }
}

impl Runner for Transaction<'_> {
    async fn run_on<O: Operation<PgConnection>>(&self, call: &Call<'_>, operation: &O) -> Result<O::Out> {
        self.session.call_on(&self.pinned, &call.pinned(), operation).await
    }

    fn session(&self) -> &Arc<Session<PgConnection>> {
        &self.session
    }

    fn pinned(&self) -> Option<&Arc<Current<PgConnection>>> {
        Some(&self.pinned)
    }
}
