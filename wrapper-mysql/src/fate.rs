//! Whether a connection is to end, and why: what reaches a call that is in flight.
//!
//! What lives here: [`Fate`]. What may not: the connection itself.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use wrapper_core::Error;

/// The end of a connection: asked for at once by [`end`](Self::end), or after the call in flight by
/// [`drain`](Self::drain). Nothing is ever taken back.
#[derive(Default)]
pub(crate) struct Fate {
    reason: OnceLock<Error>,
    draining: AtomicBool,
    /// Of the call in flight: there is one at most.
    task: AtomicWaker,
}

impl Fate {
    /// Ends the connection; the first reason stays.
    pub(crate) fn end(&self, reason: Error) {
        if self.reason.set(reason).is_ok() {
            self.task.wake();
        }
    }

    /// Why it has ended; `None` as long as it has not.
    pub(crate) fn reason(&self) -> Option<&Error> {
        self.reason.get()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.reason.get().is_some()
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// What `call` gives; `None` as soon as the connection is to end.
    pub(crate) async fn spare<F: Future>(&self, call: F) -> Option<F::Output> {
        let mut call = pin!(call);
        poll_fn(|cx| {
            // Registered before the look: an end that comes in between wakes.
            self.task.register(cx.waker());
            if self.has_ended() {
                return Poll::Ready(None);
            }
            call.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fate")
            .field("ended", &self.has_ended())
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrapper_core::ErrorKind;

    #[tokio::test]
    async fn the_first_reason_stays_and_ends_the_call_in_flight() {
        let fate = Fate::default();
        let (ended, ()) = tokio::join!(fate.spare(std::future::pending::<()>()), async {
            fate.end(Error::new(ErrorKind::HostSilent, "silent"));
            fate.end(Error::new(ErrorKind::Closed, "closed"));
        });
        assert!(ended.is_none());
        assert_eq!(fate.reason().map(Error::kind), Some(ErrorKind::HostSilent));
    }
}
