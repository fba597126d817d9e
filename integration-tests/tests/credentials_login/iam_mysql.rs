//! IAM over mysql_async.

use std::time::Duration;

use integration_tests::sim::{Engine, Login, SimCluster, TokenFault};
use wrapper_core::env::Environment;
use wrapper_mysql::{ErrorKind, MONITOR_PROGRAM_NAME};

use super::support::{Names, SECRET_KEY, World, iam, key, within};

/// Scenario 67: the driver's plugin for clear text is on for these connections, without being asked for.
#[tokio::test]
async fn tokens_of_any_length_log_in() {
    let world = World::start(Engine::Mysql).await;
    for session in [0, 43, 1600] {
        let session = (session > 0).then(|| "s/+=".chars().cycle().take(session).collect());
        let plugin = wrapper_mysql::plugins::iam::Iam::new().credentials(key(SECRET_KEY, session));
        let connector = world.mysql().plugin(plugin).build().unwrap();
        let mut conn = within("the connect", connector.connect()).await.unwrap();
        assert!(conn.is_secure());
        let one: Option<i64> = within("the call", conn.query_first("SELECT 1")).await.unwrap();
        assert_eq!(one, Some(1));
        drop(conn);
        connector.shutdown().await;
    }
    assert_eq!(world.faults(), []);
    let lengths: Vec<usize> = world.judged().iter().map(|login| login.password.len()).collect();
    assert!(lengths.iter().any(|length| *length > 2000), "{lengths:?}");
}

/// Scenario 67: what is wrong with a token is the server's to say; without TLS it is not sent.
#[tokio::test]
async fn tokens_that_are_wrong_are_refused() {
    let world = World::start(Engine::Mysql).await;
    let builder = || world.mysql().set("wrapper_dialect", "mysql");
    let cases = [
        (iam().host("db.cluster-xyz.eu-west-1.rds.amazonaws.com"), TokenFault::Host),
        (iam().region("eu-west-1"), TokenFault::Scope),
        (wrapper_mysql::plugins::iam::Iam::new().credentials(key("another", None)), TokenFault::Signature),
    ];
    for (plugin, fault) in cases {
        let error = within("the connect", builder().plugin(plugin).build().unwrap().connect()).await;
        let error = error.err().unwrap();
        assert_eq!((error.kind(), error.server_code()), (ErrorKind::Login, Some(1045)), "{error:?}");
        assert!(error.to_string().contains("AWSAuthenticationPlugin"), "{error}");
        assert_eq!(world.faults().pop(), Some(fault));
    }
    let judged = world.judged().len();
    let plain = builder().set("ssl_mode", "disabled").plugin(iam()).build().unwrap();
    let error = within("the connect", plain.connect()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(world.judged().len(), judged);
}

/// A server that asks a user with a password of his own to show it in clear text gets nothing.
#[tokio::test]
async fn other_connections_do_not_show_their_passwords() {
    let builder = SimCluster::builder().engine(Engine::Mysql).tls(true);
    let cluster = builder.login(Login::Cleartext).user("app", "hunter2").start().await.unwrap();
    let env = Environment::builder().resolver(Names(cluster.names().clone())).build();
    let connector = wrapper_mysql::Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .user("app")
        .password("hunter2")
        .tls(wrapper_mysql::TlsSettings::new().roots_pem(cluster.ca_pem().unwrap()))
        .set("wrapper_dialect", "mysql")
        .environment(env)
        .build()
        .unwrap();
    let error = within("the connect", connector.connect()).await.err().unwrap();
    assert!(error.to_string().contains("enable_cleartext_plugin"), "{error}");
}

/// Scenario 68: failover with users who have nothing but IAM; the monitors log in with tokens too.
#[tokio::test]
async fn a_failover_of_users_who_have_iam_only() {
    let world = World::start(Engine::Mysql).await;
    let connector = world.mysql().plugin(iam()).build().unwrap();
    let mut conn = within("the connect", connector.connect()).await.unwrap();
    within("the call", conn.query_drop("CREATE TABLE t (id BIGINT PRIMARY KEY)")).await.unwrap();
    world.clock.step(Duration::from_secs(1800));
    within("the failover", world.cluster.fail_over()).await.unwrap();
    let error = within("the call", conn.query_drop("INSERT INTO t VALUES (1)")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?} {:?}", world.judged());
    within("the call", conn.query_drop("INSERT INTO t VALUES (2)")).await.unwrap();
    // Of a login that was under way when the clock was moved the token may have run out; it was replaced.
    assert!(world.faults().iter().all(|fault| *fault == TokenFault::Age), "{:?}", world.faults());
    let programs: Vec<String> = world.judged().into_iter().map(|login| login.program).collect();
    assert!(programs.iter().any(|program| program == MONITOR_PROGRAM_NAME), "{programs:?}");
    drop(conn);
    connector.shutdown().await;
    world.cluster.shutdown().await;
}
