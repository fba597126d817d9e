//! A point in time that every wait below it respects.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// A point in time, and the setting that it comes from; computed once and passed down as a value.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    span: Duration,
    setting: &'static str,
}

impl Deadline {
    /// `span` from now on; `setting` is named in the error when it passes.
    pub fn after(span: Duration, setting: &'static str) -> Self {
        let now = Instant::now();
        // Thirty years stand for "never" where the sum would overflow.
        let at = now.checked_add(span).unwrap_or_else(|| now + Duration::from_secs(946_080_000));
        Self { at, span, setting }
    }

    /// The earlier of this one and `span` from now on.
    #[must_use]
    pub fn cap(self, span: Duration, setting: &'static str) -> Self {
        let other = Self::after(span, setting);
        if other.at < self.at { other } else { self }
    }

    /// When it passes.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The setting that it comes from.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// What is left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The error for a wait that reached it; `what` completes "… did not end within".
    pub fn error(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Timeout,
            format!("{what} did not end within {:?}, the value of `{}`", self.span, self.setting),
        )
    }

    /// Runs `future` until it ends or the deadline passes.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when the deadline passes first, else the future's own error.
    ///
    /// # Cancellation
    /// As safe as `future`; at the deadline the future is dropped.
    pub async fn run<T>(&self, what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout_at(self.at, future).await {
            Ok(result) => result,
            Err(_) => Err(self.error(what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_error_names_the_setting_and_its_value() {
        let deadline = Deadline::after(Duration::from_secs(5), "connect_timeout");
        let error = deadline.run("connecting", std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("5s, the value of `connect_timeout`"), "{error}");
        assert!(deadline.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_one_wins() {
        let deadline = Deadline::after(Duration::from_secs(5), "a").cap(Duration::from_secs(9), "b");
        assert_eq!(deadline.setting(), "a");
        assert_eq!(deadline.cap(Duration::from_secs(1), "c").setting(), "c");
        assert!(!Deadline::after(Duration::MAX, "d").is_over());
    }
}
