//! What every host list provider keeps.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;

use super::super::cancel::enumerate_cancellations;
use super::{Checked, Conformance, SHORT, ample, deadline, ensure, in_time};
use crate::driver::DriverConnection;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::host::{HostInfo, HostKey, HostRole};
use crate::topology::{HostListProvider, Topology};

/// What [`host_list_provider_conformance`] needs: a provider, and a cluster of its kind that is well.
#[async_trait]
pub trait ProviderRig: Send + Sync {
    /// The provider.
    fn provider(&self) -> Arc<dyn HostListProvider>;

    /// Opens a connection to `host`; to any host without one.
    ///
    /// # Errors
    /// The driver's.
    async fn connect(&self, host: Option<&HostInfo>) -> Result<Arc<dyn DriverConnection>>;

    /// Has all servers fall silent, or go on: sockets stay open, nothing is answered.
    async fn silence(&self, on: bool);
}

type Connection = Arc<dyn DriverConnection>;

async fn open(rig: &dyn ProviderRig, host: Option<&HostInfo>) -> Result<Connection, String> {
    rig.connect(host).await.map_err(|error| format!("a connect to a healthy server fails: {error}"))
}

async fn refreshed(rig: &dyn ProviderRig) -> Result<Topology, String> {
    let connection = open(rig, None).await?;
    let topology = rig.provider().refresh(&*connection, ample()).await;
    topology.map_err(|error| format!("a healthy cluster's topology is not read: {error}"))
}

/// Whether a provider keeps the contract of [`HostListProvider`].
///
/// Runs on any runtime; the servers must be the suite's alone while it runs.
pub async fn host_list_provider_conformance(rig: &dyn ProviderRig) -> Conformance {
    let provider = rig.provider();
    let name = format!("{provider:?}");
    let name = name.split([' ', '{', '(']).next().unwrap_or_default();
    let mut found = Conformance::new("host_list_provider_conformance", name, Duration::from_secs(60));
    found.ask("initial-hosts", initial_hosts(rig)).await;
    found.ask("lists-hosts", lists_hosts(rig)).await;
    found.ask("same-order", same_order(rig)).await;
    found.ask("status-agrees", status_agrees(rig)).await;
    found.ask("status-deadline", status_deadline(rig)).await;
    found.ask("status-on-dead-connection", dead(rig, false)).await;
    found.ask("cancelled-status", cancelled(rig, false)).await;
    if provider.is_dynamic() {
        found.ask("refresh-deadline", refresh_deadline(rig)).await;
        found.ask("refresh-on-dead-connection", dead(rig, true)).await;
        found.ask("cancelled-refresh", cancelled(rig, true)).await;
    } else {
        for name in ["refresh-deadline", "refresh-on-dead-connection", "cancelled-refresh"] {
            found.skip(name, "the provider asks no server for its hosts");
        }
    }
    found
}

fn without_doubles<'h>(hosts: impl IntoIterator<Item = &'h HostInfo>) -> Checked {
    let mut seen = BTreeSet::new();
    for host in hosts {
        ensure(seen.insert(host.key.clone()), || format!("{} is listed twice", host.key))?;
    }
    ensure(!seen.is_empty(), || "there is no host".to_owned())
}

async fn initial_hosts(rig: &dyn ProviderRig) -> Checked {
    let provider = rig.provider();
    without_doubles(provider.initial_hosts())?;
    let same = provider.initial_hosts() == rig.provider().initial_hosts();
    ensure(same, || "the initial hosts change from one call to the next".to_owned())
}

async fn lists_hosts(rig: &dyn ProviderRig) -> Checked {
    let topology = refreshed(rig).await?;
    without_doubles(topology.hosts())?;
    let writers = topology.hosts().iter().filter(|host| host.role == HostRole::Writer).count();
    ensure(writers <= 1, || format!("{writers} writers: {topology}"))?;
    if rig.provider().is_dynamic() {
        let complete = writers == 1 && topology.hosts().iter().all(|host| host.role != HostRole::Unknown);
        ensure(complete, || format!("a healthy cluster has one writer, and readers: {topology}"))?;
    }
    Ok(())
}

async fn same_order(rig: &dyn ProviderRig) -> Checked {
    let told = |topology: Topology| -> Vec<(HostKey, HostRole, Option<Arc<str>>)> {
        topology.hosts().iter().map(|host| (host.key.clone(), host.role, host.id.clone())).collect()
    };
    let first = told(refreshed(rig).await?);
    for _ in 0..5 {
        let again = told(refreshed(rig).await?);
        ensure(first == again, || format!("the same cluster is listed as {first:?}, then as {again:?}"))?;
    }
    Ok(())
}

async fn status_agrees(rig: &dyn ProviderRig) -> Checked {
    let (provider, topology) = (rig.provider(), refreshed(rig).await?);
    for host in topology.hosts() {
        let connection = open(rig, Some(host)).await?;
        let status = provider.status(&*connection, ample()).await;
        let status = status.map_err(|error| format!("{} does not say who it is: {error}", host.key))?;
        let same = status.id.is_none() || host.id.is_none() || status.id == host.id;
        ensure(same, || {
            format!("{} is {:?} in the topology, and calls itself {:?}", host.key, host.id, status.id)
        })?;
        let agrees = host.role == HostRole::Unknown || host.role == status.role();
        ensure(agrees, || {
            format!("{} is a {} in the topology, and a {} by itself", host.key, host.role, status.role())
        })?;
        if let Some(claims) = status.claims_writer {
            let agrees = host.role == HostRole::Unknown || claims == (host.role == HostRole::Writer);
            ensure(agrees, || {
                format!("{} is a {}, and claims to be the writer: {claims}", host.key, host.role)
            })?;
        }
    }
    Ok(())
}

fn is_late(error: Option<Error>) -> Checked {
    let error = error.ok_or_else(|| "a question to a silent server succeeds".to_owned())?;
    ensure(error.kind() == ErrorKind::Timeout, || format!("it ends with another error: {error}"))
}

async fn status_deadline(rig: &dyn ProviderRig) -> Checked {
    let (provider, connection) = (rig.provider(), open(rig, None).await?);
    rig.silence(true).await;
    let asked = in_time("a status", provider.status(&*connection, deadline(SHORT))).await;
    rig.silence(false).await;
    is_late(asked?.err())
}

async fn refresh_deadline(rig: &dyn ProviderRig) -> Checked {
    let (provider, connection) = (rig.provider(), open(rig, None).await?);
    rig.silence(true).await;
    let asked = in_time("a refresh", provider.refresh(&*connection, deadline(SHORT))).await;
    rig.silence(false).await;
    is_late(asked?.err())
}

async fn dead(rig: &dyn ProviderRig, refresh: bool) -> Checked {
    let (provider, connection) = (rig.provider(), open(rig, None).await?);
    connection.kill(Error::new(ErrorKind::Network, "the suite has closed the connection"));
    let error = match refresh {
        true => provider.refresh(&*connection, ample()).await.err(),
        false => provider.status(&*connection, ample()).await.err(),
    };
    let error = error.ok_or_else(|| "a dead connection answers".to_owned())?;
    ensure(error.class() == ErrorClass::Network, || {
        format!("a dead connection is told by an error of the class {:?}: {error}", error.class())
    })
}

/// Whether the driver itself gives a connection up whose call was dropped in flight: then that is no fault of a provider's.
async fn driver_discards(rig: &dyn ProviderRig) -> Result<bool, String> {
    // An answer may be there at once; what happens to a call in flight shows only when it is not.
    for _ in 0..10 {
        let connection = open(rig, None).await?;
        let mut ping = connection.ping(ample());
        let waits = poll_fn(|cx| Poll::Ready(ping.as_mut().poll(cx).is_pending())).await;
        drop(ping);
        if waits {
            return Ok(connection.is_closed());
        }
    }
    Ok(false)
}

async fn cancelled(rig: &dyn ProviderRig, refresh: bool) -> Checked {
    let provider = rig.provider();
    let discards = driver_discards(rig).await?;
    let wanted = refreshed(rig).await?;
    let found = enumerate_cancellations(
        async || open(rig, None).await,
        async |connection| {
            let Ok(connection) = connection else { return };
            match refresh {
                true => drop(provider.refresh(&**connection, ample()).await),
                false => drop(provider.status(&**connection, ample()).await),
            }
        },
        async |connection, _| {
            let mut connection = connection?;
            if discards && connection.is_closed() {
                connection = open(rig, None).await?;
            }
            ensure(!connection.is_closed(), || "the connection is closed".to_owned())?;
            let status = provider.status(&*connection, ample()).await.map_err(|error| error.to_string())?;
            let topology =
                provider.refresh(&*connection, ample()).await.map_err(|error| error.to_string())?;
            let keys = |topology: &Topology| -> Vec<HostKey> {
                topology.hosts().iter().map(|host| host.key.clone()).collect()
            };
            ensure(keys(&topology) == keys(&wanted), || format!("the next refresh gives {topology}"))?;
            let known = status.id.as_deref().is_none_or(|id| topology.find_id(id).is_some());
            ensure(known || !provider.is_dynamic(), || format!("the next status gives {status:?}"))
        },
    )
    .await;
    found.map(drop).map_err(|poisoned| poisoned.to_string())
}
