//! Telling the watchers that somebody waits for the server, and for how long.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::{Current, Session};
use crate::driver::DriverConnection;
use crate::error::Error;
use crate::plugin::Watching;

impl<C: DriverConnection> Session<C> {
    /// Runs `future`; from its first poll that is not ready until its end, the watchers know of it.
    ///
    /// Takes it pinned: a call's future is large, and moving it costs more than all that is done here.
    pub(super) fn watched<'a, F: Future>(
        &'a self,
        current: &'a Current<C>,
        mut future: Pin<&'a mut F>,
    ) -> impl Future<Output = F::Output> + use<'a, C, F> {
        let mut watching: Option<Watching> = None;
        poll_fn(move |cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                watching = None;
                Poll::Ready(output)
            }
            Poll::Pending => {
                if watching.is_none() && self.chain().watches() {
                    let connection = Arc::clone(&current.connection) as Arc<dyn DriverConnection>;
                    watching = Some(self.chain().watch(&connection, &current.host));
                }
                Poll::Pending
            }
        })
    }
}

/// The watch of a row stream: it is watched whenever it waits for the server, until it ends or is dropped.
#[derive(Debug)]
pub struct StreamWatch<C: DriverConnection> {
    session: Arc<Session<C>>,
    current: Arc<Current<C>>,
    watching: Option<Watching>,
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
            self.watching = None;
        } else if self.watching.is_none() && self.session.chain().watches() {
            let connection = Arc::clone(&self.current.connection) as Arc<dyn DriverConnection>;
            self.watching = Some(self.session.chain().watch(&connection, &self.current.host));
        }
        if let Some(error) = error {
            self.session.chain().stream_failed(error);
        }
    }
}
