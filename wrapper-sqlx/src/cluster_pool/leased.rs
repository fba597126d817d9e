//! A connection that is out of its pool for a while, as core sees it.
//!
//! What lives here: [`Leased`], its calls, and its way back ([`Lent`]). What may not: which pool it comes from, who uses it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use tokio_util::sync::CancellationToken;
use wrapper_core::driver::{DriverConnection, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

use super::super::error::describe_error;
use super::backend::Backend;
use super::hosts::HostPool;
use super::seen::Seen;
use crate::slot::Slot;

/// A connection of a host's pool, from its acquire to its release.
pub(super) struct Leased<DB: Backend> {
    slot: Slot<Lent<DB>>,
    seen: Arc<Seen>,
    home: Arc<HostPool<DB>>,
    /// It was opened for this lease, as far as is known.
    is_new: bool,
    lost: CancellationToken,
}

/// What a call does to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing, or what its text says: then the server is asked.
    OfText,
    /// When it succeeds, this.
    Leads(TransactionStatus),
}

/// The error that sqlx gave, kept so that the caller can get it back as it was.
#[derive(Debug, Default)]
pub(super) struct Original(Mutex<Option<Arc<sqlx::Error>>>);

impl Original {
    fn keep(&self, error: &Arc<sqlx::Error>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(error));
    }

    pub(super) fn take(&self) -> Option<Arc<sqlx::Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<DB: Backend> Leased<DB> {
    pub(super) fn new(connection: PoolConnection<DB>, home: &Arc<HostPool<DB>>, is_new: bool) -> Self {
        let seen = Arc::new(Seen::new());
        let lent = Lent::new(connection, Arc::clone(&seen), Arc::clone(home));
        let home = Arc::clone(home);
        Self { slot: Slot::new(lent), seen, home, is_new, lost: CancellationToken::new() }
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn home(&self) -> &Arc<HostPool<DB>> {
        &self.home
    }

    pub(super) fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }

    /// Returns when the connection was given up.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Runs one call of the driver.
    ///
    /// # Errors
    /// The driver's, classified, with the driver's own in it and in `original`; the reason why the connection was given
    /// up. When it is lost, it is not used again.
    ///
    /// # Cancellation
    /// Safe: sqlx reads the rest of an abandoned answer before the next call, and the connection is looked at before
    /// anybody else gets it.
    pub(super) async fn call<T, F>(
        &self,
        operation: &'static str,
        sql: Option<&str>,
        effect: Effect,
        original: &Original,
        run: F,
    ) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut DB::Connection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let may_end = effect != Effect::OfText || sql.is_some_and(DB::may_change_transaction);
        let (seen, before, sent) = (Arc::clone(&self.seen), self.seen.status(), self.seen.sent());
        let run = self.slot.run(move |lent: &mut Lent<DB>| {
            async move {
                let connection = lent.connection()?;
                if seen.is_unfinished() {
                    // A call before this one was dropped: whether its transaction has failed only the server knows.
                    // What that call has failed with is nobody's to know any more.
                    let _ = DB::catch_up(connection).await;
                    seen.set_status(DB::transaction_status(connection).await);
                }
                let before = seen.status();
                seen.begin(may_end);
                let result = run(connection).await;
                if result.as_ref().err().is_none_or(is_answer) {
                    seen.note_received();
                    let status = match (effect, &result) {
                        (Effect::Leads(status), Ok(_)) => Some(status),
                        (_, Ok(_)) if may_end || before == TransactionStatus::Unknown => None,
                        (_, Err(_)) if may_end || before != TransactionStatus::Idle => None,
                        _ => Some(before),
                    };
                    let status = match status {
                        Some(status) => status,
                        None => DB::transaction_status(connection).await,
                    };
                    seen.set_status(status);
                    seen.end();
                }
                Ok(result)
            }
            .boxed()
        });
        let error = match run.await {
            Ok(Ok(out)) => return Ok(out),
            Ok(Err(error)) => {
                let error = Arc::new(error);
                original.keep(&error);
                describe_error::<DB>(&error).with_shared_source(error)
            }
            Err(reason) => reason,
        };
        let error = error.with_operation(operation).with_host(self.home.key().host());
        if error.class() != ErrorClass::Network {
            return Err(error);
        }
        let outcome = match before {
            TransactionStatus::Open | TransactionStatus::Failed => {
                let ending = may_end && self.seen.sent() != sent;
                if ending { TransactionOutcome::MayHaveApplied } else { TransactionOutcome::RolledBack }
            }
            _ if self.seen.sent() == sent => TransactionOutcome::NotSent,
            _ => TransactionOutcome::MayHaveApplied,
        };
        let error = error.with_outcome(outcome);
        self.give_up(error.clone(), true);
        Err(error)
    }

    /// Closes the connection; `tells` whether that says something of the host.
    fn give_up(&self, reason: Error, tells: bool) {
        if self.seen.give_up() && tells {
            self.home.note_lost();
        }
        self.slot.kill(reason);
        self.lost.cancel();
    }

    /// Takes the connection out, for somebody who uses it without the library.
    ///
    /// # Errors
    /// The reason why it was given up.
    pub(super) async fn take(&self) -> Result<Lent<DB>> {
        let spare = Lent { connection: None, seen: Arc::clone(&self.seen), home: Arc::clone(&self.home) };
        self.slot.run(move |lent| async move { Ok(std::mem::replace(lent, spare)) }.boxed()).await
    }

    async fn ask(&self, sql: &str, operation: &'static str, deadline: Deadline) -> Result<Rows> {
        let text = sql.to_owned();
        let original = Original::default();
        let call = self.call(operation, Some(sql), Effect::OfText, &original, move |connection| {
            async move { DB::ask(connection, text).await.map(|(rows, _)| rows) }.boxed()
        });
        deadline.run(operation, call).await
    }
}

/// Whether the server has answered with this error, so that the connection is in order.
fn is_answer(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_) | sqlx::Error::Encode(_) | sqlx::Error::RowNotFound)
}

#[async_trait]
impl<DB: Backend> DriverConnection for Leased<DB> {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        self.ask(sql, "query", deadline).await
    }

    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        self.ask(sql, "execute", deadline).await.map(drop)
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        let original = Original::default();
        let ping = self.call("ping", None, Effect::OfText, &original, |connection| DB::probe(connection));
        deadline.run("ping", ping).await
    }

    fn kill(&self, reason: Error) {
        let silent = reason.kind() == ErrorKind::HostSilent;
        self.give_up(reason, silent);
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

    fn outcome_if_lost(&self) -> TransactionOutcome {
        self.seen.outcome_if_lost()
    }

    fn bytes_received(&self) -> u64 {
        self.seen.received()
    }
}

impl<DB: Backend> fmt::Debug for Leased<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("host", self.home.key())
            .field("slot", &self.slot)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// The connection itself. Dropped, it goes back to its pool when it is clean, after it was settled when it is not, and is
/// closed without a word when it was given up.
pub(super) struct Lent<DB: Backend> {
    connection: Option<PoolConnection<DB>>,
    seen: Arc<Seen>,
    home: Arc<HostPool<DB>>,
}

impl<DB: Backend> Lent<DB> {
    fn new(connection: PoolConnection<DB>, seen: Arc<Seen>, home: Arc<HostPool<DB>>) -> Self {
        home.note_out();
        Self { connection: Some(connection), seen, home }
    }

    /// The connection.
    ///
    /// # Errors
    /// It was taken out.
    pub(super) fn connection(&mut self) -> Result<&mut PoolConnection<DB>> {
        self.connection.as_mut().ok_or_else(|| Error::new(ErrorKind::Closed, "the connection was taken out"))
    }

    pub(super) fn get(&self) -> Option<&PoolConnection<DB>> {
        self.connection.as_ref()
    }

    /// From here on the connection is its user's: sqlx gives it back to its pool by itself.
    pub(super) fn into_plain(mut self) -> Option<PoolConnection<DB>> {
        let taken = self.connection.take();
        if taken.is_some() {
            self.home.note_back();
        }
        taken
    }
}

impl<DB: Backend> Drop for Lent<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        self.home.note_back();
        if self.seen.is_given_up() {
            // Not closed politely: the other side may be silent.
            drop(connection.detach());
        } else if self.seen.is_clean() {
            self.home.give_back(connection);
        } else {
            self.home.settle(connection);
        }
    }
}
