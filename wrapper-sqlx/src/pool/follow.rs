//! The task of a pool: follows the topology, leads new connections to the present hosts, throws the idle ones of a
//! former writer out.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use wrapper_core::cluster::ClusterCore;
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;
use wrapper_core::topology::Published;

use super::super::family::Family;
use super::super::sqlx::Pool;
use super::readers::Readers;
use super::searches::Searches;
use super::shared::Shared;

/// How often a reader pool looks whether the planned reader answers.
const LOOK: Duration = Duration::from_millis(250);
/// How long an answer of the planned reader is believed.
const BELIEVED: Duration = Duration::from_secs(5);
/// How long the planned reader may take to answer.
const READER_PROBE: Duration = Duration::from_secs(1);
/// How long new connections are led to one reader while the writer is searched.
const PARKED: Duration = Duration::from_millis(100);

/// Follows the cluster until the handle is dropped, the pool closed or the cluster shut down.
pub(super) async fn follow<DB: Family>(
    shared: Arc<Shared<DB>>,
    cluster: Arc<ClusterCore>,
    writer: Option<HostInfo>,
) {
    // However this task ends, nothing waits for it any more.
    let _end = End(Arc::clone(&shared));
    let Some(pool) = shared.pool() else { return };
    let mut closed = std::pin::pin!(pool.close_event());
    let mut look = std::pin::pin!(look(&shared, &cluster, &pool));
    let mut topology = cluster.subscribe();
    let mut searches = Searches::of(&cluster).follow();
    let mut lead = Lead { writer, parked: false };
    let mut news = true;
    loop {
        let published = topology.borrow_and_update().clone();
        if let Some(published) = published.filter(|_| std::mem::take(&mut news)) {
            match &shared.readers {
                None => lead.follow_writer(&shared, &cluster, &pool, &published),
                Some(readers) => lead_readers(&shared, &cluster, readers, &published),
            }
        }
        tokio::select! {
            biased;
            () = shared.ended.cancelled() => return,
            () = &mut closed => return,
            changed = topology.changed() => {
                if changed.is_err() {
                    return;
                }
                news = true;
            }
            begun = searches.changed(), if shared.readers.is_none() => {
                if begun.is_err() {
                    return;
                }
                lead.park(&shared, &cluster);
            }
            () = shared.env.sleep(PARKED), if lead.parked => lead.park(&shared, &cluster),
            () = &mut look => {}
        }
    }
}

struct End<DB: Family>(Arc<Shared<DB>>);

impl<DB: Family> Drop for End<DB> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Where a writer pool leads to.
struct Lead {
    writer: Option<HostInfo>,
    parked: bool,
}

impl Lead {
    fn follow_writer<DB: Family>(
        &mut self,
        shared: &Shared<DB>,
        cluster: &ClusterCore,
        pool: &Pool<DB>,
        published: &Published,
    ) {
        // Read before the topology is used: a later change is followed in the next turn.
        let epoch = cluster.writer_epoch();
        let Some(now) = published.topology.writer().filter(|_| published.verified) else { return };
        let same = self.writer.as_ref().is_some_and(|writer| writer.key == now.key);
        if same && epoch == shared.epoch() {
            if std::mem::take(&mut self.parked) {
                shared.lead_home(now);
            }
            return;
        }
        shared.lead_home(now);
        shared.mark_switch(epoch);
        let dropped = drain(pool);
        let took = shared.env.now().saturating_duration_since(published.at);
        *self = Self { writer: Some(now.clone()), parked: false };
        shared.note_switch(now.clone(), dropped, took);
    }

    /// Leads new connections to a reader while the writer is searched. There they are let in, found to be on the wrong
    /// host, and wait for the search to end; at a writer that refuses them sqlx would wait longer and longer.
    fn park<DB: Family>(&mut self, shared: &Shared<DB>, cluster: &ClusterCore) {
        let Some(published) = cluster.topology() else { return };
        let mut readers: Vec<&HostInfo> = published.topology.readers().collect();
        shared.env.shuffle(&mut readers);
        if let Some(reader) = readers.first() {
            shared.park(reader, self.writer.as_ref());
            self.parked = true;
        }
    }
}

/// Throws the idle connections out, without a word to the other side: it may be silent. Each frees its place at once.
fn drain<DB: Family>(pool: &Pool<DB>) -> usize {
    let mut dropped = 0;
    // No more than there can be: what comes in meanwhile is looked at when it is acquired.
    for _ in 0..pool.size() {
        let Some(connection) = pool.try_acquire() else { break };
        drop(connection.detach());
        dropped += 1;
    }
    dropped
}

fn lead_readers<DB: Family>(
    shared: &Shared<DB>,
    cluster: &ClusterCore,
    readers: &Readers,
    published: &Published,
) {
    let epoch = cluster.writer_epoch();
    if epoch != shared.epoch() {
        // Not drained: most connections lead to readers still. Each is asked before its next use.
        shared.mark_switch(epoch);
    }
    if !readers.plan_holds(&published.topology) {
        plan(shared, readers, published);
    }
}

fn plan<DB: Family>(shared: &Shared<DB>, readers: &Readers, published: &Published) {
    if let (_, Some(next)) = readers.advance(&published.topology) {
        shared.lead_to(&next);
    }
}

/// Looks, in a reader pool that is in use, whether the planned reader answers: a connect of sqlx's own that fails tells
/// nobody. Also, while the writer stands in for the readers, whether one is back.
async fn look<DB: Family>(shared: &Shared<DB>, cluster: &Arc<ClusterCore>, pool: &Pool<DB>) {
    let Some(readers) = &shared.readers else { return pending().await };
    loop {
        shared.env.sleep(LOOK).await;
        let wanted = pool.size() as usize > pool.num_idle() || readers.has_fallen_back();
        if !wanted || !readers.is_unproved_for(BELIEVED) {
            continue;
        }
        let (Some(planned), Some(published)) = (readers.planned(), cluster.topology()) else { continue };
        let is_reader = published.topology.readers().any(|reader| reader.key == planned.key);
        let deadline = Deadline::after(READER_PROBE, "the probe's time limit");
        match cluster.open_monitor(&planned, deadline).await {
            Ok(_) => {
                readers.note_answered(&planned.key);
                if is_reader && readers.end_fall_back() {
                    // Connections to the writer are replaced before their next use.
                    shared.mark_switch(cluster.writer_epoch());
                }
            }
            Err(_) => {
                readers.note_failed(&planned.key);
                plan(shared, readers, &published);
            }
        }
    }
}
