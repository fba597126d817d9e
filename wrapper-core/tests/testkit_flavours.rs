//! The flavours of a scripted cluster, and its streams of rows.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::config::Settings;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostRole;
use wrapper_core::session::SessionOptions;
use wrapper_core::testkit::{
    FailoverPlan, FakeClient, FakeConnection, Flavour, Health, ScriptedCluster, Statement, What, parts,
};
use wrapper_core::{ErrorClass, ErrorKind};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5), "test")
}

async fn client(cluster: &ScriptedCluster) -> (ConnectorCore, FakeClient) {
    let core = ConnectorCore::new(parts(cluster, Settings::builder(), Vec::new(), Vec::new()).unwrap());
    let core = core.unwrap();
    let session = core.open::<FakeConnection>(SessionOptions::default()).await.unwrap();
    (core, FakeClient::new(session))
}

/// Nobody tells the library what it is connected to.
#[tokio::test(start_paused = true)]
async fn each_flavour_is_recognised_listed_and_followed_over_a_failover() {
    for flavour in Flavour::ALL {
        let cluster = ScriptedCluster::of(flavour, 3, 1);
        let (core, client) = client(&cluster).await;
        let connection = Arc::clone(&client.session().load().connection) as Arc<dyn DriverConnection>;
        core.cluster().core().learn_topology(&connection, soon()).await.unwrap();
        let found = core.cluster().core().search_writer(soon()).await.unwrap();
        let hosts: Vec<_> = found.topology.hosts().to_vec();
        assert_eq!(hosts.len(), 3, "{flavour:?}: {}", found.topology);
        for (index, host) in hosts.iter().enumerate() {
            assert_eq!((&host.key, &host.id), (&cluster.host(index).key, &cluster.host(index).id));
            assert_eq!(
                host.role,
                if index == 0 { HostRole::Writer } else { HostRole::Reader },
                "{flavour:?}"
            );
        }
        cluster.fail_over(FailoverPlan::crash(2)).await;
        let found = core.cluster().core().search_writer(soon()).await.unwrap();
        assert_eq!(found.topology.writer().unwrap().key, cluster.host(2).key, "{flavour:?}");
        assert!(found.verified);
        core.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn servers_of_both_families_refuse_in_their_own_way() {
    for flavour in Flavour::ALL {
        let is_mysql = flavour.engine() == wrapper_core::dialect::Engine::Mysql;
        let cluster = ScriptedCluster::of(flavour, 2, 1);
        let reader = cluster.connected(1);
        reader.run(&Statement::new(1, What::Begin)).await.unwrap();
        let error = reader.run(&Statement::append(2)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::ReadOnly);
        assert_eq!(
            (error.sqlstate(), error.server_code()),
            if is_mysql { (Some("HY000"), Some(1290)) } else { (Some("25006"), None) }
        );
        // Only PostgreSQL gives the whole transaction up.
        let goes_on = reader.run(&Statement::read(3)).await.is_ok();
        assert_eq!(goes_on, is_mysql, "{flavour:?}");
        let status = if is_mysql { TransactionStatus::Open } else { TransactionStatus::Failed };
        assert_eq!(reader.transaction_status(), status);
        cluster.set_health(1, Health::Starting);
        let target = ConnectTarget::session(cluster.host(1));
        let kind = cluster.driver().connect(&target, soon()).await.unwrap_err().kind();
        assert_eq!(kind, if is_mysql { ErrorKind::Network } else { ErrorKind::Busy });
    }
}

#[tokio::test(start_paused = true)]
async fn rows_come_one_after_the_other_and_are_cut_with_their_connection() {
    let every = Duration::from_millis(50);
    let cluster = ScriptedCluster::new(2, 1);
    let (core, client) = client(&cluster).await;
    let mut rows = client.rows(&Statement::rows(1, 3, every)).await.unwrap();
    let begin = tokio::time::Instant::now();
    for index in 0..3 {
        let row = rows.next().await.unwrap().unwrap();
        assert_eq!((row.statement, row.index), (1, index));
    }
    assert!(begin.elapsed() >= 2 * every, "{:?}", begin.elapsed());
    assert_eq!(rows.next().await.unwrap(), None);
    assert_eq!(rows.next().await.unwrap(), None, "it stays over");

    // A wait that is dropped loses no row; a stream that is dropped disturbs nobody.
    let mut rows = client.rows(&Statement::rows(2, 3, every)).await.unwrap();
    assert!(tokio::time::timeout(every / 2, rows.next()).await.is_err());
    assert_eq!(rows.next().await.unwrap().unwrap().index, 0);
    drop(rows);
    assert_eq!(client.run(&Statement::read(3)).await.unwrap().statement, 3);

    let mut rows = client.rows(&Statement::rows(4, 3, every)).await.unwrap();
    rows.next().await.unwrap().unwrap();
    cluster.crash(0);
    let error = loop {
        // What had arrived is there.
        match rows.next().await {
            Ok(row) => assert!(row.is_some(), "a stream that was cut ends with an error"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.class()), (ErrorKind::Network, ErrorClass::Network));
    assert_eq!(rows.next().await.unwrap(), None);
    core.shutdown().await;
}
