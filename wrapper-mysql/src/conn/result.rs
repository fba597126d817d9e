//! Answers that are read one row after the other, outside of the call that asked.

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;

use mysql_async::prelude::{FromRow, Protocol};
use mysql_async::{Column, Row};
use wrapper_core::Result;
use wrapper_core::session::StreamWatch;

use super::Conn;
use super::calls::{typed, typed_row};
use crate::connection::{Lent, MysqlConnection};

/// The result sets of a call, with the methods of `mysql_async::QueryResult`.
///
/// The host is watched while a row is awaited. When the connection is lost in the middle, the read ends with a typed
/// error, and the next call on the [`Conn`] switches the session. What is left unread when this is dropped is passed
/// over by the next call.
pub struct QueryResult<'a, P> {
    place: &'a mut Option<Lent>,
    /// `None` after a switch in between, which no plugin does while a result is open.
    watch: Option<StreamWatch<MysqlConnection>>,
    operation: &'static str,
    protocol: PhantomData<fn() -> P>,
}

impl<'a, P: Protocol> QueryResult<'a, P> {
    pub(super) fn new(conn: &'a mut Conn, operation: &'static str) -> Self {
        let current = conn.session.pin();
        let own = conn.lent.as_ref().is_some_and(|lent| Arc::ptr_eq(lent.connection(), &current.connection));
        let watch = own.then(|| StreamWatch::new(Arc::clone(&conn.session), current));
        Self { place: &mut conn.lent, watch, operation, protocol: PhantomData }
    }

    fn peek<T>(&mut self, look: impl FnOnce(mysql_async::QueryResult<'_, 'static, P>) -> T) -> Option<T> {
        let conn = self.place.as_mut()?.conn()?;
        Some(look(mysql_async::QueryResult::new(conn)))
    }

    /// The next row of the present result set; `None` at its end, behind which the next one begins.
    ///
    /// # Errors
    /// The server's; the connection was lost: see [`Conn::query`].
    ///
    /// # Cancellation
    /// No row is lost; but between two result sets it takes the connection with it, see [`Conn`].
    pub async fn next(&mut self) -> Result<Option<Row>> {
        let Some(lent) = self.place.as_mut() else { return Ok(None) };
        let watch = &mut self.watch;
        let answered = match lent.parts() {
            Some((conn, fate)) => {
                let mut raw = mysql_async::QueryResult::<P>::new(conn);
                let mut next = pin!(fate.spare(raw.next()));
                poll_fn(|cx| {
                    let polled = next.as_mut().poll(cx);
                    if let Some(watch) = watch {
                        watch.polled(polled.is_pending(), None);
                    }
                    polled
                })
                .await
            }
            None => None,
        };
        let error = match answered {
            Some(Ok(row)) => return Ok(row),
            Some(Err(error)) => Some(error),
            None => None,
        };
        let error = lent.failed(error, self.operation);
        if let Some(watch) = &mut self.watch {
            watch.polled(false, Some(&error));
        }
        Err(error)
    }

    /// Whether there is nothing more to read.
    pub fn is_empty(&mut self) -> bool {
        self.peek(|result| result.is_empty()).unwrap_or(true)
    }

    /// The rows of the present result set; the next one is then at hand.
    ///
    /// # Errors
    /// As for [`next`](Self::next); a row that cannot be read as an `R`.
    pub async fn collect<R>(&mut self) -> Result<Vec<R>>
    where
        R: FromRow + Send + 'static,
    {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        typed(rows, self.operation)
    }

    /// As [`collect`](Self::collect); what follows is passed over.
    ///
    /// # Errors
    /// As for [`collect`](Self::collect).
    pub async fn collect_and_drop<R>(mut self) -> Result<Vec<R>>
    where
        R: FromRow + Send + 'static,
    {
        let rows = self.collect().await?;
        self.drop_result().await?;
        Ok(rows)
    }

    /// Gives each row of the present result set to `fun`.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn for_each<F>(&mut self, mut fun: F) -> Result<()>
    where
        F: FnMut(Row),
    {
        while let Some(row) = self.next().await? {
            fun(row);
        }
        Ok(())
    }

    /// As [`for_each`](Self::for_each); what follows is passed over.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn for_each_and_drop<F>(mut self, fun: F) -> Result<()>
    where
        F: FnMut(Row),
    {
        self.for_each(fun).await?;
        self.drop_result().await
    }

    /// What `fun` makes of each row of the present result set.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn map<F, U>(&mut self, mut fun: F) -> Result<Vec<U>>
    where
        F: FnMut(Row) -> U,
    {
        let mut made = Vec::new();
        while let Some(row) = self.next().await? {
            made.push(fun(row));
        }
        Ok(made)
    }

    /// As [`map`](Self::map); what follows is passed over.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn map_and_drop<F, U>(mut self, fun: F) -> Result<Vec<U>>
    where
        F: FnMut(Row) -> U,
    {
        let made = self.map(fun).await?;
        self.drop_result().await?;
        Ok(made)
    }

    /// Folds the rows of the present result set.
    ///
    /// # Errors
    /// As for [`collect`](Self::collect).
    pub async fn reduce<T, F, U>(&mut self, mut init: U, mut fun: F) -> Result<U>
    where
        F: FnMut(U, T) -> U,
        T: FromRow + Send + 'static,
    {
        while let Some(row) = self.next().await? {
            init = fun(init, typed_row(row, self.operation)?);
        }
        Ok(init)
    }

    /// As [`reduce`](Self::reduce); what follows is passed over.
    ///
    /// # Errors
    /// As for [`collect`](Self::collect).
    pub async fn reduce_and_drop<T, F, U>(mut self, init: U, fun: F) -> Result<U>
    where
        F: FnMut(U, T) -> U,
        T: FromRow + Send + 'static,
    {
        let made = self.reduce(init, fun).await?;
        self.drop_result().await?;
        Ok(made)
    }

    /// Passes over all that is left.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn drop_result(mut self) -> Result<()> {
        loop {
            while self.next().await?.is_some() {}
            if self.is_empty() {
                // An error of a later statement shows itself here.
                return self.next().await.map(drop);
            }
        }
    }

    /// The columns of the present result set.
    pub fn columns(&mut self) -> Option<Arc<[Column]>> {
        self.peek(|result| result.columns()).flatten()
    }

    /// How many rows the last statement has changed.
    pub fn affected_rows(&mut self) -> u64 {
        self.peek(|result| result.affected_rows()).unwrap_or_default()
    }

    /// What the last statement has put into a column with `AUTO_INCREMENT`.
    pub fn last_insert_id(&mut self) -> Option<u64> {
        self.peek(|result| result.last_insert_id()).flatten()
    }

    /// How many warnings the last statement has left.
    pub fn warnings(&mut self) -> u16 {
        self.peek(|result| result.warnings()).unwrap_or_default()
    }

    /// What the server said of the last statement; mostly empty.
    pub fn info(&mut self) -> Cow<'_, str> {
        Cow::Owned(self.peek(|result| result.info().into_owned()).unwrap_or_default())
    }
}

impl<P> Drop for QueryResult<'_, P> {
    fn drop(&mut self) {
        // The driver's connection goes back to its place.
        *self.place = None;
    }
}

impl<P> fmt::Debug for QueryResult<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryResult").field("open", &self.place.is_some()).finish_non_exhaustive()
    }
}
