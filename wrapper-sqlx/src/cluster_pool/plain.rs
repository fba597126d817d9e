//! A connection of the pool as sqlx's own, for code that is generic over `Acquire`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::Transaction;
use sqlx::pool::PoolConnection;
use tokio::sync::oneshot;
use wrapper_core::driver::TransactionStatus;
use wrapper_core::env::Deadline;
use wrapper_core::plugin::Call;
use wrapper_core::{ErrorKind, Result};

use super::super::error::into_sqlx;
use super::backend::Backend;
use super::hosts::closed;
use super::inner::Inner;
use super::leased::Lent;

/// A connection of a [`ClusterPool`](super::ClusterPool) that derefs to sqlx's own: what is sent through it passes no
/// plugin. It is settled before it goes back: a transaction that is open is rolled back.
pub struct PlainConnection<DB: Backend>(Lent<DB>);

impl<DB: Backend> PlainConnection<DB> {
    pub(super) async fn acquire(inner: &Arc<Inner<DB>>, method: &'static str) -> Result<Self> {
        loop {
            let connection = inner.open(&Call::new(method)).await?;
            let leased = connection.present();
            match leased.take().await {
                Ok(lent) => {
                    // From here on nobody sees what it is used for.
                    leased.seen().set_status(TransactionStatus::Unknown);
                    return Ok(Self(lent));
                }
                Err(error) if error.kind() == ErrorKind::Closed && inner.hosts.closed().is_cancelled() => {
                    return Err(closed());
                }
                // Lost in the moment since it was opened.
                Err(_) => {}
            }
        }
    }

    /// Begins a transaction of sqlx's own. sqlx forgets one whose `begin` is abandoned, so it is a task that begins it.
    pub(super) async fn begin<'c>(self, inner: &Inner<DB>) -> sqlx::Result<Transaction<'c, DB>> {
        let Some(connection) = self.0.into_plain() else { return Err(sqlx::Error::PoolClosed) };
        let (give, given) = oneshot::channel();
        let deadline = Deadline::after(inner.acquire_timeout, "acquire_timeout");
        inner.core.cluster().spawn("begin", async move {
            let begun = async { Ok(Transaction::begin(connection, None).await) };
            let begun: sqlx::Result<Transaction<'static, DB>> =
                deadline.run("BEGIN", begun).await.unwrap_or_else(|late| Err(into_sqlx(late)));
            // Nobody waits for it any more: dropped, it is rolled back.
            let _ = give.send(begun);
        });
        given.await.unwrap_or(Err(sqlx::Error::PoolClosed))
    }

    fn connection(&self) -> &PoolConnection<DB> {
        #[allow(clippy::expect_used, reason = "taken out by `begin` alone, which consumes this")]
        self.0.get().expect("the connection is there until this is dropped")
    }
}

impl<DB: Backend> Deref for PlainConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection()
    }
}

impl<DB: Backend> DerefMut for PlainConnection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        #[allow(clippy::expect_used, reason = "taken out by `begin` alone, which consumes this")]
        self.0.connection().expect("the connection is there until this is dropped")
    }
}

impl<DB: Backend> fmt::Debug for PlainConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainConnection").finish_non_exhaustive()
    }
}
