//! The metadata of each flavour, read by core's dialects.

use std::time::Duration;

use integration_tests::sim::{Flavour, RdsTools, SimCluster};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use wrapper_core::dialect::{
    Detected, Dialect, DialectId, EndpointHint, HostRow, MYSQL_DETECTION_SQL, MysqlDetection,
};
use wrapper_core::driver::Rows;
use wrapper_core::host::HostRole;
use wrapper_core::{Error, ErrorKind};

use crate::{connect, mysql};

/// An answer in text, as the adapters hand it to core.
async fn ask(conn: &mut Conn, sql: &str) -> Result<Rows, Error> {
    let failed = |error| match error {
        mysql_async::Error::Server(error) => Error::new(ErrorKind::Statement, error.message)
            .with_sqlstate(error.state)
            .with_server_code(error.code),
        error => panic!("not the server's: {error}"),
    };
    let mut answer = conn.query_iter(sql).await.map_err(failed)?;
    let columns = answer.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    let rows: Vec<Row> = answer.collect().await.unwrap();
    let text = |value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => panic!("the text protocol gives text: {other:?}"),
    };
    Ok(Rows::new(columns, rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()))
}

async fn detected(conn: &mut Conn) -> Result<Detected, Error> {
    let rows = ask(conn, MYSQL_DETECTION_SQL).await?;
    let question = match MysqlDetection::judge(&rows, EndpointHint::Instance)? {
        MysqlDetection::Found(found) => return Ok(found),
        MysqlDetection::Ask(question) => question,
        other => panic!("{other:?}"),
    };
    match ask(conn, question.sql()).await {
        Ok(rows) => question.answer(&rows),
        Err(error) => question.failed(error, None),
    }
}

async fn topology(conn: &mut Conn, dialect: &dyn Dialect) -> Vec<HostRow> {
    let rows = ask(conn, dialect.topology_query().unwrap()).await.unwrap();
    match dialect.source_queries().first() {
        None => dialect.parse_topology(&rows).unwrap(),
        Some(source) => dialect.parse_topology_from(&rows, &ask(conn, source).await.unwrap()).unwrap(),
    }
}

fn writers(rows: &[HostRow]) -> Vec<&str> {
    rows.iter().filter(|row| row.is_writer).map(|row| &*row.instance).collect()
}

async fn start(flavour: Flavour) -> SimCluster {
    mysql().flavour(flavour).start().await.unwrap()
}

#[tokio::test]
async fn each_flavour_is_taken_for_what_it_is() {
    for (flavour, id) in [
        (Flavour::Plain, DialectId::Mysql),
        (Flavour::Aurora, DialectId::AuroraMysql),
        (Flavour::MultiAz, DialectId::RdsMultiAzMysqlCluster),
    ] {
        let cluster = start(flavour).await;
        for node in 0..cluster.nodes() {
            let mut conn = connect(&cluster, node).await;
            let dialect = detected(&mut conn).await.unwrap().dialect;
            assert_eq!(dialect.id(), id);
            let role = dialect.parse_role(&ask(&mut conn, dialect.role_query()).await.unwrap()).unwrap();
            assert_eq!(role, if node == 0 { HostRole::Writer } else { HostRole::Reader }, "{flavour:?}");
            let status = ask(&mut conn, dialect.status_query()).await.unwrap();
            assert_eq!(dialect.parse_status(&status).unwrap().accepts_writes, node == 0);
            if flavour == Flavour::Plain {
                assert!(dialect.topology_query().is_none());
                continue;
            }
            let rows = topology(&mut conn, &*dialect).await;
            assert_eq!(rows.len(), 3, "{rows:?}");
            assert_eq!(writers(&rows), ["shop-1"], "{flavour:?} {node}");
            if flavour == Flavour::MultiAz {
                let endpoints: Vec<_> = rows.iter().filter_map(|row| row.endpoint.clone()).collect();
                assert_eq!(endpoints, [0, 1, 2].map(|n| cluster.instance_endpoint(n).unwrap()));
            } else {
                assert!(rows.iter().all(|row| row.updated.is_some() && row.cpu.is_some()), "{rows:?}");
            }
        }
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn a_delayed_topology_shows_the_past() {
    for flavour in [Flavour::Aurora, Flavour::MultiAz] {
        let cluster = start(flavour).await;
        let mut conn = connect(&cluster, 2).await;
        let dialect = detected(&mut conn).await.unwrap().dialect;
        cluster.delay_topology(&[2], Duration::from_secs(60)).unwrap();
        cluster.promote(1).await.unwrap();
        assert_eq!(writers(&topology(&mut conn, &*dialect).await), ["shop-1"], "{flavour:?}");
        cluster.heal(2).await.unwrap();
        assert_eq!(writers(&topology(&mut conn, &*dialect).await), ["shop-2"], "{flavour:?}");
    }
}

#[tokio::test]
async fn an_instance_that_is_gone_stays_in_auroras_table_for_a_while() {
    let cluster = start(Flavour::Aurora).await;
    let mut conn = connect(&cluster, 0).await;
    let dialect = detected(&mut conn).await.unwrap().dialect;
    cluster.crash(2).await.unwrap();
    let rows = topology(&mut conn, &*dialect).await;
    assert_eq!(rows.len(), 3);
    // The query leaves out by the time of the last update; here nothing is older than this test.
    let sql = "SELECT TIMESTAMPDIFF(SECOND, LAST_UPDATE_TIMESTAMP, NOW()) <= 300 FROM \
               information_schema.replica_host_status WHERE server_id = 'shop-3'";
    let recent: Option<bool> = conn.query_first(sql).await.unwrap();
    assert_eq!(recent, Some(true));
}

#[tokio::test]
async fn a_missing_right_names_its_grant() {
    let cluster = start(Flavour::MultiAz).await;
    cluster.set_rds_tools(RdsTools::NoUsage);
    let mut conn = connect(&cluster, 1).await;
    let error = detected(&mut conn).await.unwrap_err();
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Grant, Some(1142)));
    assert!(error.to_string().contains("GRANT SELECT ON mysql.rds_topology"), "{error}");
    cluster.set_rds_tools(RdsTools::Absent);
    assert_eq!(detected(&mut conn).await.unwrap().dialect.id(), DialectId::RdsMysql);
}

#[tokio::test]
async fn old_names_of_the_replica_status_are_answered_too() {
    let cluster = start(Flavour::Plain).await;
    let mut conn = connect(&cluster, 1).await;
    let own: Option<u64> = connect(&cluster, 0).await.query_first("SELECT @@server_id").await.unwrap();
    for (sql, column) in
        [("SHOW REPLICA STATUS", "Source_Server_Id"), ("SHOW SLAVE STATUS", "Master_Server_Id")]
    {
        let row: Option<Row> = conn.query_first(sql).await.unwrap();
        assert_eq!(row.unwrap().get::<Option<u64>, _>(column), Some(own), "{sql}");
        let row: Option<Row> = connect(&cluster, 0).await.query_first(sql).await.unwrap();
        assert!(row.is_none());
    }
}
