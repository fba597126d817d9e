//! The search for the writer.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::cluster::Cluster;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::plugin::Connected;
use wrapper_core::session::{Search, SwitchContext};
use wrapper_core::{Error, ErrorClass, Result};

use super::plugin::is_final;
use super::storm::Gate;

/// After a writer that was found could not be connected to.
const PAUSE: Duration = Duration::from_millis(20);
/// After a writer that takes no connection now.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Searches the writer for a switch.
#[derive(Debug, Default)]
pub(super) struct WriterSearch {
    tried_known: bool,
}

#[async_trait]
impl Search for WriterSearch {
    async fn find(&mut self, cx: &SwitchContext) -> Result<Connected> {
        let cluster = &cx.cluster;
        let env = cluster.env();
        if let Some(known) = cluster.topology() {
            let age = env.now().saturating_duration_since(known.at);
            cx.report(|report| {
                report.topology_age.get_or_insert(age);
            });
        }
        loop {
            // When the writer has changed since the lost connection was opened, the search was made already.
            let moved_on = !self.tried_known && cluster.writer_epoch() > cx.failed.epoch;
            self.tried_known = true;
            let known = cluster.topology().filter(|published| moved_on && published.verified);
            let (published, reason) = match known {
                Some(published) => (published, "the writer had changed since the connection was opened"),
                None => {
                    (cluster.core().search_writer(cx.deadline).await?, "it showed itself to be the writer")
                }
            };
            let Some(writer) = published.topology.writer().cloned() else { continue };
            cx.report(|report| {
                report.attempt(&writer.key);
                report.step(env, format!("writer is {}", writer.short_name()));
            });
            let gate = Gate::of(cluster);
            let pass = gate.pass(cx.deadline).await?;
            let connected = cluster.connect_verified(&cx.chain, &writer, HostRole::Writer, cx.deadline).await;
            drop(pass);
            match connected {
                Ok(connected) => {
                    cx.report(|report| {
                        report.chose(&connected.host, reason);
                        report.step(env, "connected, role verified");
                    });
                    return Ok(connected);
                }
                Err(error) => {
                    cx.report(|report| report.step(env, format!("{}: {error}", writer.short_name())));
                    retry(cluster, &error, cx.deadline).await?;
                }
            }
        }
    }
}

/// Searches the writer for a connect: `connect` opens and verifies a connection to the host it is given.
pub(super) async fn find_writer<F, Fut>(
    cluster: &Cluster,
    deadline: Deadline,
    connect: F,
) -> Result<Connected>
where
    F: Fn(Cluster, HostInfo, HostRole, Deadline) -> Fut,
    Fut: Future<Output = Result<Connected>>,
{
    loop {
        let published = cluster.core().search_writer(deadline).await?;
        let Some(writer) = published.topology.writer().cloned() else { continue };
        match connect(cluster.clone(), writer, HostRole::Writer, deadline).await {
            Ok(connected) => return Ok(connected),
            Err(error) => retry(cluster, &error, deadline).await?,
        }
    }
}

/// Waits before the next attempt, unless `error` ends the search.
pub(super) async fn retry(cluster: &Cluster, error: &Error, deadline: Deadline) -> Result<()> {
    if is_final(error) || deadline.is_over() {
        return Err(error.clone());
    }
    let pause = if error.class() == ErrorClass::Busy { BUSY_PAUSE } else { PAUSE };
    let pause = cluster.env().jitter(pause, 50).min(deadline.remaining());
    cluster.env().sleep(pause).await;
    Ok(())
}
