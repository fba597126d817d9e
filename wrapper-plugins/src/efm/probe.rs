//! One probe of a host: a round trip within a time limit, on a connection that is opened when there is none.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use wrapper_core::cluster::{ClusterCore, MonitorConnection, MonitorPermit};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use super::config::Parameters;

/// A timer that fires later than this says that the process was held up.
const HELD_UP: Duration = Duration::from_millis(50);
/// How much later than the monitor's own limit the driver gives up a ping: only the monitor's knows what a hold-up is.
const DRIVER_MARGIN: Duration = Duration::from_secs(3600);

/// What a probe goes out on.
#[derive(Debug)]
pub(super) enum Means {
    /// The connection of the probe before.
    Open(MonitorConnection),
    /// The right to open one.
    Permit(MonitorPermit),
}

/// What a probe found.
#[derive(Debug)]
pub(super) enum Finding {
    /// The host answered; the connection stays for the next probe, if there is one.
    Answered(Option<MonitorConnection>),
    /// The host answered, and refused the credentials or the connection.
    Refused(Error),
    /// The connection of the probe before was closed by the other side: another one is to be opened at once.
    Lost,
    /// Nothing came from the host; the span says how late that was noticed.
    Silent(Error, Duration),
    /// The probe failed for a reason on this side: no statement about the host.
    NotMade(Error),
}

/// Asks `host` for a sign of life.
///
/// # Cancellation
/// Closes the connection.
pub(super) async fn probe(
    core: &Arc<ClusterCore>,
    host: &HostInfo,
    parameters: &Parameters,
    means: Means,
) -> Finding {
    let permit = match means {
        Means::Open(open) => {
            if open.connection().is_closed() {
                return Finding::Lost;
            }
            return match ping(core.env(), parameters, &open).await {
                (Ok(()), _) => Finding::Answered(Some(open)),
                (Err(error), _)
                    if error.class() == ErrorClass::Network && error.kind() != ErrorKind::Timeout =>
                {
                    Finding::Lost
                }
                (Err(error), late) => judged(error, late),
            };
        }
        Means::Permit(permit) => permit,
    };
    let limit = Deadline::after(parameters.connect_timeout, "monitoring_connect_timeout");
    // The driver shares the limit out among a host's addresses, so it must know it.
    let connect = core.open_monitor_with(permit, host, limit);
    match limited(core.env(), limit, "the connect of a probe", connect).await {
        // The connect alone says little: a listener may answer for a server that does not.
        (Ok(open), _) => match ping(core.env(), parameters, &open).await {
            (Ok(()), _) => Finding::Answered(Some(open)),
            (Err(error), late) => judged(error, late),
        },
        (Err(error), late) => judged(error, late),
    }
}

async fn ping(
    env: &Environment,
    parameters: &Parameters,
    open: &MonitorConnection,
) -> (Result<()>, Duration) {
    let limit = Deadline::after(parameters.probe_timeout, "failure_detection_interval");
    let driver_limit = Deadline::after(parameters.probe_timeout + DRIVER_MARGIN, limit.setting());
    limited(env, limit, "a probe", open.connection().ping(driver_limit)).await
}

/// Runs `future` within `limit`, and says how much later than the limit that ended.
///
/// When the timer is late, this process was held up, and the answer may have come without being read yet: a future
/// that has no limit of its own gets as much time again, at most the limit, before it is given up.
async fn limited<T>(
    env: &Environment,
    limit: Deadline,
    what: &str,
    future: impl Future<Output = Result<T>>,
) -> (Result<T>, Duration) {
    let began = env.now();
    let lateness = || env.now().saturating_duration_since(limit.at());
    let mut future = pin!(future);
    tokio::select! {
        biased;
        result = &mut future => return (result, lateness()),
        () = env.sleep_until(limit.at()) => {}
    }
    let late = lateness();
    if late > HELD_UP {
        tokio::select! {
            biased;
            result = &mut future => return (result, late),
            () = env.sleep(late.min(limit.at().saturating_duration_since(began))) => {}
        }
    }
    (Err(limit.error(what)), late)
}

fn judged(error: Error, late: Duration) -> Finding {
    match (error.kind(), error.class()) {
        (ErrorKind::Timeout, _) | (_, ErrorClass::Network) => Finding::Silent(error, late),
        (_, ErrorClass::Login | ErrorClass::Busy) => Finding::Refused(error),
        (ErrorKind::Statement, _) => Finding::Answered(None),
        _ => Finding::NotMade(error),
    }
}
