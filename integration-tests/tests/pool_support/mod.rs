//! What the tests of pools share: a load over any kind of pool, and what must hold of it through a failover.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

/// A pool of some kind.
pub(crate) trait Pooled: Clone + Send + Sync + 'static {
    /// What it lends.
    type Client: Send + 'static;

    /// Takes a client out.
    fn take(&self) -> impl Future<Output = Result<Self::Client, String>> + Send;

    /// The instance that the client leads to.
    fn behind(client: &mut Self::Client) -> impl Future<Output = Result<String, String>> + Send;

    /// Inserts a row into `t`.
    fn insert(client: &mut Self::Client, id: i64) -> impl Future<Output = Result<(), String>> + Send;

    /// Runs SQL.
    fn run(client: &mut Self::Client, sql: &'static str) -> impl Future<Output = Result<(), String>> + Send;
}

/// How many tasks write.
const TASKS: usize = 10;

/// What a load has seen.
#[derive(Default)]
pub(crate) struct Seen {
    stop: AtomicBool,
    next: AtomicI64,
    taken: AtomicU64,
    /// Clients that led to a host which was known to be demoted before the checkout began.
    demoted: AtomicU64,
    /// Checkouts that failed.
    refused: Mutex<Vec<String>>,
    acknowledged: Mutex<Vec<i64>>,
}

impl Seen {
    /// How many clients were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// How many writes were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    async fn write<P: Pooled>(&self, pool: &P, known: &(impl Fn() -> Option<String> + Send + Sync)) {
        while !self.stop.load(Ordering::SeqCst) {
            let before = known();
            let mut client = match pool.take().await {
                Ok(client) => client,
                Err(error) => {
                    self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                    // A pool may refuse at once.
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            self.taken.fetch_add(1, Ordering::SeqCst);
            let Ok(behind) = P::behind(&mut client).await else { continue };
            // Where no writer is known yet nobody is known to be demoted.
            let elsewhere = |known: Option<String>| known.is_some_and(|known| known != behind);
            if elsewhere(before) && elsewhere(known()) {
                self.demoted.fetch_add(1, Ordering::SeqCst);
            }
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            if P::insert(&mut client, id).await.is_ok() {
                self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            }
        }
    }
}

/// A load over a pool, until [`end`](Self::end).
pub(crate) struct Load {
    pub(crate) seen: Arc<Seen>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Ten tasks that take a client, look where it leads, and write. `known` gives the instance that the monitor takes for
    /// the writer.
    pub(crate) fn start<P: Pooled>(
        pool: &P,
        known: impl Fn() -> Option<String> + Clone + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (seen, pool, known) = (Arc::clone(&seen), pool.clone(), known.clone());
            tasks.spawn(async move { seen.write(&pool, &known).await });
        }
        Self { seen, tasks }
    }

    /// Ends the load. No checkout gave a client on a host that was known to be demoted; what was acknowledged is in
    /// `kept`.
    pub(crate) async fn end<F: Future<Output = BTreeSet<i64>>>(mut self, kept: impl FnOnce() -> F) {
        self.seen.stop.store(true, Ordering::SeqCst);
        while let Some(task) = self.tasks.join_next().await {
            task.expect("no task panics");
        }
        assert_eq!(self.seen.demoted.load(Ordering::SeqCst), 0, "clients on a host known to be demoted");
        let kept = kept().await;
        let acknowledged = self.seen.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost: Vec<_> = acknowledged.iter().filter(|id| !kept.contains(id)).collect();
        assert!(lost.is_empty(), "{} acknowledged writes are lost: {lost:?}", lost.len());
        let refused = self.seen.refused.lock().unwrap_or_else(PoisonError::into_inner);
        println!(
            "{} clients taken, {} writes acknowledged, {} checkouts refused: {:?}",
            self.seen.taken(),
            acknowledged.len(),
            refused.len(),
            refused.first()
        );
    }
}

/// The writer is lost, nobody takes its place, and the pool is closed while checkouts wait: they end with the connector, and
/// the closed pool gives nothing out.
pub(crate) async fn ends_in_the_middle_of_a_failover<P: Pooled>(
    pool: &P,
    lose: impl Future<Output = ()>,
    close: impl FnOnce(&P),
    end: impl Future<Output = ()>,
) {
    let held = pool.take().await.expect("taken");
    lose.await;
    let mut waiting = JoinSet::new();
    for _ in 0..8 {
        let pool = pool.clone();
        waiting.spawn(async move { pool.take().await.map(drop) });
    }
    drop(held);
    close(pool);
    end.await;
    while let Some(ended) = waiting.join_next().await {
        // One that met a connection before its loss was noticed has it.
        drop(ended.expect("no task panics"));
    }
    assert!(pool.take().await.is_err(), "a closed pool has given a client out");
}

/// Scenario 80: the runtime ends while a call is in flight and checkouts wait; what is left of the pool is dropped without a
/// runtime. Nothing hangs, nothing panics.
pub(crate) async fn outlives_its_runtime<P: Pooled, F: Future<Output = P>>(
    make: impl FnOnce() -> F + Send + 'static,
    sleep: &'static str,
) {
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let pool = runtime.block_on(make());
        let mut busy = runtime.block_on(pool.take()).expect("taken");
        let held = runtime.block_on(pool.take()).expect("taken");
        runtime.spawn(async move { P::run(&mut busy, sleep).await });
        for _ in 0..8 {
            let pool = pool.clone();
            runtime.spawn(async move {
                let taken = pool.take().await;
                std::future::pending::<()>().await;
                drop(taken);
            });
        }
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
        drop((held, pool));
    });
    thread.await.expect("no panic");
}
