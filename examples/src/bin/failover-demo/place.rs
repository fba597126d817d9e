//! The cluster that the demo runs on: its drivers, its failover, its end.

use std::time::{Duration, Instant};

use examples::TableResolver;
use integration_tests::sim::SimCluster;
#[cfg(target_os = "linux")]
use integration_tests::{
    FailoverRecord, Fault as LocalFault, Flavour, FreezeScope, LocalCluster, MySqlCluster,
    local::Credentials, names::NameTable,
};

use crate::drivers::{Address, Drivers};
use crate::options::{Engine, Fault, Options, Place};
use crate::{mysql, postgres};

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
    Postgres(Box<LocalCluster>),
    #[cfg(target_os = "linux")]
    Mysql(Box<MySqlCluster>),
    Own,
}

/// A running cluster.
pub(crate) struct Running {
    cluster: Cluster,
    pub(crate) drivers: Box<dyn Drivers>,
    /// What runs here, in words, for the picture.
    pub(crate) title: &'static str,
}

/// Starts the cluster; what cannot start says what to do.
pub(crate) async fn start(options: &Options) -> Result<Running, String> {
    match (&options.place, options.engine) {
        (Place::Simulated, _) => simulated(options).await,
        (Place::Local, Engine::Postgres) => local_postgres(options).await,
        (Place::Local, Engine::Mysql) => local_mysql(options).await,
        (Place::Url(url), engine) => {
            let drivers: Box<dyn Drivers> = match engine {
                Engine::Postgres => Box::new(postgres::by_url(url)?),
                Engine::Mysql => Box::new(mysql::by_url(url)?),
            };
            Ok(Running { cluster: Cluster::Own, drivers, title: "a cluster of the user's" })
        }
    }
}

/// The drivers of an engine for a cluster of ours.
fn drivers(engine: Engine, address: &Address) -> Result<Box<dyn Drivers>, String> {
    Ok(match engine {
        Engine::Postgres => Box::new(postgres::at(address)?),
        Engine::Mysql => Box::new(mysql::at(address)?),
    })
}

fn settings(fault: Fault) -> &'static [(&'static str, &'static str)] {
    if fault == Fault::Freeze { &DETECTION } else { &[] }
}

async fn simulated(options: &Options) -> Result<Running, String> {
    let engine = match options.engine {
        Engine::Postgres => integration_tests::sim::Engine::Postgres,
        Engine::Mysql => integration_tests::sim::Engine::Mysql,
    };
    let cluster = SimCluster::builder()
        .engine(engine)
        .promotion_time(PROMOTION)
        .switchover_time(SWITCHOVER)
        .dns_lag(options.dns_lag)
        .seed(u64::from(std::process::id()))
        .start()
        .await
        .map_err(|error| format!("the simulated cluster could not start: {error}"))?;
    let address = Address {
        host: cluster.cluster_endpoint(),
        port: cluster.port(),
        user: "app".to_owned(),
        password: None,
        database: "shop".to_owned(),
        resolver: TableResolver(cluster.names().clone()),
        settings: settings(options.fault),
    };
    let drivers = drivers(options.engine, &address)?;
    Ok(Running { cluster: Cluster::Simulated(cluster), drivers, title: "a simulated cluster of three" })
}

/// How long a real cluster is without a writer.
#[cfg(target_os = "linux")]
fn pause(fault: Fault) -> std::ops::RangeInclusive<Duration> {
    if fault == Fault::Planned { SWITCHOVER } else { PROMOTION }
}

/// Where clients find a real cluster.
#[cfg(target_os = "linux")]
fn address(options: &Options, host: String, port: u16, app: Credentials, names: NameTable) -> Address {
    Address {
        host,
        port,
        user: app.user,
        password: Some(app.password),
        database: app.database,
        resolver: TableResolver(names),
        settings: settings(options.fault),
    }
}

#[cfg(target_os = "linux")]
async fn local_postgres(options: &Options) -> Result<Running, String> {
    let cluster = LocalCluster::builder()
        .flavour(Flavour::Aurora)
        .promotion_time(pause(options.fault))
        .restart_on_promote(true)
        .dns_lag(options.dns_lag)
        .start()
        .await
        .map_err(|error| format!("the PostgreSQL cluster could not start: {error}"))?;
    let (host, port) = (cluster.cluster_endpoint(), cluster.port());
    let address = address(options, host, port, cluster.app(), cluster.names());
    let drivers = drivers(options.engine, &address)?;
    let title = "three PostgreSQL servers with streaming replication";
    Ok(Running { cluster: Cluster::Postgres(Box::new(cluster)), drivers, title })
}

#[cfg(target_os = "linux")]
async fn local_mysql(options: &Options) -> Result<Running, String> {
    let cluster = MySqlCluster::builder()
        .flavour(Flavour::Aurora)
        .promotion_time(pause(options.fault))
        .restart_on_promote(true)
        .dns_lag(options.dns_lag)
        .start()
        .await
        .map_err(|error| format!("the MySQL cluster could not start: {error}"))?;
    let (host, port) = (cluster.cluster_endpoint(), cluster.port());
    let address = address(options, host, port, cluster.app(), cluster.names());
    let drivers = drivers(options.engine, &address)?;
    let title = "three MariaDB servers with semi-synchronous replication";
    Ok(Running { cluster: Cluster::Mysql(Box::new(cluster)), drivers, title })
}

#[cfg(not(target_os = "linux"))]
async fn local_postgres(_options: &Options) -> Result<Running, String> {
    Err("--cluster postgres needs Linux (addresses 127.x.y.z, /proc); use --cluster sim or --url".to_owned())
}

#[cfg(not(target_os = "linux"))]
async fn local_mysql(_options: &Options) -> Result<Running, String> {
    Err("--cluster mysql needs Linux (addresses 127.x.y.z, /proc); use --engine mysql or --url".to_owned())
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
            Cluster::Postgres(cluster) => {
                let record = match fault {
                    Fault::Crash => cluster.fail_over().await,
                    Fault::Planned => cluster.planned_switchover(cluster.readers()[0]).await,
                    Fault::Freeze => {
                        cluster.fail_over_after(LocalFault::Freeze(FreezeScope::AllProcesses)).await
                    }
                };
                let record = record.map_err(|error| format!("the failover did not work: {error}"))?;
                let (from, to) = (cluster.instance(record.old_writer), cluster.instance(record.new_writer));
                Ok(local(from, to, &record))
            }
            #[cfg(target_os = "linux")]
            Cluster::Mysql(cluster) => {
                let record = match fault {
                    Fault::Crash => cluster.fail_over().await,
                    Fault::Planned => cluster.planned_switchover(cluster.readers()[0]).await,
                    Fault::Freeze => {
                        cluster.fail_over_after(LocalFault::Freeze(FreezeScope::AllProcesses)).await
                    }
                };
                let record = record.map_err(|error| format!("the failover did not work: {error}"))?;
                let (from, to) = (cluster.instance(record.old_writer), cluster.instance(record.new_writer));
                Ok(local(from, to, &record))
            }
            Cluster::Own => Err("the failover of your own cluster is yours to trigger".to_owned()),
        }
    }

    /// Ends the connector and the cluster.
    pub(crate) async fn stop(self) {
        self.drivers.shutdown().await;
        match self.cluster {
            Cluster::Simulated(cluster) => cluster.shutdown().await,
            #[cfg(target_os = "linux")]
            Cluster::Postgres(cluster) => cluster.stop().await,
            #[cfg(target_os = "linux")]
            Cluster::Mysql(cluster) => cluster.stop().await,
            Cluster::Own => {}
        }
    }
}

/// A real cluster's failover.
#[cfg(target_os = "linux")]
fn local(from: &str, to: &str, record: &FailoverRecord) -> Failover {
    let (from, to) = (from.to_owned(), to.to_owned());
    Failover { from, to, lost: record.t_crash, accepting: record.t_accepting }
}
