//! A load of writes over a pool, with a failover in its midst.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use futures_util::future::join_all;
use integration_tests::FailoverRecord;

use super::site::{Ground, Refused, Site};
use super::{until, within};

/// What the load of a test has seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    next: AtomicI64,
    /// Acquires that gave a connection.
    acquired: AtomicU64,
    /// Of those, connections to a host that the monitor knew to be demoted before the acquire began.
    demoted: AtomicU64,
    /// What acquires failed with.
    refused: Mutex<Vec<Refused>>,
    acknowledged: Mutex<Vec<i64>>,
}

impl Seen {
    /// Writes over the pool until it is told to stop.
    async fn write(&self, site: &impl Site) {
        while !self.stop.load(Ordering::SeqCst) {
            let known = site.known_writer();
            let mut connection = match site.acquire().await {
                Ok(connection) => connection,
                Err(error) => {
                    self.refused.lock().expect("not poisoned").push(error);
                    continue;
                }
            };
            self.acquired.fetch_add(1, Ordering::SeqCst);
            let Some(node) = site.node_of(&mut connection).await else { continue };
            let now = site.known_writer();
            if Some(node) != known && Some(node) != now {
                self.demoted.fetch_add(1, Ordering::SeqCst);
            }
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            if site.insert(&mut connection, id).await {
                self.acknowledged.lock().expect("not poisoned").push(id);
            }
        }
    }
}

/// 50 tasks over a pool of 20, one failover in their midst; what every such test wants is checked here. The table `t` is
/// there.
pub(crate) async fn under_load<S: Site>(
    site: S,
    ground: &impl Ground,
    lose: impl AsyncFnOnce() -> FailoverRecord,
) {
    let seen = Seen::default();
    let load = async {
        join_all((0..50).map(|_| seen.write(&site))).await;
    };
    let script = async {
        until("the load runs", async || seen.acquired.load(Ordering::SeqCst) > 500).await;
        let record = lose().await;
        until("the monitor knows", async || site.known_writer() == Some(record.new_writer)).await;
        let before = seen.acknowledged.lock().expect("not poisoned").len();
        until("the load goes on", async || {
            seen.acknowledged.lock().expect("not poisoned").len() > before + 500
        })
        .await;
        let first = record.t_accepting.elapsed();
        seen.stop.store(true, Ordering::SeqCst);
        (record, first)
    };
    let ((), (record, first)) = within("the load", async { tokio::join!(load, script) }).await;
    println!(
        "{record}; 500 writes within {first:?} of the first possible one; {} acquires; switch: {:?}",
        seen.acquired.load(Ordering::SeqCst),
        site.took()
    );
    assert_eq!(seen.demoted.load(Ordering::SeqCst), 0, "connections to a host known to be demoted");
    // sqlx tries again when a connect is refused, but not when a server that stops hangs up in the middle of the login, or
    // says there that it stops: there is no hook there. More than one such error a task would be another fault.
    let refused = std::mem::take(&mut *seen.refused.lock().expect("not poisoned"));
    let odd: Vec<_> = refused.iter().filter(|error| !matches!(error, Refused::Connecting(_))).collect();
    assert!(odd.is_empty() && refused.len() <= 50, "{} acquires failed: {refused:?}", refused.len());
    assert_eq!(site.switched_to(), Some(record.new_writer));
    let kept: std::collections::BTreeSet<i64> = site.ids().await.into_iter().collect();
    let acknowledged = seen.acknowledged.lock().expect("not poisoned").clone();
    assert!(acknowledged.iter().all(|id| kept.contains(id)), "an acknowledged write is lost");
    ground.check_size(record.new_writer, 20).await;
    site.end().await;
}
