//! The simulated MySQL cluster, seen through the bare `mysql_async`.
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; these tests drive real sockets and time"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use integration_tests::sim::{Engine, SimCluster, SimClusterBuilder};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder};

mod faults;
mod login;
mod metadata;
mod sql;

/// No wait in these tests is meant to be longer.
const PATIENCE: Duration = Duration::from_secs(10);

fn mysql() -> SimClusterBuilder {
    SimCluster::builder().engine(Engine::Mysql)
}

async fn cluster() -> SimCluster {
    mysql().start().await.unwrap()
}

fn options(cluster: &SimCluster, node: usize) -> OptsBuilder {
    let address = cluster.address(node).unwrap();
    OptsBuilder::default()
        .ip_or_hostname(cluster.instance_endpoint(node).unwrap())
        .resolved_ips(Some(vec![address.ip()]))
        .tcp_port(address.port())
        .user(Some("app"))
        .db_name(Some("shop"))
}

async fn connect(cluster: &SimCluster, node: usize) -> Conn {
    Conn::new(options(cluster, node)).await.unwrap()
}

/// The number of a server's error.
fn code<T>(result: mysql_async::Result<T>) -> u16 {
    match result.err() {
        Some(Error::Server(error)) => error.code,
        Some(error) => panic!("not the server's: {error}"),
        None => panic!("it should have failed"),
    }
}

/// A connection with a table `w` on the writer.
async fn with_table(cluster: &SimCluster) -> Conn {
    let mut conn = connect(cluster, 0).await;
    conn.query_drop("CREATE TABLE w (id BIGINT PRIMARY KEY)").await.unwrap();
    conn
}

async fn numbers(conn: &mut Conn) -> Vec<i64> {
    conn.query("SELECT id FROM w ORDER BY id").await.unwrap()
}
