//! sqlx: plain pools of both lines, and the pool of our own. sqlx connects by itself, so what these pools log in with must
//! be in their options beforehand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use integration_tests::names::NameTable;
use integration_tests::secrets::{CURRENT, PENDING};
use integration_tests::sim::{Engine, SimCluster, TokenFault};
use wrapper_core::ErrorKind;
use wrapper_core::host::HostInfo;
use wrapper_sqlx::cluster_pool::ClusterPool;
use wrapper_sqlx::plugins::iam::Iam;

use super::secrets_rotation;
use super::support::{SECRET_KEY, USER, World, iam, key, within};

/// The address of a host, for sqlx, which looks names up by itself.
fn address(names: &NameTable, host: &HostInfo) -> String {
    names.lookup(host.host()).map_or_else(|| host.host().to_owned(), |address| address.to_string())
}

/// For `verify-ca` sqlx asks for the provider of the process, and of two compiled in none is that by itself.
fn provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Builders of one line of sqlx.
macro_rules! line {
    ($line:ident, $sqlx:path, $pg:path, $mysql:path, $pg_tls:ident, $mysql_tls:ident) => {
        mod $line {
            use super::*;
            use $mysql as mysql;
            use $pg as postgres;
            use $sqlx as sqlx;

            pub(super) fn postgres(cluster: &SimCluster, user: &str, size: u32) -> postgres::PoolBuilder {
                provider();
                let pool = sqlx::postgres::PgPoolOptions::new()
                    .max_connections(size)
                    .acquire_timeout(Duration::from_secs(50));
                let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
                    .host(&cluster.cluster_endpoint())
                    .port(cluster.port())
                    .username(user)
                    .database("shop")
                    .ssl_mode(sqlx::postgres::PgSslMode::$pg_tls)
                    .ssl_root_cert_from_pem(cluster.ca_pem().unwrap().as_bytes().to_vec());
                let names = cluster.names().clone();
                postgres::PoolBuilder::new(pool, options)
                    .reach(move |host, options| options.host(&address(&names, host)))
                    .set("connect_timeout", "60s")
            }

            pub(super) fn mysql(cluster: &SimCluster, user: &str, size: u32) -> mysql::PoolBuilder {
                provider();
                let pool = sqlx::mysql::MySqlPoolOptions::new()
                    .max_connections(size)
                    .acquire_timeout(Duration::from_secs(50));
                let options = sqlx::mysql::MySqlConnectOptions::new()
                    .host(&cluster.cluster_endpoint())
                    .port(cluster.port())
                    .username(user)
                    .database("shop")
                    // Of these the simulated server knows none.
                    .pipes_as_concat(false)
                    .no_engine_substitution(false)
                    .timezone(None)
                    .set_names(false)
                    .ssl_mode(sqlx::mysql::MySqlSslMode::$mysql_tls)
                    .ssl_ca_from_pem(cluster.ca_pem().unwrap().as_bytes().to_vec());
                let names = cluster.names().clone();
                mysql::PoolBuilder::new(pool, options)
                    .reach(move |host, options| options.host(&address(&names, host)))
                    .set("connect_timeout", "60s")
            }

            /// Connections of pools of both databases, with tokens of 300, 426 and 2,000 bytes.
            pub(super) async fn tokens_of_any_length() {
                for engine in [Engine::Postgres, Engine::Mysql] {
                    let world = World::start(engine).await;
                    for session in [0, 43, 1600] {
                        let session = (session > 0).then(|| "s/+=".chars().cycle().take(session).collect());
                        let plugin = Iam::new().credentials(key(SECRET_KEY, session));
                        if engine == Engine::Postgres {
                            let builder = postgres(&world.cluster, USER, 2).plugin(plugin);
                            let made = builder.environment(world.environment()).connect();
                            let (pool, handle) = within("the pool", made).await.unwrap();
                            let both = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
                            drop((both, handle));
                            pool.close().await;
                        } else {
                            let builder = mysql(&world.cluster, USER, 2).plugin(plugin);
                            let made = builder.environment(world.environment()).connect();
                            let (pool, handle) = within("the pool", made).await.unwrap();
                            let both = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
                            drop((both, handle));
                            pool.close().await;
                        }
                    }
                    assert_eq!(world.faults(), []);
                    let lengths: Vec<usize> =
                        world.judged().iter().map(|login| login.password.len()).collect();
                    for least in [300, 420, 2000] {
                        assert!(lengths.iter().any(|length| *length >= least), "{lengths:?}");
                    }
                }
            }
        }
    };
}

line!(line_0_9, wrapper_sqlx::sqlx, wrapper_sqlx::postgres, wrapper_sqlx::mysql, VerifyCa, VerifyCa);
// `verify-ca` of sqlx 0.8 verifies the name too with today's rustls, and here an address is dialled.
line!(
    line_0_8,
    wrapper_sqlx::v0_8::sqlx,
    wrapper_sqlx::v0_8::postgres,
    wrapper_sqlx::v0_8::mysql,
    Require,
    Required
);

/// Scenario 67: tokens of any length log in over sqlx 0.9, to PostgreSQL and MySQL.
#[tokio::test]
async fn plain_pools_of_sqlx_0_9_log_in_with_tokens() {
    line_0_9::tokens_of_any_length().await;
}

/// Scenario 67: the same over sqlx 0.8.
#[tokio::test]
async fn plain_pools_of_sqlx_0_8_log_in_with_tokens() {
    line_0_8::tokens_of_any_length().await;
}

/// Scenario 67: half an hour of a stopped process, again and again; no acquire by the handle fails, and the pool's own do
/// not either once its options were renewed.
#[tokio::test]
async fn a_plain_pool_outlives_its_tokens() {
    let world = World::start(Engine::Postgres).await;
    let builder = line_0_9::postgres(&world.cluster, USER, 2).plugin(iam()).environment(world.environment());
    let (pool, handle) = within("the pool", builder.connect()).await.unwrap();
    for _ in 0..3 {
        world.clock.step(Duration::from_secs(1800));
        let connection = within("the acquire", handle.acquire()).await.unwrap();
        drop(connection.detach());
        world.clock.step(Duration::from_secs(1800));
        let renewed = async {
            loop {
                match pool.acquire().await {
                    Ok(connection) => break drop(connection.detach()),
                    // Each attempt is a login.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        within("a new token in the options", renewed).await;
    }
    assert!(world.faults().iter().all(|fault| *fault == TokenFault::Age), "{:?}", world.faults());
    drop(handle);
    pool.close().await;
}

/// A refresh that fails three times before the token ends: nobody notices.
#[tokio::test]
async fn a_refresh_that_fails_three_times_is_not_noticed() {
    let world = World::start(Engine::Postgres).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let source = provide_credentials_fn(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            // The first tokens are those of the monitor and the pool; then the source is away.
            if (100..103).contains(&number) {
                return Err(CredentialsError::provider_error("away"));
            }
            Ok(key(SECRET_KEY, None))
        }
    });
    let builder = line_0_9::postgres(&world.cluster, USER, 1).set("wrapper_dialect", "pg");
    let builder = builder.plugin(Iam::new().credentials(source)).environment(world.environment());
    let (pool, handle) = within("the pool", builder.connect()).await.unwrap();
    let used = asked.swap(100, Ordering::SeqCst);
    assert!(used >= 1);
    // Due to be renewed, and good for some minutes yet.
    world.clock.step(Duration::from_secs(600));
    let connects = async {
        while asked.load(Ordering::SeqCst) < 104 {
            let connection = pool.acquire().await.unwrap();
            drop(connection.detach());
        }
    };
    within("the fourth attempt", connects).await;
    assert_eq!(world.faults(), []);
    drop(handle);
    pool.close().await;
}

/// Scenario 69: a secret is rotated while connections are opened by the handle: none fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_the_load_of_a_plain_pool_refuses_nobody() {
    let world = secrets_rotation::World::start(Engine::Postgres).await;
    let builder = line_0_9::postgres(&world.cluster, "nobody", 4).set("wrapper_dialect", "pg");
    let builder = builder.plugin(world.plugin());
    let (pool, handle) = within("the pool", builder.connect()).await.unwrap();
    let handle = Arc::new(handle);
    let (stop, mut workers) = (Arc::new(AtomicUsize::new(0)), tokio::task::JoinSet::new());
    let opened = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let (handle, stop, opened) = (Arc::clone(&handle), Arc::clone(&stop), Arc::clone(&opened));
        workers.spawn(async move {
            while stop.load(Ordering::SeqCst) == 0 {
                let connection = handle.acquire().await.unwrap();
                drop(connection.detach());
                opened.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let more = async |count: usize| {
        let from = opened.load(Ordering::SeqCst);
        while opened.load(Ordering::SeqCst) < from + count {
            assert_ne!(workers.len(), 0);
            tokio::task::yield_now().await;
        }
    };
    for password in ["second", "third"] {
        world.secrets.put_login(secrets_rotation::ID, PENDING, "app", password);
        within("connects", more(3)).await;
        world.cluster.set_password("app", password);
        within("connects with the pending version", more(6)).await;
        world.secrets.put_login(secrets_rotation::ID, CURRENT, "app", password);
        world.secrets.remove(secrets_rotation::ID, PENDING);
        within("connects with the current version", more(6)).await;
    }
    stop.store(1, Ordering::SeqCst);
    while let Some(worker) = within("the workers", workers.join_next()).await {
        worker.unwrap();
    }
    drop(handle);
    pool.close().await;
}

/// Scenario 69: while a connection of the pool is in use, the pool finds out by itself that its secret was rotated.
#[tokio::test]
async fn a_plain_pool_in_use_learns_of_a_rotation() {
    let world = secrets_rotation::World::start(Engine::Postgres).await;
    let builder = line_0_9::postgres(&world.cluster, "nobody", 2).set("wrapper_dialect", "pg");
    let (pool, handle) = within("the pool", builder.plugin(world.plugin()).connect()).await.unwrap();
    let held = pool.acquire().await.unwrap();
    world.cluster.set_password("app", "second");
    world.secrets.put_login(secrets_rotation::ID, CURRENT, "app", "second");
    let learned = async {
        while pool.acquire().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the trial login", learned).await;
    drop((held, handle));
    pool.close().await;
}

/// Scenario 68: after a failover a plain pool of users who have nothing but IAM leads to the new writer, with its token.
#[tokio::test]
async fn a_failover_of_a_plain_pool_with_iam_only() {
    for engine in [Engine::Postgres, Engine::Mysql] {
        let world = World::start(engine).await;
        let before = world.cluster.writer();
        if engine == Engine::Postgres {
            let builder = line_0_9::postgres(&world.cluster, USER, 2).plugin(iam());
            let made = builder.set("topology_refresh", "100ms").environment(world.environment()).connect();
            let (pool, handle) = within("the pool", made).await.unwrap();
            within("the failover", world.cluster.fail_over()).await.unwrap();
            within("the acquire", until_ok(|| handle.acquire())).await;
            drop(handle);
            pool.close().await;
        } else {
            let builder = line_0_9::mysql(&world.cluster, USER, 2).plugin(iam());
            let made = builder.set("topology_refresh", "100ms").environment(world.environment()).connect();
            let (pool, handle) = within("the pool", made).await.unwrap();
            within("the failover", world.cluster.fail_over()).await.unwrap();
            within("the acquire", until_ok(|| handle.acquire())).await;
            drop(handle);
            pool.close().await;
        }
        assert_ne!(world.cluster.writer(), before);
        assert_eq!(world.faults(), []);
    }
}

/// A host that has just gone fails an acquire as in any pool of sqlx; a refused login would be in the book of the servers.
async fn until_ok<T, F: Future<Output = Result<T, wrapper_sqlx::sqlx::Error>>>(acquire: impl Fn() -> F) {
    while acquire().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Scenario 67: the pool of our own asks for a credential before it lets sqlx connect, so that no jump of the clock is
/// ever seen by a server; after a failover too.
#[tokio::test]
async fn the_own_pool_never_shows_an_old_token() {
    for engine in [Engine::Postgres, Engine::Mysql] {
        let world = World::start(engine).await;
        let names = world.cluster.names().clone();
        let ca = world.cluster.ca_pem().unwrap().as_bytes().to_vec();
        provider();
        if engine == Engine::Postgres {
            use wrapper_sqlx::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
            let options = PgConnectOptions::new_without_pgpass()
                .host(&world.cluster.cluster_endpoint())
                .port(world.cluster.port())
                .username(USER)
                .database("shop")
                .ssl_mode(PgSslMode::VerifyCa)
                .ssl_root_cert_from_pem(ca);
            let pool = ClusterPool::builder(PgPoolOptions::new().max_connections(20), options)
                .reach(move |host, options| options.host(&address(&names, host)))
                .environment(world.environment())
                .set("connect_timeout", "60s")
                .plugin(iam());
            let pool = within("the pool", pool.connect()).await.unwrap();
            let mut held = Vec::new();
            for _ in 0..10 {
                held.push(within("the acquire", pool.acquire()).await.unwrap());
                world.clock.step(Duration::from_secs(1800));
            }
            drop(held);
            pool.close().await;
        } else {
            use wrapper_sqlx::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
            let options = MySqlConnectOptions::new()
                .host(&world.cluster.cluster_endpoint())
                .port(world.cluster.port())
                .username(USER)
                .database("shop")
                .pipes_as_concat(false)
                .no_engine_substitution(false)
                .timezone(None)
                .set_names(false)
                .ssl_mode(MySqlSslMode::VerifyCa)
                .ssl_ca_from_pem(ca);
            // The simulated server does not know the statement by which an idle connection is asked whether it answers.
            let own = MySqlPoolOptions::new().max_connections(20).test_before_acquire(false);
            let pool = ClusterPool::builder(own, options)
                .reach(move |host, options| options.host(&address(&names, host)))
                .environment(world.environment())
                .set("connect_timeout", "60s")
                .plugin(iam());
            let pool = within("the pool", pool.connect()).await.unwrap();
            let mut held = Vec::new();
            for _ in 0..10 {
                held.push(within("the acquire", pool.acquire()).await.unwrap());
                world.clock.step(Duration::from_secs(1800));
            }
            drop(held);
            pool.close().await;
        }
        // Of a monitor's login that was under way when the clock was moved the token may have run out on the way.
        let faults = world.judged().into_iter().filter(|login| login.verdict.is_err());
        let faults: Vec<_> = faults.filter(|login| !login.program.contains("monitor")).collect();
        assert!(engine == Engine::Mysql || faults.is_empty(), "{faults:?}");
        assert!(world.faults().iter().all(|fault| *fault == TokenFault::Age), "{:?}", world.faults());
    }
}

/// Without TLS neither pool sends a token; a plain pool takes no plugin but one that logs in.
#[tokio::test]
async fn what_a_plain_pool_refuses() {
    use wrapper_sqlx::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
    let world = World::start(Engine::Postgres).await;
    let names = world.cluster.names().clone();
    let options = PgConnectOptions::new_without_pgpass()
        .host(&world.cluster.cluster_endpoint())
        .port(world.cluster.port())
        .username(USER)
        .ssl_mode(PgSslMode::Prefer);
    let builder = wrapper_sqlx::postgres::PoolBuilder::new(PgPoolOptions::new(), options)
        .reach(move |host, options| options.host(&address(&names, host)));
    let error = within("the pool", builder.plugin(iam()).connect()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("TLS only") && error.to_string().contains("ssl_mode"), "{error}");
    assert!(world.judged().is_empty());

    let other = line_0_9::postgres(&world.cluster, USER, 1);
    let other = other.plugin(wrapper_sqlx::plugins::failover::Failover::new());
    let error = within("the pool", other.connect()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("`failover`") && error.to_string().contains("`iam`"), "{error}");
}
