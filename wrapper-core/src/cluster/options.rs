//! What a cluster is made with.

use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{Dialect, EndpointHint};
use crate::host::{HostInfo, InstanceTemplate};
use crate::topology::HostListProvider;

/// What a cluster is made with; the defaults are the Python wrapper's where it has the setting.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// `cluster_id`: the cluster's name in reports and errors.
    pub id: String,
    /// The hosts that were configured, cluster endpoints among them.
    pub hosts: Vec<HostInfo>,
    /// What the name of the first host says of it.
    pub hint: EndpointHint,
    /// `cluster_instance_host_pattern`, given or derived from the first host's name.
    pub template: Option<InstanceTemplate>,
    /// The port of hosts that come without one.
    pub default_port: u16,
    /// `wrapper_dialect`: chosen by hand; without it the first connection is asked.
    pub dialect: Option<Arc<dyn Dialect>>,
    /// A host list provider of the user's; without it the dialect decides.
    pub provider: Option<Arc<dyn HostListProvider>>,
    /// `topology_refresh`: 30 s.
    pub topology_refresh: Duration,
    /// `topology_high_refresh`: 100 ms, for 30 s after the writer was found.
    pub topology_high_refresh: Duration,
    /// `topology_panic_interval`: 10 ms between the probes of a host while the writer is searched.
    pub topology_panic_interval: Duration,
    /// `auxiliary_query_timeout`: 5 s for each of the library's own queries.
    pub auxiliary_query_timeout: Duration,
    /// `connect_timeout`: 10 s for a whole connect: name resolution, TCP, TLS, start-up, login.
    pub connect_timeout: Duration,
    /// `topology_monitoring_connect_timeout`: 5 s for a whole connect of the topology monitor.
    pub monitor_connect_timeout: Duration,
    /// `topology_monitoring_socket_timeout`: 5 s for each query of the topology monitor.
    pub monitor_query_timeout: Duration,
    /// `max_monitor_connections`: 16.
    pub max_monitor_connections: usize,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            id: String::new(),
            hosts: Vec::new(),
            hint: EndpointHint::Other,
            template: None,
            default_port: 5432,
            dialect: None,
            provider: None,
            topology_refresh: Duration::from_secs(30),
            topology_high_refresh: Duration::from_millis(100),
            topology_panic_interval: Duration::from_millis(10),
            auxiliary_query_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            monitor_connect_timeout: Duration::from_secs(5),
            monitor_query_timeout: Duration::from_secs(5),
            max_monitor_connections: 16,
        }
    }
}
