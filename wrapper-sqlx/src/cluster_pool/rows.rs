//! A stream that an `async` block fills: rows borrow their connection, and a block can hold both.
//!
//! What lives here: [`rows`]. What may not: where the rows come from.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;

/// Where the block puts each item; the stream gives it on before the block runs again.
pub(super) struct Tray<T>(Arc<Mutex<Option<T>>>);

impl<T> Tray<T> {
    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands `item` out, and waits until the next one is asked for.
    ///
    /// Only the block of its own stream may wait for this: nobody else is woken.
    pub(super) async fn put(&self, item: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(item);
        let mut handed_out = false;
        std::future::poll_fn(move |_| {
            if std::mem::replace(&mut handed_out, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The items that `block` puts on its tray, and its error at the end, if it has one.
pub(super) fn rows<T, E, Fut>(block: impl FnOnce(Tray<T>) -> Fut) -> Rows<T, E>
where
    Fut: Future<Output = Result<(), E>> + Send + 'static,
{
    let tray = Tray(Arc::default());
    let block = Box::pin(block(Tray(Arc::clone(&tray.0))));
    Rows { block: Some(block), tray }
}

/// See [`rows`].
pub(super) struct Rows<T, E> {
    /// `None` when it has ended.
    block: Option<BoxFuture<'static, Result<(), E>>>,
    tray: Tray<T>,
}

impl<T, E> Stream for Rows<T, E> {
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(block) = &mut self.block else { return Poll::Ready(None) };
        match block.as_mut().poll(cx) {
            Poll::Ready(ended) => {
                // Dropped at once: it holds a connection.
                self.block = None;
                Poll::Ready(ended.err().map(Err))
            }
            Poll::Pending => self.tray.take().map_or(Poll::Pending, |item| Poll::Ready(Some(Ok(item)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn items_come_in_order_and_the_error_last() {
        let stream = rows(|tray| async move {
            for item in 0..3 {
                tokio::task::yield_now().await;
                tray.put(item).await;
            }
            Err("torn")
        });
        let seen: Vec<Result<i32, &str>> = stream.collect().await;
        assert_eq!(seen, [Ok(0), Ok(1), Ok(2), Err("torn")]);
    }

    #[tokio::test]
    async fn an_ended_stream_has_let_go_of_what_its_block_held() {
        let held = Arc::new(());
        let theirs = Arc::clone(&held);
        let mut stream = rows(|tray| async move {
            tray.put(1).await;
            drop(theirs);
            Ok::<(), ()>(())
        });
        assert_eq!(stream.next().await, Some(Ok(1)));
        assert_eq!(Arc::strong_count(&held), 2);
        assert_eq!(stream.next().await, None);
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(stream.next().await, None);
    }
}
