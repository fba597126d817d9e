//! Logins by ADFS: the whole way from the form to the database.

use std::time::Duration;

use integration_tests::idp::AdfsFault;
use integration_tests::sim::{Engine, TokenFault};
use wrapper_pg::ErrorKind;

use super::idp_support::{ADFS, NAME, PASSWORD, World, federated};
use super::support::within;

const SIGN_IN: [&str; 3] = [
    "GET /adfs/ls/IdpInitiatedSignOn.aspx",
    "POST /adfs/ls/IdpInitiatedSignOn.aspx",
    "GET /adfs/ls/IdpInitiatedSignOn.aspx",
];

/// Scenario 71: twenty connects at once, one sign-in, tokens that are right in every point.
#[tokio::test]
async fn a_user_of_adfs_logs_in_to_postgres_and_signs_in_once_for_all() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let settings = world.settings(ADFS, adfs.port());
    let builder = world.postgres(&settings).set("connect_timeout", "60");
    let connector = builder.plugin(federated(&adfs)).build().unwrap();
    let opened = futures_util::future::join_all((0..20).map(|_| connector.connect()));
    for client in within("the connects", opened).await {
        client.unwrap().batch_execute("SELECT 1").await.unwrap();
    }
    assert_eq!(world.faults(), []);
    assert!(world.judged().len() >= 20);
    assert_eq!(adfs.requests(), SIGN_IN);
    assert_eq!((world.sts.requests(), world.sts.given().len()), (1, 1));
    connector.shutdown().await;
    world.cluster.shutdown().await;
}

/// Scenario 71: the same over MySQL, in clear text over TLS.
#[tokio::test]
async fn a_user_of_adfs_logs_in_to_mysql() {
    let world = World::start(Engine::Mysql).await;
    let adfs = world.adfs().await;
    let settings = world.settings(ADFS, adfs.port());
    let builder = world.mysql(&settings).set("connect_timeout", "60");
    let connector = builder.plugin(federated(&adfs)).build().unwrap();
    let mut conn = within("the connect", connector.connect()).await.unwrap();
    let one: Option<i64> = within("the call", conn.query_first("SELECT 1")).await.unwrap();
    assert_eq!((one, conn.is_secure()), (Some(1), true));
    assert_eq!(world.faults(), []);
    assert_eq!(adfs.requests(), SIGN_IN);
    drop(conn);
    connector.shutdown().await;
    world.cluster.shutdown().await;
}

/// 1,000 connects that know nothing yet: one of them signs in. The host takes no connection, so that nothing else counts.
#[tokio::test]
async fn a_thousand_connects_sign_in_once() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let settings = world.settings(ADFS, adfs.port());
    let builder = wrapper_pg::Connector::builder_at("db.cluster-xyz.us-east-2.rds.amazonaws.com", port)
        .dbname("shop")
        .tls(
            wrapper_pg::TlsSettings::new().roots(wrapper_pg::RootCertificates::Pem(adfs.ca_pem().to_owned())),
        )
        .environment(world.environment())
        .set("plugins", "")
        .set("hostaddr", "127.0.0.1")
        .set("wrapper_dialect", "pg")
        .set("connect_timeout", "60");
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(*name, value.as_str()));
    let connector = builder.plugin(federated(&adfs)).build().unwrap();
    let opened = futures_util::future::join_all((0..1000).map(|_| connector.connect()));
    for error in within("the connects", opened).await.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    }
    assert_eq!(adfs.requests(), SIGN_IN);
    assert_eq!(world.sts.requests(), 1);
    connector.shutdown().await;
}

/// The credentials of the role are kept for almost all of their hour; tokens are made from them.
#[tokio::test]
async fn the_user_signs_in_again_shortly_before_the_credentials_end() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let builder = world.postgres(&world.settings(ADFS, adfs.port())).set("wrapper_dialect", "pg");
    // No token outlives a step of the clock, so that each connect needs a new one.
    let builder = builder.set("plugins", "").set("connect_timeout", "60").set("iam_token_expiration", "60");
    let connector = builder.plugin(federated(&adfs)).build().unwrap();
    let connect = async || within("the connect", connector.connect()).await.map(drop);
    for (step, sign_ins) in [(0, 1), (1500, 1), (1700, 1), (200, 2), (3400, 3)] {
        world.clock.step(Duration::from_secs(step));
        connect().await.unwrap();
        assert_eq!(adfs.passwords(), sign_ins, "after {step} s more");
    }
    // The identity provider is away: what there is serves on, to its end.
    adfs.fail(Some(AdfsFault::NoForm));
    world.clock.step(Duration::from_secs(3400));
    connect().await.unwrap();
    assert_eq!((adfs.passwords(), world.sts.given().len()), (3, 3));
    assert_eq!(world.faults(), []);
    world.clock.step(Duration::from_secs(400));
    assert_eq!(connect().await.unwrap_err().kind(), ErrorKind::Config);
    adfs.fail(None);
    // A failed fetch is followed by a pause.
    while connect().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.faults(), []);
    connector.shutdown().await;
}

/// Keys that the database refuses are thrown away with their token: everything is fetched anew, once.
#[tokio::test]
async fn a_refused_token_leads_to_one_new_sign_in() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let builder = world.postgres(&world.settings(ADFS, adfs.port())).set("wrapper_dialect", "pg");
    let builder = builder.set("plugins", "").set("connect_timeout", "60");
    let connector = builder.plugin(federated(&adfs)).build().unwrap();
    drop(within("the connect", connector.connect()).await.unwrap());
    world.revoke();
    drop(within("the connect", connector.connect()).await.unwrap());
    assert_eq!((adfs.passwords(), world.sts.given().len()), (2, 2));
    assert_eq!(world.faults(), [TokenFault::Scope]);

    // A user of the database who may not log in so, whatever he shows.
    let other = world.postgres(&world.settings(ADFS, adfs.port()));
    let other = other.set("wrapper_dialect", "pg").set("plugins", "").set("connect_timeout", "60");
    let other = other.set("iam_region", "eu-west-1").plugin(federated(&adfs)).build().unwrap();
    let error = within("the connect", other.connect()).await.unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Login, Some("28000")), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("rds_iam") && text.contains("rds-db:connect") && text.contains("role/shop"),
        "{text}"
    );
    assert_eq!(adfs.passwords(), 3, "a fresh token that is refused is the end");
}

/// Everything by settings and by the plugin's name: `db_user`, `idp_name`, `idp_endpoint`, `idp_port`, `idp_username`,
/// `idp_password`, `iam_role_arn`, `iam_idp_arn`, `rp_identifier`, `iam_token_expiration`, `idp_ssl_root_cert`,
/// `sts_endpoint`, and `iam_host`, `iam_region`, `iam_default_port`, which are as for the plugin `iam`.
#[tokio::test]
async fn federated_auth_settings_act() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    adfs.set_relying_party("urn:shop & more");
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("adfs-{}.pem", adfs.port()));
    std::fs::write(&file, adfs.ca_pem()).unwrap();
    let mut settings = world.settings(ADFS, adfs.port());
    settings.extend([
        ("plugins", "federatedAuth".to_owned()),
        ("idp_name", "adfs".to_owned()),
        ("idpUsername", NAME.to_owned()),
        ("idpPassword", PASSWORD.to_owned()),
        ("rp_identifier", "urn:shop & more".to_owned()),
        ("idp_ssl_root_cert", file.display().to_string()),
        ("iam_token_expiration", "60".to_owned()),
        ("wrapper_dialect", "pg".to_owned()),
        ("connect_timeout", "60".to_owned()),
        ("sslmode", "verify-ca".to_owned()),
        ("iam_host", world.cluster.instance_endpoint(0).unwrap()),
        ("iam_region", "us-east-2".to_owned()),
        ("iam_default_port", world.cluster.port().to_string()),
    ]);
    let address = world.cluster.address(0).unwrap().ip().to_string();
    let connector = world.postgres_at(&address, &settings).build().unwrap();
    for span in [0, 30, 31] {
        world.clock.step(Duration::from_secs(span));
        drop(within("the connect", connector.connect()).await.unwrap());
    }
    let mut tokens: Vec<String> = world.judged().into_iter().map(|login| login.password).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 2, "a token is used for `iam_token_expiration`");
    assert_eq!(world.faults(), []);
    assert_eq!(adfs.passwords(), 1);
    let shown = format!("{connector:?} {}", connector.explain());
    assert!(shown.contains("idp_password = ***") && !shown.contains("IDP-"), "{shown}");
    connector.shutdown().await;
    std::fs::remove_file(&file).unwrap();
}
