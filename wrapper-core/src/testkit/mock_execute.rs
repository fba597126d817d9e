//! The rest of an execute chain, scripted.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::mock_connect::unexpected;
use crate::driver::DriverConnection;
use crate::error::Result;
use crate::plugin::{ExecuteNext, Terminal};

/// Stands for everything behind the plugin under test when a call runs: answers in the order in which answers were put
/// in, and keeps the connections that it was run on.
///
/// ```
/// use wrapper_core::testkit::MockExecute;
///
/// let mut rest = MockExecute::new().answer(Ok(()));
/// // plugin.execute(&mut cx, rest.cursor()).await …
/// let _ = rest.cursor();
/// assert_eq!(rest.runs().len(), 0);
/// ```
#[derive(Debug, Default)]
pub struct MockExecute {
    answers: VecDeque<Result<()>>,
    runs: Vec<Arc<dyn DriverConnection>>,
}

impl MockExecute {
    /// Without answers: every run fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one answer more.
    #[must_use]
    pub fn answer(mut self, answer: Result<()>) -> Self {
        self.answers.push_back(answer);
        self
    }

    /// The cursor to hand to [`Plugin::execute`](crate::plugin::Plugin::execute).
    pub fn cursor(&mut self) -> ExecuteNext<'_> {
        ExecuteNext::new(&[], self)
    }

    /// The connections of the runs, in order.
    pub fn runs(&self) -> &[Arc<dyn DriverConnection>] {
        &self.runs
    }

    /// How many answers nobody has asked for yet.
    pub fn left(&self) -> usize {
        self.answers.len()
    }
}

impl Terminal for MockExecute {
    fn invoke<'s>(&'s mut self, connection: &'s Arc<dyn DriverConnection>) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move {
            self.runs.push(Arc::clone(connection));
            self.answers.pop_front().unwrap_or_else(|| Err(unexpected("a call", "execute")))
        })
    }
}
