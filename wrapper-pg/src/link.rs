//! What the parts of one connection share: whether it was killed and why, how it ended, what passed over its socket.
//!
//! What lives here: [`Link`]. What may not: protocol knowledge, which is the tap's.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio_postgres::AsyncMessage;
use wrapper_core::Error;

/// Receives the notices and notifications of a connection, in order, on the connection's own task; must not block.
pub(crate) type MessageHandler = Arc<dyn Fn(AsyncMessage) + Send + Sync>;

const KILLED: u8 = 1;
const RELEASED: u8 = 1 << 1;
const DRAINING: u8 = 1 << 2;
const ENDED: u8 = 1 << 3;

/// State shared by the handle, the socket and the task of one connection.
#[derive(Default)]
pub(crate) struct Link {
    /// In one word, because the task looks at it each time it runs: 0 until the connection is to end. No flag is ever
    /// taken back.
    flags: AtomicU8,
    reason: OnceLock<Error>,
    cause: OnceLock<Arc<tokio_postgres::Error>>,
    task: AtomicWaker,
    /// Who waits for the end.
    #[cfg(feature = "raw-client")]
    watch: AtomicWaker,
    received: AtomicU64,
    written: AtomicU64,
    handler: Mutex<Option<MessageHandler>>,
}

impl Link {
    /// Closes the connection at once; the first reason stays.
    pub(crate) fn kill(&self, reason: Error) {
        // The reason is there before anyone can see the flag.
        if self.reason.set(reason).is_ok() {
            self.raise(KILLED);
        }
    }

    fn raise(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.task.wake();
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Whether nothing was asked of the task.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.flags.load(Ordering::Acquire) == 0
    }

    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.has(KILLED)
    }

    pub(crate) fn reason(&self) -> Option<&Error> {
        self.reason.get()
    }

    /// The handle is gone: the task says goodbye, for a bounded time.
    pub(crate) fn release(&self) {
        self.raise(RELEASED);
    }

    pub(crate) fn is_released(&self) -> bool {
        self.has(RELEASED)
    }

    pub(crate) fn drain(&self) {
        self.raise(DRAINING);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.has(DRAINING)
    }

    /// Notes how the driver's connection ended, before it is dropped, so that calls which end with it find the cause.
    pub(crate) fn end(&self, cause: Option<tokio_postgres::Error>) {
        if let Some(cause) = cause {
            // A connection ends once.
            let _ = self.cause.set(Arc::new(cause));
        }
        self.flags.fetch_or(ENDED, Ordering::AcqRel);
        #[cfg(feature = "raw-client")]
        self.watch.wake();
    }

    /// Waits until the driver's connection has ended; for one waiter. When its task was dropped instead, with the cluster,
    /// it waits for ever.
    #[cfg(feature = "raw-client")]
    pub(crate) async fn ended(&self) {
        std::future::poll_fn(|cx| {
            self.watch.register(cx.waker());
            if self.has_ended() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has(ENDED)
    }

    pub(crate) fn cause(&self) -> Option<&Arc<tokio_postgres::Error>> {
        self.cause.get()
    }

    /// Registers the connection's task, which looks at the flags whenever it runs.
    pub(crate) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Only the socket counts, on its task: a plain store is enough, and cheaper.
    #[inline]
    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.store(self.received.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// As [`count_received`](Self::count_received).
    #[inline]
    pub(crate) fn count_written(&self, bytes: usize) {
        self.written.store(self.written.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn set_handler(&self, handler: MessageHandler) {
        *self.handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    /// Hands a message on; without a handler it is dropped, as the driver's own loop does.
    pub(crate) fn deliver(&self, message: AsyncMessage) {
        let handler = self.handler.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(handler) = handler {
            handler(message);
        }
    }
}

/// The link in the hands of whoever the connection belongs to: dropped, it says goodbye.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Link>);

impl Hold {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self(link)
    }

    /// The link without the right to it.
    #[cfg(feature = "raw-client")]
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Deref for Hold {
    type Target = Link;

    #[inline]
    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("killed", &self.is_killed())
            .field("ended", &self.has_ended())
            .field("draining", &self.is_draining())
            .field("received", &self.received())
            .field("written", &self.written())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrapper_core::ErrorKind;

    #[test]
    fn the_first_reason_stays() {
        let link = Link::default();
        link.kill(Error::new(ErrorKind::HostSilent, "silent"));
        link.kill(Error::new(ErrorKind::Closed, "closed"));
        assert!(link.is_killed());
        assert_eq!(link.reason().map(Error::kind), Some(ErrorKind::HostSilent));
    }
}
