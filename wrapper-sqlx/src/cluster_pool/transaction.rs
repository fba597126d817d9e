//! Transactions: pinned to the connection on which they were begun (R14).

use std::fmt;
use std::ops::{Deref, DerefMut};

use wrapper_core::plugin::Call;
use wrapper_core::{Error, ErrorKind, TransactionOutcome};

use super::backend::Backend;
use super::inner::told;
use super::leased::Original;
use super::operations::{Begin, Commit, Rollback};
use super::session::ClusterSession;

/// A transaction of a [`ClusterPool`](super::ClusterPool); it is rolled back when it is dropped before
/// [`commit`](Self::commit).
///
/// `&mut *transaction` is an `Executor` of sqlx, and each statement passes the plugins. It stays on the connection on which
/// it was begun. When that is lost, every call of it, the commit included, ends with
/// [`ErrorKind::TransactionStateUnknown`], which [`Error::from_driver`] gets out of sqlx's error; its
/// [`outcome`](Error::outcome) is *rolled back* unless something that can commit was on its way.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct ClusterTransaction<DB: Backend> {
    connection: ClusterSession<DB>,
}

impl<DB: Backend> ClusterTransaction<DB> {
    /// Begins a transaction on a connection.
    ///
    /// # Cancellation
    /// Leaves no transaction open: the connection is settled before it goes back.
    pub(super) async fn begin(mut connection: ClusterSession<DB>) -> sqlx::Result<Self> {
        let original = Original::default();
        let begin = Begin { sql: "BEGIN", original: &original };
        let begun = connection.run(Call::new("begin").sql("BEGIN"), &begin).await;
        let on = begun.map_err(|error| told::<DB>(error, &original))?;
        if !connection.pin(&on) {
            let error = Error::new(
                ErrorKind::TransactionStateUnknown,
                "the session was switched while the transaction began; begin it again",
            );
            return Err(super::super::error::into_sqlx(error.with_outcome(TransactionOutcome::RolledBack)));
        }
        Ok(Self { connection })
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// [`ErrorKind::TransactionStateUnknown`] when the connection was lost, with the outcome; an error with the outcome
    /// *rolled back* when a statement of the transaction had failed.
    ///
    /// # Cancellation
    /// Dropping the future after it has sent COMMIT leaves the outcome open; before, the transaction is rolled back.
    pub async fn commit(self) -> sqlx::Result<()> {
        let original = Original::default();
        let commit = Commit { original: &original };
        let ended = self.connection.run(Call::new("commit").sql("COMMIT"), &commit).await;
        ended.map_err(|error| told::<DB>(error, &original))
    }

    /// Rolls the transaction back.
    ///
    /// # Errors
    /// What became of the connection when it was lost; the transaction is rolled back all the same.
    ///
    /// # Cancellation
    /// Leaves the transaction rolled back.
    pub async fn rollback(self) -> sqlx::Result<()> {
        let original = Original::default();
        let rollback = Rollback { original: &original };
        let ended = self.connection.run(Call::new("rollback").sql("ROLLBACK"), &rollback).await;
        ended.map_err(|error| told::<DB>(error, &original))
    }
}

impl<DB: Backend> Deref for ClusterTransaction<DB> {
    type Target = ClusterSession<DB>;

    fn deref(&self) -> &ClusterSession<DB> {
        &self.connection
    }
}

impl<DB: Backend> DerefMut for ClusterTransaction<DB> {
    fn deref_mut(&mut self) -> &mut ClusterSession<DB> {
        &mut self.connection
    }
}

impl<DB: Backend> fmt::Debug for ClusterTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterTransaction").field("connection", &self.connection).finish()
    }
}
