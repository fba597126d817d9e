//! A value that others wait to see changed, whose waiters are woken in the order in which they came.
//!
//! Tokio's `watch` spreads its waiters over several queues by a hidden random draw, so that two callers who wait for
//! one topology are woken in either order and the same seed gives two traces (R8). The methods that are here do what
//! their namesakes of `tokio::sync::watch` do.

use std::fmt;
use std::ops::Deref;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

/// A new value, its sender and its first receiver.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct Shared<T> {
    state: RwLock<State<T>>,
    changed: Notify,
}

struct State<T> {
    value: T,
    version: u64,
    closed: bool,
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that changes the value; receivers are told when it is dropped.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// A value without receivers.
    pub fn new(value: T) -> Self {
        let state = RwLock::new(State { value, version: 0, closed: false });
        Self(Arc::new(Shared { state, changed: Notify::new() }))
    }

    /// A receiver, for which the present value is not new.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.0.read().version;
        Receiver { shared: Arc::clone(&self.0), seen }
    }

    /// The present value; to be held for a moment only.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    /// Changes the value and wakes the receivers. A panic in `change` leaves the value as it was left, unannounced.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        {
            let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut state.value);
            state.version += 1;
        }
        self.0.changed.notify_waiters();
    }

    /// Puts a value in, wakes the receivers, and returns the value before.
    pub fn send_replace(&self, mut value: T) -> T {
        self.send_modify(|slot| std::mem::swap(slot, &mut value));
        value
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.changed.notify_waiters();
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&*self.borrow()).finish()
    }
}

/// The side that waits.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Receiver<T> {
    /// The present value; to be held for a moment only.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// The present value, which is not new from now on.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.read();
        self.seen = state.version;
        Ref(state)
    }

    /// Whether there is a value that was not seen yet.
    ///
    /// # Errors
    /// The sender is gone.
    pub fn has_changed(&self) -> Result<bool, SenderGone> {
        let state = self.shared.read();
        if state.closed { Err(SenderGone) } else { Ok(state.version != self.seen) }
    }

    /// Waits for a value that was not seen yet.
    ///
    /// # Errors
    /// The sender is gone, and its last value was seen.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn changed(&mut self) -> Result<(), SenderGone> {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut notified = pin!(shared.changed.notified());
            notified.as_mut().enable();
            {
                let state = shared.read();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Ok(());
                }
                if state.closed {
                    return Err(SenderGone);
                }
            }
            notified.await;
        }
    }

    /// Waits for a value that `is_it`; the present one counts.
    ///
    /// # Errors
    /// The sender is gone, and its last value is none.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, SenderGone> {
        loop {
            let mut notified = pin!(self.shared.changed.notified());
            notified.as_mut().enable();
            {
                let state = self.shared.read();
                self.seen = state.version;
                if is_it(&state.value) {
                    return Ok(Ref(state));
                }
                if state.closed {
                    return Err(SenderGone);
                }
            }
            notified.await;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&*self.borrow()).finish()
    }
}

/// A look at the value; the value cannot change while it lasts.
pub struct Ref<'a, T>(RwLockReadGuard<'a, State<T>>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The sender was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody can change the value any more")]
pub struct SenderGone;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn waiters_are_woken_in_the_order_in_which_they_came() {
        let sender = Sender::new(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        // Fewer than a runtime polls in a row before it polls this test again.
        let waiters: Vec<_> = (0..32)
            .map(|index| {
                let (mut receiver, woken) = (sender.subscribe(), Arc::clone(&woken));
                tokio::spawn(async move {
                    assert_eq!(*receiver.wait_for(|value| *value == 2).await.unwrap(), 2);
                    woken.lock().unwrap().push(index);
                })
            })
            .collect();
        for value in 1..=2 {
            tokio::task::yield_now().await;
            sender.send_replace(value);
        }
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert!(woken.lock().unwrap().is_sorted());
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_the_end_after_the_last_value() {
        let (sender, mut receiver) = channel("a");
        assert_eq!(receiver.has_changed(), Ok(false));
        sender.send_replace("b");
        let late = sender.subscribe();
        assert_eq!((receiver.has_changed(), late.has_changed()), (Ok(true), Ok(false)));
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), "b");
        let mut copy = receiver.clone();
        sender.send_modify(|value| *value = "c");
        drop(sender);
        assert_eq!(copy.has_changed(), Err(SenderGone));
        assert_eq!((copy.changed().await, copy.changed().await), (Ok(()), Err(SenderGone)));
        assert_eq!(*receiver.wait_for(|value| *value == "c").await.unwrap(), "c");
        assert_eq!(receiver.wait_for(|value| *value == "d").await.err(), Some(SenderGone));
    }

    #[tokio::test]
    async fn no_change_is_missed_between_threads() {
        let (sender, mut receiver) = channel(0);
        let writer = tokio::task::spawn_blocking(move || {
            (1..=10_000).for_each(|value| sender.send_modify(|slot| *slot = value))
        });
        receiver.wait_for(|value| *value == 10_000).await.unwrap();
        writer.await.unwrap();
    }
}
