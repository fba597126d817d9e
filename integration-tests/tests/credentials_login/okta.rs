//! Logins by Okta: the whole way from the API to the database.

use integration_tests::idp::OktaFault;
use integration_tests::sim::Engine;
use wrapper_pg::{Error, ErrorKind};

use super::idp_support::{APP, NAME, OKTA, PASSWORD, World, okta};
use super::support::within;

const SIGN_IN: [&str; 3] = [
    "POST /api/v1/authn",
    "GET /app/amazon_aws/0oa1b2c3d4/sso/saml",
    "GET /app/amazon_aws/0oa1b2c3d4/sso/saml",
];

fn with_app(mut settings: Vec<(&'static str, String)>, app: &str) -> Vec<(&'static str, String)> {
    settings.extend([("app_id", app.to_owned()), ("wrapper_dialect", "pg".to_owned())]);
    settings
}

/// Scenario 71: by the session token and the page of the application.
#[tokio::test]
async fn a_user_of_okta_logs_in_to_postgres() {
    let world = World::start(Engine::Postgres).await;
    let idp = world.okta().await;
    let settings = with_app(world.settings(OKTA, idp.port()), APP);
    let connector =
        world.postgres(&settings).set("connect_timeout", "60").plugin(okta(&idp)).build().unwrap();
    let opened = futures_util::future::join_all((0..10).map(|_| connector.connect()));
    for client in within("the connects", opened).await {
        client.unwrap().batch_execute("SELECT 1").await.unwrap();
    }
    assert_eq!(world.faults(), []);
    assert_eq!(idp.requests(), SIGN_IN);
    assert_eq!(world.sts.requests(), 1);
    connector.shutdown().await;
    world.cluster.shutdown().await;
}

/// Scenario 71: the same over MySQL.
#[tokio::test]
async fn a_user_of_okta_logs_in_to_mysql() {
    let world = World::start(Engine::Mysql).await;
    let idp = world.okta().await;
    let mut settings = world.settings(OKTA, idp.port());
    settings.push(("app_id", APP.to_owned()));
    let connector = world.mysql(&settings).set("connect_timeout", "60").plugin(okta(&idp)).build().unwrap();
    let mut conn = within("the connect", connector.connect()).await.unwrap();
    let one: Option<i64> = within("the call", conn.query_first("SELECT 1")).await.unwrap();
    assert_eq!(one, Some(1));
    assert_eq!(world.faults(), []);
    assert_eq!(idp.requests(), SIGN_IN);
    drop(conn);
    connector.shutdown().await;
    world.cluster.shutdown().await;
}

/// By settings and by the plugin's name: `app_id`, `idp_endpoint` with scheme and port, `idp_username`, `idp_password`,
/// and `ssl_secure`, which lets a certificate pass that nobody knows.
#[tokio::test]
async fn okta_settings_act() {
    let world = World::start(Engine::Postgres).await;
    let idp = world.okta().await;
    let mut settings = with_app(world.settings(&format!("https://{OKTA}:{}", idp.port()), idp.port()), APP);
    settings.extend([
        ("plugins", "okta".to_owned()),
        ("idp_username", NAME.to_owned()),
        ("idp_password", PASSWORD.to_owned()),
        ("connect_timeout", "60".to_owned()),
    ]);
    let strict = world.postgres(&settings).build().unwrap();
    let error = within("the connect", strict.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`idp_ssl_root_cert`") && text.contains("`ssl_secure=false`"), "{text}");
    assert_eq!(idp.requests(), Vec::<String>::new(), "nothing is sent to a stranger");

    let lax = world.postgres(&settings).set("ssl_secure", "false").build().unwrap();
    drop(within("the connect", lax.connect()).await.unwrap());
    assert_eq!(idp.requests(), SIGN_IN);
    assert!(lax.explain().contains("warning: `ssl_secure=false`"), "{}", lax.explain());
}

async fn refused(world: &World, builder: wrapper_pg::ConnectorBuilder) -> Error {
    let connector = builder.build().unwrap();
    let error = within("the connect", connector.connect()).await.unwrap_err();
    let text = format!("{error} {error:?}");
    for secret in ["IDP-", "pass\\word", "state-token", "onetimetoken", "20111"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(world.sts.given().is_empty());
    error
}

/// Scenario 71: a second factor, an old password, a wrong one, an application that is not the user's.
#[tokio::test]
async fn each_refusal_of_okta_says_what_to_do() {
    let world = World::start(Engine::Postgres).await;
    let idp = world.okta().await;
    let settings = with_app(world.settings(OKTA, idp.port()), APP);
    let builder = || world.postgres(&settings).set("connect_timeout", "60").plugin(okta(&idp));
    let says = |status: &str| OktaFault::Says(status.to_owned());
    for (fault, kind, expected) in [
        (says("MFA_REQUIRED"), ErrorKind::Unsupported, "second factor (MFA_REQUIRED)"),
        (says("MFA_ENROLL"), ErrorKind::Unsupported, "second factor (MFA_ENROLL)"),
        (says("PASSWORD_EXPIRED"), ErrorKind::Login, "`idp_password`"),
        (says("LOCKED_OUT"), ErrorKind::Login, "unlock the user"),
        (says("SOMETHING_NEW"), ErrorKind::Unsupported, "`SOMETHING_NEW`"),
        (says("<b>what</b>"), ErrorKind::Config, "`idp_endpoint`"),
        (OktaFault::NoJson, ErrorKind::Config, "no JSON"),
        (OktaFault::NoAssertion, ErrorKind::Config, "`SAMLResponse`"),
        (OktaFault::Status(403), ErrorKind::Config, "403"),
        (
            OktaFault::RedirectsTo("https://elsewhere.example.com/x?onetimetoken=1".to_owned()),
            ErrorKind::Config,
            "`https://elsewhere.example.com`",
        ),
    ] {
        idp.fail(Some(fault.clone()));
        let error = refused(&world, builder()).await;
        assert_eq!(error.kind(), kind, "{fault:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(OKTA), "{fault:?}: {text}");
    }
    idp.fail(None);
    let wrong = wrapper_pg::plugins::okta::Okta::new().login(NAME, "IDP-wrong").roots_pem(idp.ca_pem());
    let error = refused(&world, world.postgres(&settings).set("connect_timeout", "60").plugin(wrong)).await;
    assert_eq!(error.kind(), ErrorKind::Login, "{error:?}");
    assert!(error.to_string().contains("`idp_username` and `idp_password`"), "{error}");
    let other = with_app(world.settings(OKTA, idp.port()), "0oaOther");
    let error = refused(&world, world.postgres(&other).set("connect_timeout", "60").plugin(okta(&idp))).await;
    assert!(error.to_string().contains("`app_id=0oaOther`"), "{error}");
    let error = world.postgres(&world.settings(OKTA, idp.port())).plugin(okta(&idp)).build().err().unwrap();
    assert!(error.to_string().contains("`okta` needs `app_id`"), "{error}");
}
