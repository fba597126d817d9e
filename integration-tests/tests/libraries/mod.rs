//! Libraries of others, unchanged, that live on a plain pool: a job queue, a session store, an object-relational mapper.
//! Each is a [`Tenant`] of the pool; what must hold of every tenant through a crash of the writer is checked here.

mod entities;
mod jobs;
mod sessions;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) use entities::Entities;
use integration_tests::{Flavour, LocalCluster};
pub(crate) use jobs::Jobs;
pub(crate) use sessions::Sessions;
use tokio::task::JoinSet;
use wrapper_sqlx::v0_8::postgres::PoolBuilder;
use wrapper_sqlx::v0_8::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};

use crate::sqlx_support::{LIMIT, cluster, until, within};

/// A library on a pool.
pub(crate) trait Tenant: Clone + Send + Sync + 'static {
    /// Gives the library something to keep; an error is the library's own.
    fn keep(&self, id: i64) -> impl Future<Output = Result<(), String>> + Send;
    /// Waits until the library has done what is to be done with all of these, and fails if one is lost.
    async fn check(&self, kept: &[i64]);
}

/// What the tasks of a tenant share.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    next: AtomicI64,
    acknowledged: Mutex<Vec<i64>>,
    /// What failed, for the message of a test that fails.
    errors: Mutex<Vec<String>>,
}

impl Seen {
    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("not poisoned").len()
    }

    async fn keep_on(&self, tenant: &impl Tenant) {
        while !self.stop.load(Ordering::SeqCst) {
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            match tenant.keep(id).await {
                Ok(()) => self.acknowledged.lock().expect("not poisoned").push(id),
                Err(error) => self.errors.lock().expect("not poisoned").push(error),
            }
            // A pace that leaves a job queue time to work.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Three tasks use the tenant while the writer crashes: it goes on afterwards, and nothing that it has acknowledged is lost.
pub(crate) async fn live_through_a_crash(cluster: &LocalCluster, tenant: &impl Tenant) {
    let seen = Arc::new(Seen::default());
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let (seen, tenant) = (Arc::clone(&seen), tenant.clone());
        tasks.spawn(async move { seen.keep_on(&tenant).await });
    }
    until("it is in use", async || seen.acknowledged() > 30).await;
    let record = cluster.fail_over().await.expect("failed over");
    let before = seen.acknowledged();
    let going_on = async {
        while seen.acknowledged() <= before + 30 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(LIMIT, going_on).await.is_err() {
        panic!("it does not go on: {:?}", seen.errors.lock().expect("not poisoned").last());
    }
    seen.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = within("the tasks", tasks.join_next()).await {
        ended.expect("no task panics");
    }
    let kept = seen.acknowledged.lock().expect("not poisoned").clone();
    let errors = std::mem::take(&mut *seen.errors.lock().expect("not poisoned"));
    println!("{record}; {} kept, {} refused: {:?}", kept.len(), errors.len(), errors.first());
    tenant.check(&kept).await;
}

/// A cluster, and a pool of sqlx 0.8 that follows its writer.
pub(crate) async fn cluster_and_builder() -> (LocalCluster, PoolBuilder) {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let app = cluster.app();
    let options = PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username(&app.user)
        .password(&app.password)
        .database(&app.database)
        .ssl_mode(PgSslMode::Disable)
        .application_name(crate::sqlx_support::APPLICATION);
    let own = PgPoolOptions::new().max_connections(12).acquire_timeout(Duration::from_secs(20));
    let names = cluster.names();
    let builder = PoolBuilder::new(own, options)
        .reach(move |host, options| match names.lookup(host.host()) {
            Some(address) => options.host(&address.to_string()),
            None => options,
        })
        .set("topology_refresh", "50ms")
        .set("topology_high_refresh", "50ms");
    (cluster, builder)
}
