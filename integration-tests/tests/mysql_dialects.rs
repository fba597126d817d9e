//! The dialects of MySQL ask real servers: detection, roles, topologies and missing rights on each flavour.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "drives real servers in real time")]

#[path = "mysql_support/mod.rs"]
mod mysql_support;

use std::time::Duration;

use async_trait::async_trait;
use integration_tests::mysql::MySqlKind;
use integration_tests::{Flavour, MySqlCluster, NodeId};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use mysql_support::{LONG, N1, N2, N3};
use wrapper_core::dialect::{Detected, DialectId, EndpointHint, Engine, detect, dialect_for};
use wrapper_core::driver::{DriverConnection, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole, InstanceTemplate};
use wrapper_core::topology::{HostListProvider, RdsProvider, Topology};
use wrapper_core::{Error, ErrorKind, Result};

/// A connection of the bare driver that answers in text.
#[derive(Debug)]
struct Bare(tokio::sync::Mutex<Conn>);

impl Bare {
    async fn connect(cluster: &MySqlCluster, node: NodeId) -> Self {
        Self(tokio::sync::Mutex::new(cluster.connect_app(node).await.unwrap()))
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => panic!("the text protocol gives text: {other:?}"),
    }
}

fn wrapped(error: mysql_async::Error) -> Error {
    match error {
        mysql_async::Error::Server(error) => Error::new(ErrorKind::Statement, error.message)
            .with_sqlstate(error.state)
            .with_server_code(error.code),
        error => Error::new(ErrorKind::Network, error.to_string()),
    }
}

#[async_trait]
impl DriverConnection for Bare {
    async fn fetch_text(&self, sql: &str, _deadline: Deadline) -> Result<Rows> {
        let mut conn = self.0.lock().await;
        let mut answer = conn.query_iter(sql).await.map_err(wrapped)?;
        let columns = answer.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
        let rows: Vec<Row> = answer.collect().await.map_err(wrapped)?;
        Ok(Rows::new(
            columns,
            rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect(),
        ))
    }

    async fn ping(&self, _deadline: Deadline) -> Result<()> {
        self.0.lock().await.ping().await.map_err(wrapped)
    }

    fn kill(&self, _reason: Error) {}

    fn drain(&self) {}

    fn is_closed(&self) -> bool {
        false
    }

    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Unknown
    }

    fn bytes_received(&self) -> u64 {
        0
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5), "auxiliary_query_timeout")
}

async fn detected(connection: &Bare, hint: EndpointHint) -> Result<Detected> {
    detect(Engine::Mysql, connection, hint, soon()).await
}

fn provider(cluster: &MySqlCluster, id: DialectId) -> RdsProvider {
    let template = InstanceTemplate::parse(&cluster.instance_pattern()).unwrap();
    let host = HostInfo::new(&cluster.cluster_endpoint(), cluster.port(), HostRole::Unknown);
    RdsProvider::new(dialect_for(id).unwrap(), template, cluster.port(), [host]).unwrap()
}

/// The writer's host name in a topology of three hosts with ids.
fn writer(topology: &Topology) -> String {
    assert_eq!(topology.hosts().len(), 3, "{topology}");
    assert!(topology.hosts().iter().all(|host| host.id.is_some()), "{topology}");
    topology.writer().map(|host| host.host().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_cluster_has_roles_and_no_topology() {
    let cluster = MySqlCluster::builder().start().await.unwrap();
    let plain = match cluster.kind() {
        MySqlKind::MariaDb => DialectId::Mariadb,
        MySqlKind::MySql => DialectId::Mysql,
    };
    for (node, role) in [(N1, HostRole::Writer), (N2, HostRole::Reader)] {
        let connection = Bare::connect(&cluster, node).await;
        let dialect = detected(&connection, EndpointHint::Other).await.unwrap().dialect;
        assert_eq!(dialect.id(), plain);
        let rows = connection.fetch_text(dialect.role_query(), soon()).await.unwrap();
        assert_eq!(dialect.parse_role(&rows).unwrap(), role);
    }
    // A dialect that was named by hand, and is wrong.
    let connection = Bare::connect(&cluster, N1).await;
    for (id, expected) in [
        (DialectId::AuroraMysql, "not Aurora MySQL"),
        // Without the right to know of the table the server does not say whether it is there.
        (DialectId::RdsMultiAzMysqlCluster, "GRANT REPLICATION CLIENT ON *.* TO 'app'@'%'"),
    ] {
        let error = provider(&cluster, id).refresh(&connection, soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Grant);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flavour_is_detected_and_its_topology_follows_a_switchover() {
    for (flavour, id) in
        [(Flavour::Aurora, DialectId::AuroraMysql), (Flavour::MultiAz, DialectId::RdsMultiAzMysqlCluster)]
    {
        let cluster = MySqlCluster::builder().flavour(flavour).start().await.unwrap();
        let provider = provider(&cluster, id);
        for round in [N1, N3] {
            for node in cluster.nodes() {
                let connection = Bare::connect(&cluster, node).await;
                for hint in [EndpointHint::Cluster, EndpointHint::Instance, EndpointHint::Other] {
                    assert_eq!(
                        detected(&connection, hint).await.unwrap().dialect.id(),
                        id,
                        "{node} {hint:?}"
                    );
                }
                let topology = provider.refresh(&connection, soon()).await.unwrap();
                assert_eq!(writer(&topology), cluster.instance_endpoint(round), "{id} on {node}");
                let status = provider.status(&connection, soon()).await.unwrap();
                assert_eq!(status.accepts_writes, node == round, "{id} on {node}");
                let own = topology.hosts().iter().find(|host| host.id == status.id).unwrap();
                assert_eq!(own.host(), cluster.instance_endpoint(node));
                assert_ne!(status.claims_writer, Some(node != round));
            }
            if round == N1 {
                cluster.planned_switchover(N3).await.unwrap();
                cluster.wait_until_healthy(LONG).await.unwrap();
            }
        }
        // A reader that lags behind names the old writer, and is still asked about itself.
        cluster.freeze_topology(&[N2]);
        cluster.planned_switchover(N1).await.unwrap();
        let connection = Bare::connect(&cluster, N2).await;
        let topology = provider.refresh(&connection, soon()).await.unwrap();
        assert_eq!(writer(&topology), cluster.instance_endpoint(N3), "{id}");
        assert!(!provider.status(&connection, soon()).await.unwrap().accepts_writes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_grant_is_told_with_the_statement_that_mends_it() {
    let cluster = MySqlCluster::builder().flavour(Flavour::MultiAz).start().await.unwrap();
    let mut admin = cluster.connect_superuser(N1).await.unwrap();
    admin.query_drop("REVOKE SELECT ON mysql.rds_topology FROM app").await.unwrap();
    let rights = cluster.kind().replication_rights();
    admin.query_drop(format!("REVOKE {rights} ON *.* FROM app")).await.unwrap();
    let provider = provider(&cluster, DialectId::RdsMultiAzMysqlCluster);
    let connection = Bare::connect(&cluster, N1).await;

    let at_detection = detected(&connection, EndpointHint::Cluster).await.unwrap_err();
    assert_eq!(at_detection.kind(), ErrorKind::Grant);
    let statement = "GRANT SELECT ON mysql.rds_topology TO 'app'@'%'";
    assert!(at_detection.to_string().contains(statement), "{at_detection}");
    let status = provider.refresh(&connection, soon()).await.unwrap_err();
    assert!(status.to_string().contains("GRANT REPLICATION CLIENT ON *.* TO 'app'@'%'"), "{status}");

    // MariaDB calls this right by other names; the table's is the same.
    admin.query_drop(format!("GRANT {rights} ON *.* TO app")).await.unwrap();
    let connection = Bare::connect(&cluster, N1).await;
    let table = provider.refresh(&connection, soon()).await.unwrap_err();
    assert!(table.to_string().contains(statement), "{table}");
    admin.query_drop(statement).await.unwrap();
    assert_eq!(writer(&provider.refresh(&connection, soon()).await.unwrap()), cluster.instance_endpoint(N1));
}
