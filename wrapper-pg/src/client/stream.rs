//! Row streams: opened inside the chain, read outside it, watched until they end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio_postgres::{Row, SimpleQueryMessage};
use wrapper_core::session::{Current, Session, StreamWatch};
use wrapper_core::{Error, Result, TransactionOutcome};

use super::Runner;
use crate::calls::Started;
use crate::connection::PgConnection;

/// A driver's stream with the watch of its session: shared by all streams of this crate.
pub(crate) struct Watched<S> {
    inner: Pin<Box<S>>,
    watch: Option<StreamWatch<PgConnection>>,
    connection: Arc<PgConnection>,
    started: Started,
    operation: &'static str,
    /// What became of the statement when it is lost before anything more was sent.
    unended: TransactionOutcome,
}

impl<S> Watched<S> {
    pub(crate) fn new(
        runner: &impl Runner,
        inner: S,
        connection: Arc<PgConnection>,
        operation: &'static str,
    ) -> Self {
        let watch = current_of(runner, &connection)
            .map(|current| StreamWatch::new(Arc::clone(runner.session()), current));
        let started = connection.start(None);
        let unended = TransactionOutcome::MayHaveApplied;
        Self { inner: Box::pin(inner), watch, connection, started, operation, unended }
    }

    /// The statement does nothing by itself until the client ends it.
    pub(crate) fn ended_by_client(mut self) -> Self {
        self.unended = TransactionOutcome::RolledBack;
        self
    }

    pub(crate) fn inner(&mut self) -> Pin<&mut S> {
        self.inner.as_mut()
    }

    pub(crate) fn connection(&self) -> &Arc<PgConnection> {
        &self.connection
    }

    /// Tells the watch what a poll gave, and maps its error.
    pub(crate) fn polled<T>(&mut self, poll: Poll<Result<T, tokio_postgres::Error>>) -> Poll<Result<T>> {
        let mapped = match poll {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(value)) => Poll::Ready(Ok(value)),
            Poll::Ready(Err(error)) => {
                let error = self.connection.failed(error, &self.started, self.operation);
                // The mark was taken after the request was sent: that nothing was sent since then says nothing.
                let unsent = error.outcome() == TransactionOutcome::NotSent;
                Poll::Ready(Err(if unsent { error.with_outcome(self.unended) } else { error }))
            }
        };
        if let Some(watch) = &mut self.watch {
            let error: Option<&Error> = match &mapped {
                Poll::Ready(Err(error)) => Some(error),
                _ => None,
            };
            watch.polled(mapped.is_pending(), error);
        }
        mapped
    }
}

/// What the session knows of the connection that a call ran on; nothing when it has been switched since.
fn current_of(runner: &impl Runner, connection: &Arc<PgConnection>) -> Option<Arc<Current<PgConnection>>> {
    let session: &Arc<Session<PgConnection>> = runner.session();
    let current = runner.pinned().map_or_else(|| session.pin(), Arc::clone);
    Arc::ptr_eq(&current.connection, connection).then_some(current)
}

impl<S> fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// Makes a public stream type over a driver's stream.
macro_rules! stream {
    ($(#[$doc:meta])* $name:ident, $raw:ty, $item:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "streams do nothing unless polled"]
        pub struct $name(pub(crate) Watched<$raw>);

        impl Stream for $name {
            type Item = Result<$item>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                let polled = self.0.inner().poll_next(cx);
                let next = match polled {
                    Poll::Pending => self.0.polled(Poll::Pending),
                    Poll::Ready(None) => self.0.polled(Poll::Ready(Ok(None))),
                    Poll::Ready(Some(Ok(item))) => self.0.polled(Poll::Ready(Ok(Some(item)))),
                    Poll::Ready(Some(Err(error))) => self.0.polled(Poll::Ready(Err(error))),
                };
                Poll::Ready(ready!(next).transpose())
            }
        }
    };
}
pub(crate) use stream;

stream! {
    /// The rows of a query as they come in.
    ///
    /// The stream stays on the connection that it was opened on: a switch ends it with an error, and it is never
    /// continued elsewhere. While it waits for the server, host monitoring watches the host.
    RowStream, tokio_postgres::RowStream, Row
}

impl RowStream {
    /// How many rows the statement has affected; `None` before the stream has ended.
    pub fn rows_affected(&mut self) -> Option<u64> {
        self.0.inner().rows_affected()
    }
}

stream! {
    /// The messages of a simple query as they come in; ends with an error when the session is switched.
    SimpleQueryStream, tokio_postgres::SimpleQueryStream, SimpleQueryMessage
}
