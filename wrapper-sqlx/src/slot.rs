//! The place of a connection that only one call can use at a time: calls queue, and the connection can be given up at
//! any moment, in the middle of a call too.
//!
//! What lives here: [`Slot`], for the connection of any driver. What may not: what a call does.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use wrapper_core::{Error, ErrorKind, Result};

/// A connection, the queue of those who use it, and the way to take it away from them.
///
/// A call that is dropped leaves the connection in its place: drivers that go in here read an abandoned answer before
/// the next one.
pub(crate) struct Slot<C> {
    connection: Mutex<Option<C>>,
    reason: OnceLock<Error>,
    given_up: CancellationToken,
    draining: AtomicBool,
    calls: AtomicUsize,
}

impl<C: Send> Slot<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self {
            connection: Mutex::new(Some(connection)),
            reason: OnceLock::new(),
            given_up: CancellationToken::new(),
            draining: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
        }
    }

    /// Runs `call` on the connection as soon as all calls before it have ended.
    ///
    /// # Errors
    /// The call's; or the reason why the connection was given up, before or meanwhile.
    ///
    /// # Cancellation
    /// As safe as the driver's call.
    pub(crate) async fn run<T, F>(&self, call: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut C) -> BoxFuture<'c, Result<T>> + Send,
        T: Send + 'static,
    {
        let _entered = self.enter()?;
        let turn = async {
            let mut held = Held { guard: Some(self.connection.lock().await), slot: self };
            match held.guard.as_mut().and_then(|guard| guard.as_mut()) {
                Some(connection) => call(connection).await,
                None => Err(self.reason()),
            }
        };
        tokio::select! {
            biased;
            () = self.given_up.cancelled() => Err(self.reason()),
            result = turn => result,
        }
    }

    /// Closes the connection at once; calls in flight and later ones end with `reason`. The first reason stays.
    pub(crate) fn kill(&self, reason: Error) {
        let _ = self.reason.set(reason);
        self.given_up.cancel();
        self.discard();
    }

    /// Closes the connection when the calls that are in flight have ended; takes no new ones.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        if self.calls.load(Ordering::SeqCst) == 0 {
            self.kill(drained());
        }
    }

    /// Whether it takes no more calls.
    pub(crate) fn is_closed(&self) -> bool {
        self.given_up.is_cancelled()
    }

    fn reason(&self) -> Error {
        self.reason.get().cloned().unwrap_or_else(drained)
    }

    fn enter(&self) -> Result<Entered<'_, C>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let entered = Entered(self);
        if self.given_up.is_cancelled() {
            return Err(self.reason());
        }
        if self.draining.load(Ordering::SeqCst) {
            return Err(drained());
        }
        Ok(entered)
    }

    /// Drops the connection, unless a call has it: that call does it then.
    fn discard(&self) {
        let taken = self.connection.try_lock().ok().and_then(|mut connection| connection.take());
        drop(taken);
    }
}

fn drained() -> Error {
    Error::new(ErrorKind::Closed, "the connection was closed after its last call")
}

/// A call, from its start to its end, however it ends.
struct Entered<'a, C: Send>(&'a Slot<C>);

impl<C: Send> Drop for Entered<'_, C> {
    fn drop(&mut self) {
        let last = self.0.calls.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.draining.load(Ordering::SeqCst) {
            self.0.kill(drained());
        }
    }
}

/// The connection while a call has it.
struct Held<'a, C: Send> {
    guard: Option<MutexGuard<'a, Option<C>>>,
    slot: &'a Slot<C>,
}

impl<C: Send> Drop for Held<'_, C> {
    fn drop(&mut self) {
        self.guard = None;
        // Asked after the connection is back in its place: whoever gives it up meanwhile either finds it there or is
        // seen here.
        if self.slot.given_up.is_cancelled() {
            self.slot.discard();
        }
    }
}

impl<C> fmt::Debug for Slot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("closed", &self.given_up.is_cancelled())
            .field("calls", &self.calls.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    struct Socket(Arc<AtomicUsize>);

    impl Drop for Socket {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn slot() -> (Slot<Socket>, Arc<AtomicUsize>) {
        let closed = Arc::new(AtomicUsize::new(0));
        (Slot::new(Socket(Arc::clone(&closed))), closed)
    }

    #[tokio::test]
    async fn a_kill_in_the_middle_of_a_call_closes_the_connection_with_the_first_reason() {
        let (slot, closed) = slot();
        let mut call = Box::pin(slot.run(|_| std::future::pending::<Result<()>>().boxed()));
        assert!((&mut call).now_or_never().is_none());
        slot.kill(Error::new(ErrorKind::HostSilent, "silent"));
        slot.kill(Error::new(ErrorKind::Closed, "later"));
        assert_eq!(closed.load(Ordering::SeqCst), 0, "the call still has it");
        assert_eq!(call.await.unwrap_err().kind(), ErrorKind::HostSilent);
        assert_eq!(closed.load(Ordering::SeqCst), 1);
        let later = slot.run(|_| async { Ok(()) }.boxed()).await.unwrap_err();
        assert_eq!(later.kind(), ErrorKind::HostSilent);
    }

    #[tokio::test]
    async fn a_killed_connection_is_closed_though_its_call_is_dropped_unfinished() {
        let (slot, closed) = slot();
        let mut call = Box::pin(slot.run(|_| std::future::pending::<Result<()>>().boxed()));
        assert!((&mut call).now_or_never().is_none());
        slot.kill(Error::new(ErrorKind::HostSilent, "silent"));
        drop(call);
        assert_eq!(closed.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_drain_waits_for_all_calls_and_takes_no_new_ones() {
        let (slot, closed) = slot();
        let gate = CancellationToken::new();
        let wait = || {
            let gate = gate.clone();
            let waits = async move {
                gate.cancelled_owned().await;
                Ok(())
            };
            slot.run(move |_| waits.boxed())
        };
        let (mut first, mut second) = (Box::pin(wait()), Box::pin(wait()));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        slot.drain();
        assert!(wait().await.is_err());
        gate.cancel();
        first.await.unwrap();
        assert!(!slot.is_closed());
        second.await.unwrap();
        assert!(slot.is_closed());
        assert_eq!(closed.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_dropped_call_leaves_the_connection_to_the_next() {
        let (slot, closed) = slot();
        let mut call = Box::pin(slot.run(|_| std::future::pending::<Result<()>>().boxed()));
        assert!((&mut call).now_or_never().is_none());
        drop(call);
        slot.run(|_| async { Ok(()) }.boxed()).await.unwrap();
        assert_eq!(closed.load(Ordering::SeqCst), 0);
    }
}
