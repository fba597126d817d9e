//! One probe: asks one host again and again, while the writer is searched, whether it is the writer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{ClusterCore, MonitorConnection};
use crate::env::Deadline;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::host::HostInfo;
use crate::observe::in_probe_span;
use crate::topology::{HostStatus, Topology};

/// After a refused connect; with jitter, so that probes of many processes do not march in step.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);
/// After refused credentials: the server must not be flooded with failing logins.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// How long one status query of a probe may take before its connection is given up.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// First limit of a connect; it doubles up to `topology_monitoring_connect_timeout`, so that a packet lost while
/// the host was down does not cost the kernel's whole retransmission time.
const FIRST_CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Every how many answers a reader is asked for its topology too.
const TOPOLOGY_EVERY: u32 = 10;

/// What a probe has found.
pub(super) enum Finding {
    /// The host accepts writes.
    Writer { connection: MonitorConnection, status: HostStatus, answers: u64 },
    /// The host answered and is not the writer; its view of the cluster, where it has one.
    Answered { host: HostInfo, view: Option<Topology> },
    /// The host could not be asked.
    Failed { host: HostInfo, error: Error },
}

/// Asks `host` until it says that it accepts writes, or the search ends and drops this future.
pub(super) async fn probe(core: Arc<ClusterCore>, host: HostInfo, findings: mpsc::UnboundedSender<Finding>) {
    let mut connection: Option<MonitorConnection> = None;
    let mut connect_limit = FIRST_CONNECT_TIMEOUT;
    let mut answers_since_view = 0;
    loop {
        // A search that is asked for from here on is answered by what the host says from here on.
        let answers = *core.requests.borrow();
        let open = match connection.take() {
            Some(open) => open,
            None => {
                let limit = connect_limit.min(core.options.monitor_connect_timeout);
                let deadline = Deadline::after(limit, "topology_monitoring_connect_timeout");
                match core.open_monitor(&host, deadline).await {
                    Ok(open) => {
                        connect_limit = FIRST_CONNECT_TIMEOUT;
                        open
                    }
                    Err(error) => {
                        if error.kind() == ErrorKind::Timeout {
                            connect_limit = connect_limit.saturating_mul(2);
                        }
                        let pause = match error.class() {
                            ErrorClass::Login => LOGIN_PAUSE,
                            _ => core.env.jitter(REFUSED_PAUSE, 50),
                        };
                        if findings.send(Finding::Failed { host: host.clone(), error }).is_err() {
                            return;
                        }
                        core.env.sleep(core.patience(pause)).await;
                        continue;
                    }
                }
            }
        };
        let deadline = Deadline::after(STATUS_TIMEOUT, "the probe's time limit");
        let ask = async {
            let provider = core.learn(open.connection(), deadline).await?;
            core.status(&**open.connection(), &provider, deadline).await
        };
        let status = in_probe_span(&host.key, ask).await;
        match status {
            Ok(status) if core.believes(&host, &status) => {
                // Whoever gets the finding owns the connection; nothing is left to ask here.
                let _ = findings.send(Finding::Writer { connection: open, status, answers });
                return;
            }
            Ok(_) => {
                if answers_since_view == 0 {
                    let view = view(&core, &open).await;
                    if findings.send(Finding::Answered { host: host.clone(), view }).is_err() {
                        return;
                    }
                }
                answers_since_view = (answers_since_view + 1) % TOPOLOGY_EVERY;
                connection = Some(open);
                core.env.sleep(core.patience(core.options.topology_panic_interval)).await;
            }
            Err(error) => {
                // A connection that did not answer is not asked again: half-dead sockets keep a healthy host "dead".
                drop(open);
                if findings.send(Finding::Failed { host: host.clone(), error }).is_err() {
                    return;
                }
                core.env.sleep(core.patience(core.options.topology_panic_interval)).await;
            }
        }
    }
}

/// The cluster as the host behind `open` sees it.
pub(super) async fn view(core: &Arc<ClusterCore>, open: &MonitorConnection) -> Option<Topology> {
    let provider = core.provider().filter(|provider| provider.is_dynamic())?;
    let deadline = Deadline::after(STATUS_TIMEOUT, "the probe's time limit");
    provider.refresh(&**open.connection(), deadline).await.ok()
}
