//! The library's side of a scripted cluster whose hosts are known from the start, without a connector.
#![allow(unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::cluster::{Cluster, ClusterOptions};
use wrapper_core::dialect::dialect_for;
use wrapper_core::host::{HostRole, InstanceTemplate};
use wrapper_core::testkit::{Abandon, FailoverPlan, ScriptedCluster, Trace};

pub fn cluster(servers: &ScriptedCluster, trace: &Trace) -> Cluster {
    let mut options = ClusterOptions::default();
    options.id = "test".to_owned();
    options.hosts = (0..servers.len()).map(|host| servers.host(host)).collect();
    options.dialect = Some(dialect_for(servers.flavour().dialect()).unwrap());
    options.template = Some(InstanceTemplate::parse("?.xyz.us-east-2.rds.amazonaws.com").unwrap());
    Cluster::new(
        Arc::new(servers.driver()),
        servers.env().clone(),
        options,
        vec![Arc::new(trace.clone()) as Arc<_>],
    )
}

/// Gives `host` the role of the writer and takes it from whoever has it; every topology follows at once. Neither host
/// restarts, and what ails the old one stays.
pub async fn promote(servers: &ScriptedCluster, host: usize) {
    let mut plan = FailoverPlan::crash(host).old(Abandon::Unaware);
    plan.promotion = Duration::ZERO;
    plan.stale_dns = Duration::ZERO;
    let old = servers.writer();
    servers.fail_over(plan).await;
    if let Some(old) = old.filter(|old| *old != host) {
        servers.set_role(old, HostRole::Reader);
    }
}

/// How many lines of the trace begin with `start`.
pub fn lines(trace: &Trace, start: &str) -> usize {
    trace.texts().iter().filter(|line| line.starts_with(start)).count()
}
