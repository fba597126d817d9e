//! Secrets over both drivers: shared, rotated under load, refused, gone.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::secrets::{CURRENT, Fault, PENDING, SecretsServer};
use integration_tests::sim::{Engine, Login, SimCluster};
use tokio::sync::Notify;
use wrapper_core::env::Environment;
use wrapper_pg::ErrorKind;
use wrapper_pg::plugins::secrets_manager::SecretsManager;

use super::support::{Clock, Names, SECRET_KEY, key, within};

pub(crate) const ID: &str = "shop/app";
/// Temporary credentials of AWS have one.
pub(crate) const SESSION: &str = "SESSIONTOKEN//with+special==";

pub(crate) struct World {
    pub(crate) cluster: SimCluster,
    pub(crate) secrets: SecretsServer,
    pub(crate) clock: Clock,
}

impl World {
    pub(crate) async fn start(engine: Engine) -> Self {
        let login = if engine == Engine::Mysql { Login::CachingSha2 } else { Login::Scram };
        let builder = SimCluster::builder().engine(engine).tls(true).login(login).user("app", "first");
        let cluster = builder.start().await.unwrap();
        let secrets = SecretsServer::start().await.unwrap();
        secrets.put_login(ID, CURRENT, "app", "first");
        Self { cluster, secrets, clock: Clock::default() }
    }

    pub(crate) fn plugin(&self) -> SecretsManager {
        let source = key(SECRET_KEY, Some(SESSION.to_owned()));
        SecretsManager::new().secret(ID).region("us-east-2").endpoint(&self.secrets.url()).credentials(source)
    }

    fn environment(&self) -> Environment {
        let clock = self.clock.clone();
        let resolver = Names(self.cluster.names().clone());
        Environment::builder().resolver(resolver).wall_clock(move || clock.now()).build()
    }

    pub(crate) fn postgres(&self) -> wrapper_pg::ConnectorBuilder {
        use wrapper_pg::{RootCertificates, TlsSettings};
        let ca = RootCertificates::Pem(self.cluster.ca_pem().unwrap().to_owned());
        wrapper_pg::Connector::builder_at(&self.cluster.cluster_endpoint(), self.cluster.port())
            .dbname("shop")
            .tls(TlsSettings::new().roots(ca))
            .environment(self.environment())
    }

    fn mysql(&self) -> wrapper_mysql::ConnectorBuilder {
        wrapper_mysql::Connector::builder_at(&self.cluster.cluster_endpoint(), self.cluster.port())
            .dbname("shop")
            .tls(wrapper_mysql::TlsSettings::new().roots_pem(self.cluster.ca_pem().unwrap()))
            .environment(self.environment())
    }

    fn asked(&self) -> Vec<String> {
        self.secrets.requests().into_iter().map(|(_, stage)| stage).collect()
    }
}

/// Scenario 69: user and password come from the secret; it is fetched once for many connects, monitors' included.
#[tokio::test]
async fn a_secret_is_fetched_once_for_all() {
    for engine in [Engine::Postgres, Engine::Mysql] {
        let world = World::start(engine).await;
        if engine == Engine::Postgres {
            let connector =
                world.postgres().set("connect_timeout", "60").plugin(world.plugin()).build().unwrap();
            let opened = futures_util::future::join_all((0..20).map(|_| connector.connect()));
            for client in within("the connects", opened).await {
                drop(client.unwrap());
            }
            connector.shutdown().await;
        } else {
            let connector =
                world.mysql().set("connect_timeout", "60").plugin(world.plugin()).build().unwrap();
            let opened = futures_util::future::join_all((0..20).map(|_| connector.connect()));
            for conn in within("the connects", opened).await {
                drop(conn.unwrap());
            }
            connector.shutdown().await;
        }
        assert_eq!(world.asked(), [CURRENT]);
    }
}

/// Scenario 69: a rotation, step by step: a new pending version, the password changed in the database, the version made
/// current. Nobody is refused in the end, whenever he connects.
#[tokio::test]
async fn a_rotation_step_by_step() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().set("wrapper_dialect", "pg").plugin(world.plugin()).build().unwrap();
    let connect = async || within("the connect", connector.connect()).await;
    drop(connect().await.unwrap());
    world.secrets.put_login(ID, PENDING, "app", "second");
    drop(connect().await.unwrap());
    assert_eq!(world.asked(), [CURRENT]);

    world.cluster.set_password("app", "second");
    drop(connect().await.unwrap());
    assert_eq!(
        world.asked(),
        [CURRENT, CURRENT, PENDING],
        "the current one was refused, so the pending one was tried"
    );
    // A process that starts in this minute is let in too.
    let late = world.postgres().set("wrapper_dialect", "pg").plugin(world.plugin()).build().unwrap();
    drop(within("the connect", late.connect()).await.unwrap());

    world.secrets.put_login(ID, CURRENT, "app", "second");
    world.secrets.remove(ID, PENDING);
    drop(connect().await.unwrap());
    world.clock.step(Duration::from_secs(60));
    drop(connect().await.unwrap());
    assert!(world.secrets.requests().len() >= 5);
}

/// A rotation while many connects are under way: none of them fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_refuses_nobody() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().set("wrapper_dialect", "pg").plugin(world.plugin()).build().unwrap();
    let (done, mut workers) = (Arc::new(Notify::new()), tokio::task::JoinSet::new());
    for _ in 0..4 {
        let (connector, done) = (connector.clone(), Arc::clone(&done));
        workers.spawn(async move {
            let mut count = 0;
            let mut stopped = std::pin::pin!(done.notified());
            stopped.as_mut().enable();
            loop {
                drop(connector.connect().await.expect("let in"));
                count += 1;
                if futures_util::poll!(&mut stopped).is_ready() {
                    return count;
                }
            }
        });
    }
    for (number, password) in ["second", "third", "fourth"].into_iter().enumerate() {
        world.secrets.put_login(ID, PENDING, "app", password);
        world.cluster.set_password("app", password);
        // A few connects in the minute in which nothing fits but the pending version.
        for _ in 0..5 {
            drop(within("the connect", connector.connect()).await.unwrap());
        }
        world.secrets.put_login(ID, CURRENT, "app", password);
        world.secrets.remove(ID, PENDING);
        drop(within("the connect", connector.connect()).await.unwrap());
        assert!(world.secrets.requests().len() > number);
    }
    done.notify_waiters();
    let counts = within("the workers", workers.join_all()).await;
    assert!(counts.into_iter().all(|count| count > 0));
}

/// The service is away when the secret is due: what is known is used on. What was rotated meanwhile cannot be known.
#[tokio::test]
async fn a_service_that_is_away_is_not_missed_until_the_password_changes() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().set("wrapper_dialect", "pg").plugin(world.plugin()).build().unwrap();
    drop(within("the connect", connector.connect()).await.unwrap());
    world.secrets.fail(Some(Fault { status: 400, code: "ThrottlingException".to_owned() }));
    for _ in 0..3 {
        world.clock.step(Duration::from_secs(3600));
        drop(within("the connect", connector.connect()).await.unwrap());
    }
    world.secrets.fail(Some(Fault { status: 400, code: "AccessDeniedException".to_owned() }));
    world.clock.step(Duration::from_secs(3600));
    world.cluster.set_password("app", "second");
    let error = within("the connect", connector.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Login, "{error:?}");
    assert!(error.to_string().contains("a fresh one could not be had"), "{error}");
}

/// Scenario 70: failover of a service that logs in with a secret, which is rotated between two connects.
#[tokio::test]
async fn a_failover_with_a_secret_that_was_rotated_meanwhile() {
    let world = World::start(Engine::Postgres).await;
    let connector = world.postgres().plugin(world.plugin()).build().unwrap();
    let client = within("the connect", connector.connect()).await.unwrap();
    client.batch_execute("CREATE TABLE t (id bigint)").await.unwrap();
    world.cluster.set_password("app", "second");
    world.secrets.put_login(ID, CURRENT, "app", "second");
    within("the failover", world.cluster.fail_over()).await.unwrap();
    let error = within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error:?}");
    within("the call", client.execute("INSERT INTO t VALUES (2)", &[])).await.unwrap();
    connector.shutdown().await;
    world.cluster.shutdown().await;
}
