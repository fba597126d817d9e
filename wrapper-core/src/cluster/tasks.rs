//! The tasks of a cluster: each is tracked, each ends with the cluster (R1).

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ClusterCore;

#[derive(Debug, Default)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    handle: OnceLock<Handle>,
}

impl Tasks {
    pub(super) fn cancel(&self) {
        self.token.cancel();
        self.tracker.close();
    }

    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl ClusterCore {
    /// Starts a task on the cluster's runtime: the one on which its first connect was made.
    ///
    /// The task is dropped at its next await when the cluster is shut down. It must hold the cluster weakly, or as
    /// [`ClusterCore`], unless its own end is bounded. Outside any runtime nothing is started: the future is
    /// dropped, and whoever waits for it sees that.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let Some(handle) = self.handle() else {
            drop(future);
            return;
        };
        let token = self.tasks.token.clone();
        let _ = name;
        let task = self.tasks.tracker.track_future(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = future => {}
            }
        });
        drop(handle.spawn(task));
    }

    /// Like [`spawn`](Self::spawn), for a task that is to end by itself: when the cluster is shut down, the task goes
    /// on for `grace` before it is dropped.
    pub fn spawn_with_grace(
        &self,
        name: &'static str,
        grace: Duration,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(handle) = self.handle() else {
            drop(future);
            return;
        };
        let token = self.tasks.token.clone();
        let env = self.env.clone();
        let _ = name;
        let task = self.tasks.tracker.track_future(async move {
            tokio::select! {
                biased;
                () = future => {}
                () = async { token.cancelled().await; env.sleep(grace).await } => {}
            }
        });
        drop(handle.spawn(task));
    }

    /// Counts a future as one of the cluster's tasks, for tasks that a task of the cluster starts by itself.
    pub(super) fn track<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.tasks.tracker.track_future(future)
    }

    /// Number of tasks that have not ended yet.
    pub fn task_count(&self) -> usize {
        self.tasks.tracker.len()
    }

    /// Whether the cluster was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.tasks.token.is_cancelled()
    }

    /// Ends every task of the cluster and returns when they are gone. Open sessions stay open, but can no longer be
    /// switched.
    ///
    /// # Cancellation
    /// Safe: the tasks end all the same.
    pub async fn shutdown(&self) {
        self.tasks.cancel();
        self.tasks.tracker.wait().await;
    }

    fn handle(&self) -> Option<Handle> {
        if let Some(handle) = self.tasks.handle.get() {
            return Some(handle.clone());
        }
        let handle = Handle::try_current().ok()?;
        Some(self.tasks.handle.get_or_init(|| handle).clone())
    }
}
