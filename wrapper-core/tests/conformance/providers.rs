//! The providers of core keep the contract; broken ones are found.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::dialect::{DialectId, dialect_for};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole, InstanceTemplate};
use wrapper_core::testkit::ScriptedCluster;
use wrapper_core::testkit::conformance::{Conformance, ProviderRig, host_list_provider_conformance};
use wrapper_core::topology::{HostListProvider, HostStatus, RdsProvider, StaticListProvider, Topology};
use wrapper_core::{Error, ErrorKind, Result};

use super::assert_broken;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    NoInitialHost,
    InitialHostTwice,
    ListsNobody,
    KnowsNoWriter,
    ChangesItsMind,
    StatusLies,
    StatusOfAnother,
    StatusWaits,
    StatusFromMemory,
    RefreshWaits,
    RefreshFromMemory,
    RefreshClosesOnDrop,
    StatusClosesOnDrop,
}

const ALL: [(Mistake, &str); 13] = [
    (Mistake::NoInitialHost, "initial-hosts"),
    (Mistake::InitialHostTwice, "initial-hosts"),
    (Mistake::ListsNobody, "lists-hosts"),
    (Mistake::KnowsNoWriter, "lists-hosts"),
    (Mistake::ChangesItsMind, "same-order"),
    (Mistake::StatusLies, "status-agrees"),
    (Mistake::StatusOfAnother, "status-agrees"),
    (Mistake::StatusWaits, "status-deadline"),
    (Mistake::StatusFromMemory, "status-on-dead-connection"),
    (Mistake::RefreshWaits, "refresh-deadline"),
    (Mistake::RefreshFromMemory, "refresh-on-dead-connection"),
    (Mistake::RefreshClosesOnDrop, "cancelled-refresh"),
    (Mistake::StatusClosesOnDrop, "cancelled-status"),
];

#[derive(Debug)]
struct Broken {
    inner: Arc<dyn HostListProvider>,
    hosts: Vec<HostInfo>,
    mistake: Mistake,
    asked: AtomicUsize,
}

/// Closes the connection unless it is defused.
struct Bomb<'a>(Option<&'a dyn DriverConnection>);

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            connection.kill(Error::new(ErrorKind::Closed, "dropped"));
        }
    }
}

fn long(deadline: Deadline, wait: bool) -> Deadline {
    if wait { Deadline::after(Duration::from_secs(30), "mine") } else { deadline }
}

#[async_trait]
impl HostListProvider for Broken {
    fn initial_hosts(&self) -> &[HostInfo] {
        &self.hosts
    }

    fn is_dynamic(&self) -> bool {
        true
    }

    async fn refresh(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<Topology> {
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut bomb = Bomb((self.mistake == Mistake::RefreshClosesOnDrop).then_some(connection));
        let asked =
            self.inner.refresh(connection, long(deadline, self.mistake == Mistake::RefreshWaits)).await;
        bomb.0 = None;
        let hosts: Vec<HostInfo> = match (self.mistake, asked) {
            (Mistake::RefreshFromMemory, Err(_)) => self.hosts.clone(),
            (Mistake::ListsNobody, _) => Vec::new(),
            (Mistake::KnowsNoWriter, Ok(topology)) => {
                topology.hosts().iter().map(|host| host.clone().with_role(HostRole::Reader)).collect()
            }
            (Mistake::ChangesItsMind, Ok(topology)) => topology.hosts()[turn % 2..].to_vec(),
            (_, asked) => return asked,
        };
        Ok(Topology::new(hosts))
    }

    async fn status(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostStatus> {
        let mut bomb = Bomb((self.mistake == Mistake::StatusClosesOnDrop).then_some(connection));
        let asked = self.inner.status(connection, long(deadline, self.mistake == Mistake::StatusWaits)).await;
        bomb.0 = None;
        let mut status = match (self.mistake, asked) {
            (Mistake::StatusFromMemory, Err(_)) => HostStatus::default(),
            (_, asked) => asked?,
        };
        match self.mistake {
            Mistake::StatusLies => status.accepts_writes = !status.accepts_writes,
            Mistake::StatusOfAnother => status.id = Some(Arc::from("instance-9")),
            _ => {}
        }
        Ok(status)
    }
}

struct Rig {
    cluster: ScriptedCluster,
    provider: Arc<dyn HostListProvider>,
}

#[async_trait]
impl ProviderRig for Rig {
    fn provider(&self) -> Arc<dyn HostListProvider> {
        Arc::clone(&self.provider)
    }

    async fn connect(&self, host: Option<&HostInfo>) -> Result<Arc<dyn DriverConnection>> {
        let host = host.cloned().unwrap_or_else(|| self.cluster.host(0));
        let deadline = Deadline::after(Duration::from_secs(5), "connect_timeout");
        self.cluster.driver().connect(&ConnectTarget::session(host), deadline).await
    }

    async fn silence(&self, on: bool) {
        let silence = |host| if on { self.cluster.freeze(host) } else { self.cluster.thaw(host) };
        (0..self.cluster.len()).for_each(silence);
    }
}

fn rds(cluster: &ScriptedCluster) -> RdsProvider {
    let template = InstanceTemplate::parse("?.xyz.us-east-2.rds.amazonaws.com").unwrap();
    RdsProvider::new(dialect_for(DialectId::AuroraPg).unwrap(), template, 5432, [cluster.host(0)]).unwrap()
}

async fn run(make: impl FnOnce(&ScriptedCluster) -> Arc<dyn HostListProvider>) -> Conformance {
    let cluster = ScriptedCluster::new(3, 3);
    let provider = make(&cluster);
    host_list_provider_conformance(&Rig { cluster, provider }).await
}

#[tokio::test(start_paused = true)]
async fn the_rds_provider_keeps_it() {
    let found = run(|cluster| Arc::new(rds(cluster))).await;
    assert!(found.is_kept(), "{found}");
    assert_eq!(found.clauses().len(), 10, "{found}");
}

#[tokio::test(start_paused = true)]
async fn the_static_list_keeps_it() {
    let found = run(|cluster| {
        let hosts = (0..3).map(|host| cluster.host(host));
        Arc::new(StaticListProvider::new(dialect_for(DialectId::AuroraPg).unwrap(), hosts).unwrap())
    })
    .await;
    assert!(found.is_kept(), "{found}");
}

#[tokio::test(start_paused = true)]
async fn each_mistake_is_found() {
    for (mistake, clause) in ALL {
        let found = run(|cluster| {
            let one = cluster.host(0);
            let hosts = match mistake {
                Mistake::NoInitialHost => Vec::new(),
                Mistake::InitialHostTwice => vec![one.clone(), one],
                _ => vec![one],
            };
            Arc::new(Broken { inner: Arc::new(rds(cluster)), hosts, mistake, asked: AtomicUsize::new(0) })
        })
        .await;
        println!("{mistake:?}: {:?}", found.broken());
        assert_broken(&found, clause);
    }
}
