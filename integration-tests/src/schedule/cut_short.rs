//! Futures that are dropped before they end.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// When a future is dropped.
#[derive(Clone, Copy, Debug)]
pub(super) enum CutShort {
    Never,
    /// Instead of its next poll, after this many.
    Polls(u32),
    After(Duration),
}

impl CutShort {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..10) {
            0 => Self::Polls(rng.u32(1..6)),
            1 => Self::After(Duration::from_micros(rng.u64(..3_000))),
            2 if rng.bool() => Self::After(Duration::from_millis(rng.u64(..3_000))),
            _ => Self::Never,
        }
    }

    /// Runs `future`; `None` when it was dropped before its end.
    pub(super) async fn run<F: Future>(self, future: F) -> Option<F::Output> {
        match self {
            Self::Never => Some(future.await),
            Self::After(span) => tokio::time::timeout(span, future).await.ok(),
            Self::Polls(most) => {
                let mut future = Box::pin(future);
                let mut polls = 0;
                poll_fn(move |cx| {
                    polls += 1;
                    if polls > most { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) }
                })
                .await
            }
        }
    }
}
