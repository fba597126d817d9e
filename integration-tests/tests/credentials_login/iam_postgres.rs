//! IAM over tokio-postgres.

use std::time::Duration;

use integration_tests::sim::{Engine, TokenFault};
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_pg::{ErrorKind, MONITOR_APPLICATION_NAME};

use super::support::{SECRET_KEY, World, iam, key, within};

/// Scenario 67: a token logs in by the cluster's name and by its instances', all connections of one host with one token,
/// which the server finds right in every point.
#[tokio::test]
async fn tokens_log_in_and_are_shared() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().plugin(iam()).build().unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(within("the connect", connector.connect()).await.unwrap());
    }
    clients[0].batch_execute("CREATE TABLE t (id bigint)").await.unwrap();
    assert_eq!(world.faults(), []);
    let mut tokens: Vec<_> = world.judged().into_iter().map(|login| login.password).collect();
    tokens.sort_unstable();
    tokens.dedup();
    // One for the cluster's endpoint, on the first connect, and one for each instance.
    assert!(tokens.len() <= 1 + world.cluster.nodes(), "{} tokens", tokens.len());
    connector.shutdown().await;
    world.cluster.shutdown().await;
}

/// Scenario 67: by an address, with `iam_host` and a port that a tunnel has changed.
#[tokio::test]
async fn an_address_needs_iam_host() {
    let world = World::start(Engine::Postgres).await;
    let address = world.cluster.address(0).unwrap().ip().to_string();
    let builder = || world.postgres_at(&address).set("plugins", "iam").set("sslmode", "verify-ca");
    let builder = || builder().set("wrapper_dialect", "pg");
    let refused = |builder: wrapper_pg::ConnectorBuilder| async move {
        let connector = builder.build().unwrap();
        within("the connect", connector.connect()).await.unwrap_err()
    };
    // The plugin by its name has the default AWS credentials; it is not asked for them here.
    let error = refused(builder()).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("`iam_host`") && error.to_string().contains(&address), "{error}");

    let instance = world.cluster.instance_endpoint(0).unwrap();
    let given = || world.postgres_at(&address).set("sslmode", "verify-ca").set("wrapper_dialect", "pg");
    let connector = given().set("iam_host", &instance).plugin(iam()).build().unwrap();
    within("the connect", connector.connect()).await.unwrap();
    let other = given().plugin(iam().host(&instance).port(world.cluster.port() ^ 1)).build().unwrap();
    assert_eq!(within("the connect", other.connect()).await.unwrap_err().kind(), ErrorKind::Login);
    assert_eq!(world.faults(), [TokenFault::Host]);
}

/// Scenario 67: a token for another host, for another region, for another user, by another key, and none at all.
#[tokio::test]
async fn tokens_that_are_wrong_are_refused_with_the_reason() {
    let world = World::start(Engine::Postgres).await;
    let endpoint = world.cluster.cluster_endpoint();
    let builder = || world.postgres().set("wrapper_dialect", "pg");
    let cases = [
        (builder().plugin(iam().host("db.cluster-xyz.eu-west-1.rds.amazonaws.com")), TokenFault::Host),
        (builder().plugin(iam().region("eu-west-1")), TokenFault::Scope),
        (
            builder().plugin(wrapper_pg::plugins::iam::Iam::new().credentials(key("another", None))),
            TokenFault::Signature,
        ),
    ];
    for (builder, fault) in cases {
        let connector = builder.build().unwrap();
        let error = within("the connect", connector.connect()).await.unwrap_err();
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Login, Some("28000")), "{error:?}");
        assert_eq!(error.host().map(|host| host.starts_with(&endpoint)), Some(true), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("rds_iam") && text.contains("rds-db:connect"), "{text}");
        assert_eq!(world.faults().pop(), Some(fault));
    }
    let count = world.judged().len();
    let none = builder().build().unwrap();
    assert_ne!(within("the connect", none.connect()).await.unwrap_err().kind(), ErrorKind::Network);
    assert_eq!(world.judged().len(), count, "no password, no attempt");
}

#[tokio::test]
async fn a_token_is_not_sent_without_tls() {
    let world = World::start(Engine::Postgres).await;
    let builder = world.postgres().set("wrapper_dialect", "pg").set("sslmode", "disable").plugin(iam());
    let error = within("the connect", builder.build().unwrap().connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("TLS only") && error.to_string().contains("sslmode"), "{error}");
    assert!(world.judged().is_empty());
}

/// 200 connections while the clock is moved through four lives of a token, client and servers reading it alike.
#[tokio::test]
async fn two_hundred_connections_over_four_lives_of_a_token_meet_no_refusal() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().set("plugins", "").plugin(iam()).build().unwrap();
    for _ in 0..200 {
        let client = within("the connect", connector.connect()).await.unwrap();
        drop(client);
        world.clock.step(Duration::from_secs(4 * 900 / 200));
    }
    assert_eq!(world.faults(), []);
    connector.shutdown().await;
}

/// A process that was stopped for 30 minutes logs in at once; a token that has run out at the server is replaced.
#[tokio::test]
async fn thirty_minutes_of_a_stopped_process_and_a_token_that_ran_out() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().set("plugins", "").plugin(iam()).build().unwrap();
    drop(within("the connect", connector.connect()).await.unwrap());
    world.clock.step(Duration::from_secs(1800));
    drop(within("the connect", connector.connect()).await.unwrap());
    assert_eq!(world.faults(), [], "it was not even tried");

    // The servers' clock alone is ahead: the client cannot know.
    let ahead = World::start(Engine::Postgres).await;
    let slow = super::support::Clock::default();
    let env = wrapper_core::env::Environment::builder()
        .resolver(super::support::Names(ahead.cluster.names().clone()))
        .wall_clock({
            let slow = slow.clone();
            move || slow.now()
        })
        .build();
    let connector = ahead.postgres().environment(env).set("plugins", "").plugin(iam()).build().unwrap();
    drop(within("the connect", connector.connect()).await.unwrap());
    ahead.clock.step(Duration::from_secs(2000));
    // A token that is made in the same second is the same one.
    slow.step(Duration::from_secs(5));
    let error = within("the connect", connector.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Login);
    assert!(error.to_string().contains("clock"), "{error}");
    assert_eq!(ahead.faults(), [TokenFault::Age; 2], "the cached one, and one fresh one");
    slow.step(Duration::from_secs(1995));
    drop(within("the connect", connector.connect()).await.unwrap());
}

/// Tokens of 351 characters and more, up to 2,000.
#[tokio::test]
async fn long_tokens_log_in() {
    let world = World::start(Engine::Postgres).await;
    for (session, least) in [(0, 300), (43, 420), (1600, 2000)] {
        let session = (session > 0).then(|| "s/+=".chars().cycle().take(session).collect());
        let plugin = wrapper_pg::plugins::iam::Iam::new().credentials(key(SECRET_KEY, session));
        let connector = world.postgres().set("wrapper_dialect", "pg").plugin(plugin).build().unwrap();
        drop(within("the connect", connector.connect()).await.unwrap());
        let shown = world.judged().pop().unwrap().password;
        assert!(shown.len() >= least, "{} characters", shown.len());
    }
    assert_eq!(world.faults(), []);
}

/// Scenario 68: failover with users who have nothing but IAM; the monitors log in with tokens too.
#[tokio::test]
async fn a_failover_of_users_who_have_iam_only() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().plugin(iam()).build().unwrap();
    let client = within("the connect", connector.connect()).await.unwrap();
    client.batch_execute("CREATE TABLE t (id bigint)").await.unwrap();
    let probe =
        HostInfo::new(&world.cluster.instance_endpoint(1).unwrap(), world.cluster.port(), HostRole::Unknown);
    let deadline = Deadline::after(Duration::from_secs(30), "test");
    let monitor = connector.cluster().core().open_monitor(&probe, deadline).await.unwrap();
    drop(monitor);
    // Half an hour later no old token is of any use.
    world.clock.step(Duration::from_secs(1800));
    let before = world.cluster.writer();
    within("the failover", world.cluster.fail_over()).await.unwrap();
    assert_ne!(world.cluster.writer(), before);
    let error = within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    within("the call", client.execute("INSERT INTO t VALUES (2)", &[])).await.unwrap();
    // Of a login that was under way when the clock was moved the token may have run out; it was replaced.
    assert!(world.faults().iter().all(|fault| *fault == TokenFault::Age), "{:?}", world.faults());
    let programs: Vec<String> = world.judged().into_iter().map(|login| login.program).collect();
    assert!(programs.iter().any(|program| program == MONITOR_APPLICATION_NAME), "{programs:?}");
    connector.shutdown().await;
    world.cluster.shutdown().await;
}
