//! Where a connection's task runs.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// Starts the task of a connection; the task belongs to the cluster that the spawner is of (R1).
///
/// Each connection has one task, which ends when the connection does. A spawner that drops the task instead of
/// running it closes the connection.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>);

impl Spawner {
    /// Starts tasks with `spawn`.
    pub fn new(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }

    /// Starts tasks on a tokio runtime; they end with it.
    pub fn on_runtime(handle: tokio::runtime::Handle) -> Self {
        Self::new(move |task| drop(handle.spawn(task)))
    }

    pub(crate) fn spawn(&self, task: BoxFuture<'static, ()>) {
        (self.0)(task);
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}
