//! The rest of a connect chain, scripted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::driver::ConnectTarget;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{ConnectContext, ConnectNext, Connected, MethodSet, OrderClass, Plugin};

/// Stands for everything behind the plugin under test when a connection is opened: answers in the order in which answers
/// were put in, and keeps the targets that it was asked for.
///
/// ```
/// use wrapper_core::testkit::MockConnect;
/// use wrapper_core::{Error, ErrorKind};
///
/// let rest = MockConnect::new().answer(Err(Error::new(ErrorKind::Network, "refused")));
/// // plugin.connect(&mut cx, rest.cursor()).await …
/// assert_eq!(rest.left(), 1);
/// assert!(rest.targets().is_empty());
/// ```
#[derive(Debug)]
pub struct MockConnect {
    script: Arc<Script>,
    list: [Arc<dyn Plugin>; 1],
}

#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Connected>>>,
    targets: Mutex<Vec<ConnectTarget>>,
}

impl MockConnect {
    /// Without answers: every run fails.
    pub fn new() -> Self {
        let script = Arc::new(Script::default());
        let list: [Arc<dyn Plugin>; 1] = [Arc::new(End(Arc::clone(&script)))];
        Self { script, list }
    }

    /// The same with one answer more.
    #[must_use]
    pub fn answer(self, answer: Result<Connected>) -> Self {
        self.script.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(answer);
        self
    }

    /// The cursor to hand to [`Plugin::connect`].
    pub fn cursor(&self) -> ConnectNext<'_> {
        ConnectNext::new(&self.list, false)
    }

    /// The cursor to hand to [`Plugin::force_connect`].
    pub fn forced_cursor(&self) -> ConnectNext<'_> {
        ConnectNext::new(&self.list, true)
    }

    /// What was asked for, in order.
    pub fn targets(&self) -> Vec<ConnectTarget> {
        self.script.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many answers nobody has asked for yet.
    pub fn left(&self) -> usize {
        self.script.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Default for MockConnect {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct End(Arc<Script>);

impl End {
    fn take(&self, cx: &ConnectContext<'_>) -> Result<Connected> {
        self.0.targets.lock().unwrap_or_else(PoisonError::into_inner).push(cx.target.clone());
        let answer = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        answer.unwrap_or_else(|| Err(unexpected("a connect", cx.target.host.host())))
    }
}

/// The error for a run that the test has put no answer in for.
pub(super) fn unexpected(what: &str, whose: &str) -> Error {
    Error::new(
        ErrorKind::Plugin,
        format!("the mock was asked for {what} ({whose}) more often than it has answers"),
    )
}

#[async_trait]
impl Plugin for End {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Connection
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::CONNECT | MethodSet::FORCE_CONNECT
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, _: ConnectNext<'_>) -> Result<Connected> {
        self.take(cx)
    }

    async fn force_connect(&self, cx: &mut ConnectContext<'_>, _: ConnectNext<'_>) -> Result<Connected> {
        self.take(cx)
    }
}
