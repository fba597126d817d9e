//! Telling the watchers that somebody waits for the server, and for how long.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Current, Session};
use crate::driver::DriverConnection;
use crate::error::Error;
use crate::plugin::{Chain, WatchTokens};

/// A call that is watched from its first poll that is not ready until its end, or until it is dropped.
///
/// Takes the call pinned: its future is large, and moving it costs more than all that is done here.
pub(super) struct Watched<'a, C, F> {
    running: Pin<&'a mut F>,
    current: &'a Current<C>,
    chain: &'a Chain,
    watching: Option<WatchTokens>,
}

impl<C: DriverConnection> Session<C> {
    /// Runs `running`; from its first poll that is not ready until its end, the watchers know of it.
    pub(super) fn watched<'a, F: Future>(
        &'a self,
        current: &'a Current<C>,
        running: Pin<&'a mut F>,
    ) -> Watched<'a, C, F> {
        Watched { running, current, chain: self.chain(), watching: None }
    }
}

impl<C: DriverConnection, F: Future> Future for Watched<'_, C, F> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.running.as_mut().poll(cx);
        if polled.is_pending() && self.watching.is_none() && self.chain.watches() {
            let tokens = self.chain.watch(&self.current.erased, &self.current.host);
            self.watching = Some(tokens);
        }
        // A call that has ended is dropped at once, and its watch with it.
        polled
    }
}

impl<C, F> Drop for Watched<'_, C, F> {
    #[inline]
    fn drop(&mut self) {
        if let Some(tokens) = &self.watching {
            self.chain.unwatch(tokens);
        }
    }
}

/// The watch of a row stream: it is watched whenever it waits for the server, until it ends or is dropped.
#[derive(Debug)]
pub struct StreamWatch<C: DriverConnection> {
    session: Arc<Session<C>>,
    current: Arc<Current<C>>,
    watching: Option<WatchTokens>,
}

impl<C: DriverConnection> StreamWatch<C> {
    /// A watch of a stream that was opened on `current`.
    pub fn new(session: Arc<Session<C>>, current: Arc<Current<C>>) -> Self {
        Self { session, current, watching: None }
    }

    /// The connection that the stream reads from.
    pub fn current(&self) -> &Arc<Current<C>> {
        &self.current
    }

    /// To be told the result of each poll of the stream: whether it was pending, or ended with an error.
    pub fn polled(&mut self, pending: bool, error: Option<&Error>) {
        if !pending {
            self.end();
        } else if self.watching.is_none() && self.session.chain().watches() {
            self.watching = Some(self.session.chain().watch(&self.current.erased, &self.current.host));
        }
        if let Some(error) = error {
            self.session.chain().stream_failed(error);
        }
    }

    fn end(&mut self) {
        if let Some(tokens) = self.watching.take() {
            self.session.chain().unwatch(&tokens);
        }
    }
}

impl<C: DriverConnection> Drop for StreamWatch<C> {
    fn drop(&mut self) {
        self.end();
    }
}
