//! Sessions beside one another: cancelling, notifications, several clusters.

use std::time::{Duration, Instant};

use integration_tests::sim::SimError;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::{PATIENCE, Result, cluster, config, connect, failed, state};

#[tokio::test]
async fn statements_can_be_cancelled_and_sessions_terminated() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(&cluster, 0).await?;
    let token = client.cancel_token();
    client.batch_execute("BEGIN").await?;
    let sleeping = client.query("SELECT pg_sleep(30)", &[]);
    tokio::pin!(sleeping);
    assert!(timeout(Duration::from_millis(50), &mut sleeping).await.is_err());
    token.cancel_query(NoTls).await?;
    assert_eq!(state(&failed(timeout(PATIENCE, sleeping).await?)), "57014");
    assert_eq!(state(&failed(client.query("SELECT 1", &[]).await)), "25P02");
    client.batch_execute("ROLLBACK").await?;

    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let sessions = cluster.sessions(0)?;
    assert!(
        sessions.iter().any(|session| session.pid == Some(pid) && session.application_name == "sim-test")
    );
    let other = connect(&cluster, 0).await?;
    let done = other.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await?;
    assert!(done.get::<_, bool>(0));
    let gone = failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    assert!(gone.is_closed() || state(&gone) == "57P01", "{gone:?}");
    Ok(())
}

#[tokio::test]
async fn notifications_arrive_when_the_transaction_commits() -> Result<()> {
    let cluster = cluster().await?;
    let (listener, mut connection) = config(&cluster, 0)?.connect(NoTls).await?;
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                sender.send((notification.channel().to_owned(), notification.payload().to_owned())).ok();
            }
        }
    });
    listener.batch_execute("LISTEN orders").await?;
    let client = connect(&cluster, 0).await?;
    client.batch_execute("BEGIN; NOTIFY orders, 'lost'; ROLLBACK; NOTIFY other, 'no'").await?;
    client.query("SELECT pg_notify('orders', $1)", &[&"7"]).await?;
    let first = timeout(PATIENCE, received.recv()).await?;
    assert_eq!(first, Some(("orders".to_owned(), "7".to_owned())));
    let reader = connect(&cluster, 1).await?;
    assert_eq!(state(&failed(reader.batch_execute("LISTEN orders").await)), "25006");
    Ok(())
}

#[tokio::test]
async fn clusters_live_side_by_side_and_leave_nothing() -> Result<()> {
    let started = Instant::now();
    let (one_cluster, other) = (cluster().await?, cluster().await?);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    one_cluster.sql("CREATE TABLE t (id int)").await?;
    assert!(matches!(other.sql("SELECT * FROM t").await, Err(SimError::Sql { code, .. }) if code == "42P01"));
    let client = connect(&one_cluster, 0).await?;
    let address = one_cluster.address(0)?;
    timeout(PATIENCE, one_cluster.shutdown()).await?;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);

    let (client, address) = (connect(&other, 0).await?, other.address(0)?);
    other.freeze(0)?;
    drop(other);
    failed(timeout(PATIENCE, client.query("SELECT 1", &[])).await?);
    let deadline = Instant::now() + PATIENCE;
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(left, 0, "tasks of the clusters and their clients");
    Ok(())
}
