//! The cluster that the demo runs on: its connector, its bare driver's target, its failover, its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use examples::TableResolver;
use integration_tests::sim::SimCluster;
#[cfg(target_os = "linux")]
use integration_tests::{Fault as LocalFault, Flavour, FreezeScope, LocalCluster};
use tokio_postgres::Config;
use wrapper_core::env::{Environment, Resolver, SystemResolver};
use wrapper_pg::{Connector, ConnectorBuilder};

use crate::bare::Target;
use crate::options::{Fault, Options, Place};
use crate::tls;

/// How long the cluster is without a writer after a crash or a freeze.
const PROMOTION: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1500)..=Duration::from_millis(2500);

/// The same for a planned switchover.
const SWITCHOVER: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(400)..=Duration::from_millis(800);

/// The wrapper's settings for `--fault freeze`; by default it grants a silent server 30 s.
const DETECTION: [(&str, &str); 3] = [
    ("failure_detection_time", "1s"),
    ("failure_detection_interval", "200ms"),
    ("failure_detection_count", "3"),
];

/// A failover that the demo has triggered.
#[derive(Clone, Debug)]
pub(crate) struct Failover {
    /// Names of the writers before and after.
    pub(crate) from: String,
    pub(crate) to: String,
    /// When the old writer was lost.
    pub(crate) lost: Instant,
    /// When the new one accepted writes.
    pub(crate) accepting: Instant,
}

enum Cluster {
    Simulated(SimCluster),
    #[cfg(target_os = "linux")]
    Local(Box<LocalCluster>),
    Own,
}

/// A running cluster.
pub(crate) struct Running {
    cluster: Cluster,
    pub(crate) connector: Connector,
    pub(crate) bare: Target,
    /// What runs here, in words, for the picture.
    pub(crate) title: &'static str,
}

/// Starts the cluster; what cannot start says what to do.
pub(crate) async fn start(options: &Options) -> Result<Running, String> {
    match &options.place {
        Place::Simulated => simulated(options).await,
        Place::Postgres => local(options).await,
        Place::Url(url) => own(url),
    }
}

async fn simulated(options: &Options) -> Result<Running, String> {
    let cluster = SimCluster::builder()
        .promotion_time(PROMOTION)
        .switchover_time(SWITCHOVER)
        .dns_lag(options.dns_lag)
        .seed(u64::from(std::process::id()))
        .start()
        .await
        .map_err(|error| format!("the simulated cluster could not start: {error}"))?;
    let host = cluster.cluster_endpoint();
    let builder = examples::simulated(&cluster, &host);
    let mut config = Config::new();
    config.user("app").dbname("shop");
    let resolver = Arc::new(TableResolver(cluster.names().clone()));
    let bare = Target { config, host, port: cluster.port(), resolver, tls: None };
    let connector = connector(builder, options.fault)?;
    Ok(Running {
        cluster: Cluster::Simulated(cluster),
        connector,
        bare,
        title: "a simulated cluster of three",
    })
}

#[cfg(target_os = "linux")]
async fn local(options: &Options) -> Result<Running, String> {
    let promotion = if options.fault == Fault::Planned { SWITCHOVER } else { PROMOTION };
    let cluster = LocalCluster::builder()
        .flavour(Flavour::Aurora)
        .promotion_time(promotion)
        .restart_on_promote(true)
        .dns_lag(options.dns_lag)
        .start()
        .await
        .map_err(|error| format!("the PostgreSQL cluster could not start: {error}"))?;
    let (host, app) = (cluster.cluster_endpoint(), cluster.app());
    let resolver = TableResolver(cluster.names());
    let builder = Connector::builder_at(&host, cluster.port())
        .user(&app.user)
        .password(app.password.clone())
        .dbname(&app.database)
        .set("sslmode", "disable")
        .environment(Environment::builder().resolver(resolver.clone()).build());
    let mut config = Config::new();
    config.user(&app.user).password(&app.password).dbname(&app.database);
    let bare = Target { config, host, port: cluster.port(), resolver: Arc::new(resolver), tls: None };
    let connector = connector(builder, options.fault)?;
    let title = "three PostgreSQL servers with streaming replication";
    Ok(Running { cluster: Cluster::Local(Box::new(cluster)), connector, bare, title })
}

#[cfg(not(target_os = "linux"))]
async fn local(_options: &Options) -> Result<Running, String> {
    Err("--cluster postgres needs Linux (addresses 127.x.y.z, /proc); use --cluster sim or --url".to_owned())
}

fn own(url: &str) -> Result<Running, String> {
    let connector = Connector::from_url(url).map_err(|error| format!("--url: {error}"))?;
    let settings = connector.settings();
    let Some((host, port)) = settings.hosts().first().cloned() else {
        return Err("--url: it names no host".to_owned());
    };
    let (config, tls) = tls::bare(settings, &host)?;
    let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver);
    let bare = Target { config, host, port, resolver, tls };
    Ok(Running { cluster: Cluster::Own, connector, bare, title: "a cluster of the user's" })
}

fn connector(builder: ConnectorBuilder, fault: Fault) -> Result<Connector, String> {
    let settings = if fault == Fault::Freeze { &DETECTION[..] } else { &[] };
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
    builder.build().map_err(|error| format!("the connector could not be made: {error}"))
}

impl Running {
    /// Whether the demo itself triggers the failover.
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self.cluster, Cluster::Own)
    }

    /// Makes the cluster lose its writer; returns when another one accepts writes.
    pub(crate) async fn fail_over(&self, fault: Fault) -> Result<Failover, String> {
        match &self.cluster {
            Cluster::Simulated(cluster) => {
                let from = cluster.writer().unwrap_or_default();
                let record = match fault {
                    Fault::Crash => cluster.fail_over().await,
                    Fault::Planned => cluster.planned_switchover((from + 1) % cluster.nodes()).await,
                    Fault::Freeze => cluster.fail_over_frozen().await,
                };
                let record = record.map_err(|error| format!("the failover did not work: {error}"))?;
                let name = |node| cluster.instance_name(node).unwrap_or_default();
                let (lost, accepting) = (record.stopped, record.accepting);
                Ok(Failover { from: name(from), to: name(record.new_writer), lost, accepting })
            }
            #[cfg(target_os = "linux")]
            Cluster::Local(cluster) => {
                let record = match fault {
                    Fault::Crash => cluster.fail_over().await,
                    Fault::Planned => cluster.planned_switchover(cluster.readers()[0]).await,
                    Fault::Freeze => {
                        cluster.fail_over_after(LocalFault::Freeze(FreezeScope::AllProcesses)).await
                    }
                };
                let record = record.map_err(|error| format!("the failover did not work: {error}"))?;
                let name = |node| cluster.instance(node).to_owned();
                let (from, to) = (name(record.old_writer), name(record.new_writer));
                Ok(Failover { from, to, lost: record.t_crash, accepting: record.t_accepting })
            }
            Cluster::Own => Err("the failover of your own cluster is yours to trigger".to_owned()),
        }
    }

    /// Ends the connector and the cluster.
    pub(crate) async fn stop(self) {
        self.connector.shutdown().await;
        match self.cluster {
            Cluster::Simulated(cluster) => cluster.shutdown().await,
            #[cfg(target_os = "linux")]
            Cluster::Local(cluster) => cluster.stop().await,
            Cluster::Own => {}
        }
    }
}
