//! Rows that come in one after the other: opened inside the chain, read outside it, watched until they end.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::connection::FakeConnection;
use super::statement::Statement;
use crate::error::{Error, Result};
use crate::session::StreamWatch;

/// One row of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeRow {
    /// The number of the statement that it belongs to.
    pub statement: u64,
    /// Its place in the answer, from 0.
    pub index: u32,
}

/// What a server sends for a stream.
#[derive(Debug)]
pub(super) enum Sent {
    Row(FakeRow),
    End,
}

/// The rows of a statement as they come in; see [`FakeClient::rows`](super::FakeClient::rows).
///
/// It stays on the connection that it was opened on. Dropped early, it leaves the rest of its rows to nobody; the server
/// sends them all the same, before it answers the next statement.
pub struct FakeRows {
    connection: Arc<FakeConnection>,
    statement: Statement,
    inside: bool,
    rows: mpsc::UnboundedReceiver<Sent>,
    watch: Option<StreamWatch<FakeConnection>>,
    ended: bool,
}

impl FakeRows {
    pub(super) fn new(
        connection: Arc<FakeConnection>,
        statement: Statement,
        inside: bool,
        rows: mpsc::UnboundedReceiver<Sent>,
    ) -> Self {
        Self { connection, statement, inside, rows, watch: None, ended: false }
    }

    pub(super) fn is_on(&self, connection: &Arc<FakeConnection>) -> bool {
        Arc::ptr_eq(&self.connection, connection)
    }

    pub(super) fn watched_by(self, watch: Option<StreamWatch<FakeConnection>>) -> Self {
        Self { watch, ..self }
    }

    /// The next row; `None` after the last one.
    ///
    /// # Errors
    /// The reason for which the connection has ended, once; then the stream is over.
    ///
    /// # Cancellation
    /// Safe: no row is lost.
    pub async fn next(&mut self) -> Result<Option<FakeRow>> {
        poll_fn(|cx| self.poll_row(cx)).await
    }

    fn poll_row(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FakeRow>>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let polled = match self.rows.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Sent::Row(row))) => Poll::Ready(Ok(Some(row))),
            Poll::Ready(Some(Sent::End)) => Poll::Ready(Ok(None)),
            Poll::Ready(None) => Poll::Ready(Err(self.connection.lost(&self.statement, self.inside))),
        };
        self.ended = matches!(polled, Poll::Ready(Ok(None) | Err(_)));
        if let Some(watch) = &mut self.watch {
            let error: Option<&Error> = match &polled {
                Poll::Ready(Err(error)) => Some(error),
                _ => None,
            };
            watch.polled(polled.is_pending(), error);
        }
        polled
    }
}

impl fmt::Debug for FakeRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRows").field("statement", &self.statement.number).finish_non_exhaustive()
    }
}
