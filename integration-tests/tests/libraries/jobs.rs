//! `underway`: a job queue on a `PgPool` of sqlx 0.8, with its worker, its `LISTEN` connections and its transactions.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{Span, ToSpan};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::task::JoinHandle;
use underway::task::{Error, RetryPolicy};
use underway::{Queue, Task, Worker};
use wrapper_sqlx::v0_8::sqlx;

use super::Tenant;
use crate::sqlx_support::{until, within};

/// How many jobs the worker has in hand at most.
const WORKERS: usize = 3;

/// A job that writes down that it ran.
#[derive(Clone)]
pub(crate) struct WriteDown;

impl Task for WriteDown {
    type Input = i64;
    type Output = ();

    async fn execute(&self, mut tx: Transaction<'_, Postgres>, id: i64) -> Result<(), Error> {
        sqlx::query("INSERT INTO ran VALUES ($1)").bind(id).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    fn heartbeat(&self) -> Span {
        1.second()
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::builder().max_attempts(100).initial_interval_ms(100).max_interval_ms(500).build()
    }
}

/// A queue and its worker, which is started once.
#[derive(Clone)]
pub(crate) struct Jobs {
    queue: Arc<Queue<WriteDown>>,
    pool: PgPool,
    worker: Arc<JoinHandle<Result<(), underway::worker::Error>>>,
    stop: Worker<WriteDown>,
}

impl Jobs {
    pub(crate) async fn on(pool: &PgPool) -> Self {
        underway::run_migrations(pool).await.expect("the queue's tables");
        sqlx::query("CREATE TABLE ran (id bigint)").execute(pool).await.expect("a table");
        let queue = Queue::builder().name("jobs").pool(pool.clone()).build().await.expect("a queue");
        let queue = Arc::new(queue);
        let mut worker = Worker::new(Arc::clone(&queue), WriteDown);
        worker.set_concurrency_limit(WORKERS);
        let stop = worker.clone();
        let worker = tokio::spawn(async move { worker.run_every(1.second()).await });
        Self { queue, pool: pool.clone(), worker: Arc::new(worker), stop }
    }

    /// The worker that was started before the crash is still at work; it ends now.
    pub(crate) async fn end(self) {
        let Self { worker, stop, .. } = self;
        assert!(!worker.is_finished(), "the worker has given up");
        stop.shutdown();
        let worker = Arc::into_inner(worker).expect("nobody else waits for it");
        within("the worker", worker).await.expect("no panic").expect("a worker that ended in good order");
    }
}

impl Tenant for Jobs {
    async fn keep(&self, id: i64) -> Result<(), String> {
        let enqueued = self.queue.enqueue(&self.pool, &WriteDown, &id).await;
        enqueued.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn check(&self, kept: &[i64]) {
        // A job that the worker had in hand when its connection was lost is kept by the queue, but not run again as long as
        // the worker lives: its heartbeat goes on (in `underway` 0.2, on any server).
        let in_hand = "SELECT (input #>> '{}')::bigint FROM underway.task WHERE state = 'in_progress'";
        let after = &kept[kept.len() - 10..];
        until("every job that was acknowledged ran, but for those in hand", async || {
            let in_hand = sqlx::query_scalar(in_hand).fetch_all(&self.pool).await;
            let in_hand: BTreeSet<i64> = in_hand.expect("read").into_iter().collect();
            let ran = sqlx::query_scalar("SELECT id FROM ran").fetch_all(&self.pool).await;
            let ran: BTreeSet<i64> = ran.expect("read").into_iter().collect();
            let left: Vec<_> = kept.iter().filter(|id| !ran.contains(id)).collect();
            left.len() <= WORKERS
                && left.iter().all(|id| in_hand.contains(id))
                && after.iter().all(|id| ran.contains(id))
        })
        .await;
    }
}
