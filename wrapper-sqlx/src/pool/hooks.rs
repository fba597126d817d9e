//! The three hooks of a pool: what is asked of each connection when it is new, before it is handed out, and when it
//! comes back.
//!
//! A connection that is of no use is replaced in its place instead of being refused: see `open`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wrapper_core::cluster::ClusterCore;
use wrapper_core::env::Deadline;
use wrapper_core::topology::HostStatus;

use super::super::family::Family;
use super::super::sqlx;
use super::super::sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use super::open::Cause;
use super::shared::{Age, Shared};
use super::user_hooks::decide;

/// How long an idle connection may take to answer before it is handed out.
const PING: Duration = Duration::from_millis(500);
/// How long a connection that may be older than the last switch may take to say who is behind it.
const IDENTITY: Duration = Duration::from_millis(300);

/// The options with the hooks of this pool.
pub(super) fn install<DB: Family>(options: PoolOptions<DB>, shared: &Arc<Shared<DB>>) -> PoolOptions<DB> {
    let [connecting, acquiring, releasing] = [shared, shared, shared].map(Arc::clone);
    options
        // sqlx's own ping has no limit but that of the whole acquire.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let shared = Arc::clone(&connecting);
            Box::pin(async move { after_connect(&shared, connection).await })
        })
        .before_acquire(move |connection, metadata| {
            let shared = Arc::clone(&acquiring);
            Box::pin(async move { before_acquire(&shared, connection, metadata).await })
        })
        .after_release(move |connection, metadata| {
            let shared = Arc::clone(&releasing);
            Box::pin(async move { after_release(&shared, connection, metadata).await })
        })
}

async fn after_connect<DB: Family>(shared: &Shared<DB>, connection: &mut DB::Connection) -> sqlx::Result<()> {
    let Some(cluster) = shared.cluster() else {
        if shared.left_parked.load(Ordering::Acquire) && is_reader::<DB>(connection).await? {
            return Err(sqlx::Error::Io(std::io::Error::other("the connect had been led to a reader")));
        }
        return shared.hooks.after_connect(connection).await;
    };
    shared.login_accepted();
    let epoch = cluster.writer_epoch();
    match shared.prove(connection, &cluster, shared.limits.query).await {
        Ok((true, status)) => {
            if shared.readers.is_some() && spread(shared, connection, &cluster, &status).await {
                return Ok(());
            }
            shared.hooks.after_connect(connection).await?;
            if cluster.writer_epoch() == epoch {
                return Ok(());
            }
        }
        // sqlx would close it, wait, and connect again; here the next connect is made as soon as there is a host.
        Ok((false, _)) | Err(_) => {
            cluster.request_search();
        }
    }
    let fresh = shared.open(Cause::Doubt, shared.limits.acquire).await?;
    // Dropped rather than closed: over TLS a close waits for the other side.
    drop(std::mem::replace(connection, fresh));
    Ok(())
}

/// Whether a host that nobody follows any more is a reader, by its own word. The acquire's time limit is this one's too.
async fn is_reader<DB: Family>(connection: &mut DB::Connection) -> sqlx::Result<bool> {
    let (answer, _) = DB::ask(connection, DB::READER.to_owned()).await?;
    Ok(matches!(answer.get(0, "reader"), Some("t" | "1")))
}

/// Plans the next reader. Of several connects at once, which all began with one plan, each but the first is led to its
/// own host here; whether the connection was replaced so.
async fn spread<DB: Family>(
    shared: &Shared<DB>,
    connection: &mut DB::Connection,
    cluster: &Arc<ClusterCore>,
    status: &HostStatus,
) -> bool {
    let (Some(readers), Some(published)) = (&shared.readers, cluster.topology()) else { return false };
    let topology = &published.topology;
    let (planned, next) = readers.advance(topology);
    if let Some(next) = &next {
        shared.lead_to(next);
    }
    let behind = status.id.as_deref().and_then(|id| topology.find_id(id));
    if let Some(behind) = behind {
        readers.note_answered(&behind.key);
    }
    let (Some(behind), Some(planned)) = (behind, planned) else { return false };
    if behind.key == planned.key {
        return false;
    }
    let deadline = Deadline::after(shared.limits.connect, "connect_timeout");
    match shared.open_at(cluster, &planned, deadline).await {
        Ok(fresh) => {
            readers.note_answered(&planned.key);
            drop(std::mem::replace(connection, fresh));
            true
        }
        Err(_) => {
            // What is there is a reader too.
            readers.note_failed(&planned.key);
            false
        }
    }
}

async fn before_acquire<DB: Family>(
    shared: &Shared<DB>,
    connection: &mut DB::Connection,
    metadata: PoolConnectionMetadata,
) -> sqlx::Result<bool> {
    match shared.cluster() {
        Some(cluster) => {
            if let Err(cause) = is_sound(shared, &cluster, connection, &metadata).await {
                replace(shared, &cluster, connection, cause, shared.limits.acquire).await?;
            }
        }
        None if shared.ping && !shared.answers(connection, PING).await => {
            return Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
        }
        None => {}
    }
    decide::<DB>(&shared.hooks.before_acquire, connection, metadata).await
}

/// Whether an idle connection can be handed out; if not, why it cannot.
async fn is_sound<DB: Family>(
    shared: &Shared<DB>,
    cluster: &ClusterCore,
    connection: &mut DB::Connection,
    metadata: &PoolConnectionMetadata,
) -> Result<(), Cause> {
    loop {
        let epoch = cluster.writer_epoch();
        match shared.age(cluster, metadata.age) {
            Age::Fresh if !shared.ping => return Ok(()),
            Age::Fresh if !shared.answers(connection, PING).await => return Err(Cause::Doubt),
            Age::Fresh => {}
            Age::Suspect => match shared.prove(connection, cluster, IDENTITY).await {
                Ok((true, _)) => {}
                _ => return Err(Cause::Switched),
            },
            Age::Old => return Err(Cause::Switched),
        }
        // The writer may have changed during the question.
        if cluster.writer_epoch() == epoch {
            return Ok(());
        }
    }
}

async fn after_release<DB: Family>(
    shared: &Shared<DB>,
    connection: &mut DB::Connection,
    metadata: PoolConnectionMetadata,
) -> sqlx::Result<bool> {
    if let Some(cluster) = shared.cluster() {
        let cause = match shared.age(&cluster, metadata.age) {
            Age::Fresh => is_done(shared, &cluster, connection).await.err(),
            Age::Suspect => match shared.prove(connection, &cluster, IDENTITY).await {
                Ok((true, _)) => is_done(shared, &cluster, connection).await.err(),
                _ => Some(Cause::Switched),
            },
            Age::Old => Some(Cause::Switched),
        };
        if let Some(cause) = cause {
            replace(shared, &cluster, connection, cause, shared.limits.release).await?;
        }
    }
    decide::<DB>(&shared.hooks.after_release, connection, metadata).await
}

/// Waits until what the last user of a connection has left unfinished is done, see [`Shared::settles`]. sqlx does
/// the same next, but without a limit, and holds the connection's place meanwhile.
async fn is_done<DB: Family>(
    shared: &Shared<DB>,
    cluster: &Arc<ClusterCore>,
    connection: &mut DB::Connection,
) -> Result<(), Cause> {
    let epoch = cluster.writer_epoch();
    let mut topology = cluster.subscribe();
    let late = shared.env.now() + PING;
    let mut answered = std::pin::pin!(shared.settles(connection, shared.limits.query));
    let early = tokio::select! {
        biased;
        answered = &mut answered => Some(answered),
        () = shared.env.sleep_until(late) => None,
    };
    let answered = match early {
        Some(answered) => answered,
        None => {
            // A long statement that was abandoned, or a silent host: the monitor finds out which.
            cluster.request_search();
            let switched = async { drop(topology.wait_for(|_| cluster.writer_epoch() != epoch).await) };
            tokio::select! {
                biased;
                answered = answered => answered,
                () = switched => return Err(Cause::Switched),
                () = shared.ended.cancelled() => return Ok(()),
            }
        }
    };
    if answered { Ok(()) } else { Err(Cause::Doubt) }
}

async fn replace<DB: Family>(
    shared: &Shared<DB>,
    cluster: &Arc<ClusterCore>,
    connection: &mut DB::Connection,
    cause: Cause,
    within: Duration,
) -> sqlx::Result<()> {
    if cause == Cause::Doubt {
        cluster.request_search();
    }
    let fresh = shared.open(cause, within).await?;
    // From here on its age is not its own.
    shared.note_replaced();
    drop(std::mem::replace(connection, fresh));
    Ok(())
}
