//! The MySQL family's detection, topology and diagnosis on answers as real servers give them.

use std::time::{Duration, SystemTime};

use super::*;
use crate::dialect::scripted::{Scripted, table};
use crate::host::InstanceTemplate;
use crate::topology::{HostListProvider, HostStatus, RdsProvider};

const HINTS: [EndpointHint; 3] = [EndpointHint::Cluster, EndpointHint::Instance, EndpointHint::Other];

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5), "auxiliary_query_timeout")
}

/// The answer of `SHOW VARIABLES`.
fn variables(values: &[(&str, &str)]) -> Rows {
    let columns = ["Variable_name", "Value"].map(str::to_owned).to_vec();
    let rows = values.iter().map(|(name, value)| vec![Some((*name).to_owned()), Some((*value).to_owned())]);
    Rows::new(columns, rows.collect())
}

fn server_error(code: u16) -> Error {
    Error::new(ErrorKind::Statement, format!("ERROR {code}")).with_sqlstate("42000").with_server_code(code)
}

fn rds(report_host: &str) -> Rows {
    variables(&[
        ("report_host", report_host),
        ("version", "8.0.39"),
        ("version_comment", "Source distribution"),
    ])
}

/// What is found, in how many round trips.
async fn detected(
    answers: impl IntoIterator<Item = Result<Rows>>,
    hint: EndpointHint,
) -> (Result<Detected>, usize) {
    let server = Scripted::new(answers);
    let found = detect(Engine::Mysql, &server, hint, soon()).await;
    (found, server.asked().len())
}

#[tokio::test]
async fn servers_without_a_topology_are_told_apart_in_one_round_trip() {
    let mysql = variables(&[("version", "8.4.3"), ("version_comment", "MySQL Community Server - GPL")]);
    let percona = variables(&[("version", "8.0.36-28"), ("version_comment", "Percona Server (GPL)")]);
    let mariadb =
        variables(&[("version", "10.11.19-MariaDB-0+deb12u1-log"), ("version_comment", "Debian 12")]);
    for hint in HINTS {
        let cases =
            [(&mysql, DialectId::Mysql), (&percona, DialectId::Mysql), (&mariadb, DialectId::Mariadb)];
        for (answer, expected) in cases {
            let (found, trips) = detected([Ok(answer.clone())], hint).await;
            let found = found.unwrap();
            assert_eq!((found.dialect.id(), trips), (expected, 1));
            assert_eq!((found.dialect.engine(), found.dialect.default_port()), (Engine::Mysql, 3306));
            assert_eq!(found.note.is_some(), hint == EndpointHint::Cluster);
            assert!(found.dialect.topology_query().is_none());
        }
    }
    for hint in [EndpointHint::Instance, EndpointHint::Other] {
        let (found, trips) = detected([Ok(rds(""))], hint).await;
        assert_eq!((found.unwrap().dialect.id(), trips), (DialectId::RdsMysql, 1));
    }
}

#[tokio::test]
async fn aurora_is_asked_for_its_regions() {
    let aurora = || {
        Ok(variables(&[
            ("aurora_version", "3.08.0"),
            ("version", "8.0.39"),
            ("version_comment", "Source distribution"),
        ]))
    };
    for hint in HINTS {
        let (found, trips) = detected([aurora(), Err(server_error(1109))], hint).await;
        assert_eq!((found.unwrap().dialect.id(), trips), (DialectId::AuroraMysql, 2));
        let (found, _) = detected([aurora(), Ok(table("regions\n1"))], hint).await;
        assert_eq!(found.unwrap().dialect.id(), DialectId::AuroraMysql);
        let (found, _) = detected([aurora(), Ok(table("regions\n2"))], hint).await;
        let error = found.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("wrapper_dialect=aurora-mysql"), "{error}");
        // What says nothing about the server is not taken for a "no".
        let network = Error::new(ErrorKind::Network, "gone");
        let (found, _) = detected([aurora(), Err(network)], hint).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::Network);
    }
}

#[tokio::test]
async fn multi_az_is_known_by_its_table_and_asks_for_the_grant() {
    let user = || Ok(table("user_name\napp@%"));
    for (hint, report_host) in [(EndpointHint::Cluster, ""), (EndpointHint::Instance, "10.0.0.7")] {
        let first = || Ok(rds(report_host));
        let (found, trips) = detected([first(), Ok(table("hosts\n3"))], hint).await;
        assert_eq!((found.unwrap().dialect.id(), trips), (DialectId::RdsMultiAzMysqlCluster, 2));
        for no in [Err(server_error(1146)), Ok(table("hosts\n0"))] {
            let (found, _) = detected([first(), no], hint).await;
            let found = found.unwrap();
            assert_eq!(found.dialect.id(), DialectId::RdsMysql);
            assert_eq!(found.note.is_some(), hint == EndpointHint::Cluster);
        }
        let (found, _) = detected([first(), Err(server_error(1142)), user()], hint).await;
        let error = found.unwrap_err();
        assert_eq!((error.kind(), error.server_code()), (ErrorKind::Grant, Some(1142)));
        assert!(error.to_string().contains("GRANT SELECT ON mysql.rds_topology TO 'app'@'%'"), "{error}");
        // Also when the user's name cannot be had.
        let (found, _) = detected([first(), Err(server_error(1142)), Err(server_error(1053))], hint).await;
        assert!(found.unwrap_err().to_string().contains("GRANT SELECT ON mysql.rds_topology TO the user"));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_one_names_the_setting() {
    for rows in [Rows::default(), table("now\n1")] {
        let (found, _) = detected([Ok(rows)], EndpointHint::Other).await;
        let error = found.unwrap_err();
        assert!(error.to_string().contains("wrapper_dialect"), "{error}");
    }
}

#[test]
fn roles_are_read_as_numbers_and_as_words() {
    for id in
        [DialectId::Mysql, DialectId::Mariadb, DialectId::AuroraMysql, DialectId::RdsMultiAzMysqlCluster]
    {
        let dialect = dialect_for(id).unwrap();
        for (value, expected) in [
            ("0", HostRole::Writer),
            ("OFF", HostRole::Writer),
            ("1", HostRole::Reader),
            ("ON", HostRole::Reader),
            ("NO_LOCK", HostRole::Reader),
        ] {
            let rows = table(&format!("is_read_only\n{value}"));
            assert_eq!(dialect.parse_role(&rows).unwrap(), expected, "{id} {value}");
            assert_eq!(dialect.parse_status(&rows).unwrap().role(), expected, "{id} {value}");
        }
        for bad in ["is_read_only", "is_read_only\n-", "other\n0"] {
            let error = dialect.parse_role(&table(bad)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Topology);
        }
    }
}

#[test]
fn auroras_rows_are_read_whole() {
    let aurora = dialect_for(DialectId::AuroraMysql).unwrap();
    let rows = table(
        "server_id  is_writer cpu   lag_ms updated
         instance-1 1         12.5  0      1795263671.250000
         instance-2 0         -     18.5   -
         bad.name   0         1     1      1",
    );
    let hosts = aurora.parse_topology(&rows).unwrap();
    assert_eq!(hosts.len(), 2, "a name that cannot be a label is left out");
    assert_eq!((hosts[0].id.as_str(), hosts[0].is_writer, hosts[0].cpu), ("instance-1", true, Some(12.5)));
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_263_671_250);
    assert_eq!(hosts[0].updated, Some(at));
    assert_eq!((hosts[1].lag, hosts[1].updated), (Some(Duration::from_micros(18_500)), None));

    let status = |text: &str| aurora.parse_status(&table(text)).unwrap();
    let claims = status("is_read_only own_id writer_id hosts\n0 instance-1 Instance-1 3");
    assert_eq!((claims.accepts_writes, claims.claims_writer), (true, Some(true)));
    let demoted = status("is_read_only own_id writer_id hosts\n0 instance-1 instance-2 3");
    assert_eq!((demoted.accepts_writes, demoted.claims_writer), (true, Some(false)));
    let ignorant = status("is_read_only own_id writer_id hosts\n1 instance-1 - 0");
    assert_eq!(ignorant.claims_writer, None);

    let error = aurora.diagnose(server_error(1109), None);
    assert_eq!(error.kind(), ErrorKind::Grant);
    assert!(error.to_string().contains("not Aurora MySQL"), "{error}");
    assert_eq!(aurora.diagnose(server_error(1053), None).kind(), ErrorKind::Statement);
}

fn multi_az() -> RdsProvider {
    let template = InstanceTemplate::parse("?.xyz.us-east-2.rds.amazonaws.com").unwrap();
    let host =
        crate::host::HostInfo::new("db.cluster-xyz.us-east-2.rds.amazonaws.com", 3306, HostRole::Unknown);
    RdsProvider::new(dialect_for(DialectId::RdsMultiAzMysqlCluster).unwrap(), template, 3306, [host]).unwrap()
}

/// The three instances, as asked on the one with this id.
fn listed(own: u32, read_only: u8) -> Result<Rows> {
    Ok(table(&format!(
        "id endpoint port own_id is_read_only
         101 instance-1.xyz.us-east-2.rds.amazonaws.com 3306 {own} {read_only}
         102 instance-2.xyz.us-east-2.rds.amazonaws.com 3306 {own} {read_only}
         103 instance-3.xyz.us-east-2.rds.amazonaws.com 3306 {own} {read_only}"
    )))
}

async fn writer(answers: Vec<Result<Rows>>) -> (Option<String>, Vec<String>) {
    let server = Scripted::new(answers);
    let topology = multi_az().refresh(&server, soon()).await.unwrap();
    (topology.writer().map(|host| host.host().to_owned()), server.asked())
}

#[tokio::test]
async fn the_writer_of_a_multi_az_cluster_is_the_source_of_its_replicas() {
    let named = |id: u32| Some(format!("instance-{id}.xyz.us-east-2.rds.amazonaws.com"));
    // On a replica, by either name of the column, wherever it stands.
    let new = || Ok(table("Replica_IO_State Source_Server_Id\n- 102"));
    let (found, asked) = writer(vec![new(), listed(101, 1)]).await;
    assert_eq!((found, asked[0].as_str(), asked.len()), (named(2), "SHOW REPLICA STATUS", 2));
    // MySQL 5.7 does not understand the first question.
    let old = Ok(table("Slave_IO_State Last_Error Master_Server_Id\n- - 103"));
    let (found, asked) = writer(vec![Err(server_error(1064)), old, listed(101, 1)]).await;
    assert_eq!((found, asked[1].as_str()), (named(3), "SHOW SLAVE STATUS"));
    // On the writer: no source at all.
    assert_eq!(writer(vec![Ok(Rows::default()), listed(101, 0)]).await.0, named(1));
    // Promoted between the two questions: the later answer holds.
    assert_eq!(writer(vec![new(), listed(101, 0)]).await.0, named(1));
    // Read-only and without a source, or with one that it never reached: nobody is named.
    assert_eq!(writer(vec![Ok(Rows::default()), listed(101, 1)]).await.0, None);
    assert_eq!(writer(vec![Ok(table("Source_Server_Id\n0")), listed(101, 1)]).await.0, None);
}

#[tokio::test]
async fn a_missing_right_of_a_multi_az_cluster_is_told_with_its_grant() {
    let user = || Ok(table("user_name\nit's@10.%"));
    let cases = [
        (vec![Err(server_error(1227)), user()], "GRANT REPLICATION CLIENT ON *.* TO 'it''s'@'10.%'"),
        (
            vec![Ok(Rows::default()), Err(server_error(1142)), user()],
            "GRANT SELECT ON mysql.rds_topology TO 'it''s'@'10.%'",
        ),
        (vec![Ok(Rows::default()), Err(server_error(1146)), user()], "leave `wrapper_dialect` out"),
    ];
    for (answers, expected) in cases {
        let server = Scripted::new(answers);
        let error = multi_az().refresh(&server, soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Grant);
        assert!(error.to_string().contains(expected), "{error}");
    }
    // The last alternative's error is an error.
    let server = Scripted::new([Err(server_error(1064)), Err(server_error(1064))]);
    let error = multi_az().refresh(&server, soon()).await.unwrap_err();
    assert_eq!(error.server_code(), Some(1064));
}

#[tokio::test]
async fn a_status_takes_one_question() {
    let server = Scripted::new([Ok(table("is_read_only own_id\n0 101"))]);
    let status = multi_az().status(&server, soon()).await.unwrap();
    let expected = HostStatus { id: Some("101".into()), accepts_writes: true, claims_writer: None };
    assert_eq!((status, server.asked().len()), (expected, 1));
}
