//! COPY in and out. A COPY is never repeated.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use wrapper_core::{Error, Result};

use super::stream::{Watched, stream};

stream! {
    /// The data of a `COPY … TO STDOUT` as it comes in; ends with an error when the session is switched.
    CopyOutStream, tokio_postgres::CopyOutStream, Bytes
}

/// The sink of a `COPY … FROM STDIN`.
///
/// Dropped before [`finish`](Self::finish), the server undoes it; lost with its connection, it was not applied unless
/// `finish` had been called.
#[derive(Debug)]
#[must_use = "a COPY that is not finished is undone"]
pub struct CopyInSink<U>(pub(crate) Watched<tokio_postgres::CopyInSink<U>>);

impl<U: Buf + Send + 'static> CopyInSink<U> {
    /// Ends the copy and gives the number of rows.
    ///
    /// # Errors
    /// The server's error; or the loss of the connection, when it may have been applied.
    ///
    /// # Cancellation
    /// Dropping the future may leave the copy finished or undone.
    pub async fn finish(mut self: Pin<&mut Self>) -> Result<u64> {
        std::future::poll_fn(|cx| {
            let polled = self.0.inner().poll_finish(cx);
            let finished = self.0.polled(polled);
            if let Poll::Ready(Ok(_)) = finished {
                self.0.connection().succeeded(None);
            }
            finished
        })
        .await
    }
}

impl<U: Buf + Send + 'static> Sink<U> for CopyInSink<U> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = self.0.inner().poll_ready(cx);
        self.0.polled(polled)
    }

    fn start_send(mut self: Pin<&mut Self>, item: U) -> Result<()> {
        let sent = self.0.inner().start_send(item);
        match self.0.polled(Poll::Ready(sent)) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = self.0.inner().poll_flush(cx);
        self.0.polled(polled)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = self.0.inner().poll_close(cx);
        self.0.polled(polled)
    }
}
