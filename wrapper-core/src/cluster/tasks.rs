//! The tasks of a cluster: each is tracked, each ends with the cluster (R1).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ClusterCore;

#[derive(Debug, Default)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    handle: OnceLock<Handle>,
    running: Arc<Running>,
}

/// The tasks that are alive, so that they can be ended from outside. A task that looked for its end by itself would
/// have to do so each time it runs; that of a connection runs twice a call.
#[derive(Debug, Default)]
struct Running(Mutex<List>);

#[derive(Default)]
struct List {
    next: u64,
    tasks: BTreeMap<u64, Option<Task>>,
}

struct Task {
    join: JoinHandle<()>,
    /// How long it may go on when the cluster ends.
    grace: Option<BoxFuture<'static, ()>>,
}

impl Running {
    fn list(&self) -> MutexGuard<'_, List> {
        // Nothing that runs under the lock leaves the list half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a task that is about to start; it is free again when the task has ended.
    fn place(self: &Arc<Self>) -> Place {
        let mut list = self.list();
        let number = list.next;
        list.next += 1;
        list.tasks.insert(number, None);
        Place { running: Arc::clone(self), number }
    }
}

/// Belongs to a task's future: dropped with it.
struct Place {
    running: Arc<Running>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let task = self.running.list().tasks.remove(&self.number);
        // Outside the lock: what a task leaves behind may be anything.
        drop(task);
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Tasks {
    pub(super) fn cancel(&self) {
        self.token.cancel();
        self.end_all();
        self.tracker.close();
    }

    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    fn start(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
        grace: Option<BoxFuture<'static, ()>>,
    ) {
        let Some(handle) = self.handle() else {
            drop(future);
            return;
        };
        let place = self.running.place();
        let number = place.number;
        let join = handle.spawn(self.tracker.track_future(async move {
            let _place = place;
            future.await;
        }));
        let task = match self.running.list().tasks.get_mut(&number) {
            Some(free) => free.replace(Task { join, grace }),
            // It has ended already.
            None => None,
        };
        drop(task);
        if self.token.is_cancelled() {
            self.end_all();
        }
    }

    /// Ends the tasks that are alive: at their next await, or when their grace is over.
    fn end_all(&self) {
        let tasks: Vec<Task> = self.running.list().tasks.values_mut().filter_map(Option::take).collect();
        for Task { mut join, grace } in tasks {
            match (grace, self.handle()) {
                (Some(grace), Some(handle)) => {
                    drop(handle.spawn(self.tracker.track_future(async move {
                        tokio::select! {
                            biased;
                            _ = &mut join => {}
                            () = grace => join.abort(),
                        }
                    })));
                }
                _ => join.abort(),
            }
        }
    }

    fn handle(&self) -> Option<Handle> {
        if let Some(handle) = self.handle.get() {
            return Some(handle.clone());
        }
        let handle = Handle::try_current().ok()?;
        Some(self.handle.get_or_init(|| handle).clone())
    }
}

impl ClusterCore {
    /// Starts a task on the cluster's runtime: the one on which its first connect was made.
    ///
    /// The task is dropped at its next await when the cluster is shut down. It must hold the cluster weakly, or as
    /// [`ClusterCore`], unless its own end is bounded. Outside any runtime nothing is started: the future is
    /// dropped, and whoever waits for it sees that.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let _ = name;
        self.tasks.start(future, None);
    }

    /// Like [`spawn`](Self::spawn), for a task that is to end by itself: when the cluster is shut down, the task goes
    /// on for `grace` before it is dropped.
    pub fn spawn_with_grace(
        &self,
        name: &'static str,
        grace: Duration,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let _ = name;
        let env = self.env.clone();
        self.tasks.start(future, Some(Box::pin(async move { env.sleep(grace).await })));
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
}
