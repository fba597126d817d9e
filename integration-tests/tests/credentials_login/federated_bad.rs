//! Sign-ins at ADFS that do not end well: each has an error of its own, which says what to do and no secret.

use integration_tests::idp::{AdfsFault, StsFault};
use integration_tests::sim::Engine;
use wrapper_pg::plugins::federated_auth::FederatedAuth;
use wrapper_pg::{ConnectorBuilder, Error, ErrorKind};

use super::idp_support::{ADFS, NAME, World, federated};
use super::support::within;

async fn refused(builder: ConnectorBuilder) -> Error {
    let connector = builder.set("wrapper_dialect", "pg").set("plugins", "").build().unwrap();
    let error = within("the connect", connector.connect()).await.unwrap_err();
    let text = format!("{error} {error:?}");
    for secret in ["IDP-", "pass\\word", "MSIS", "secret=1", "samlp"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    error
}

/// Scenario 71: no assertion in the end, and why.
#[tokio::test]
async fn each_way_in_which_adfs_does_not_sign_in_has_an_error_of_its_own() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let settings = world.settings(ADFS, adfs.port());
    let builder = || world.postgres(&settings).set("connect_timeout", "60").plugin(federated(&adfs));
    let elsewhere = || "https://elsewhere.example.com/adfs?secret=1".to_owned();
    let plain = || format!("http://{ADFS}:{}/adfs?secret=1", adfs.port());
    for (fault, kind, expected, passwords) in [
        (AdfsFault::AsksForCode, ErrorKind::Unsupported, "second factor (MFA)", 1),
        (AdfsFault::NoAssertion, ErrorKind::Config, "no field `SAMLResponse`", 1),
        (AdfsFault::NoForm, ErrorKind::Config, "`rp_identifier=urn:amazon:webservices`", 0),
        (AdfsFault::RedirectsTo(elsewhere()), ErrorKind::Config, "`https://elsewhere.example.com`", 0),
        (AdfsFault::SendsTo(elsewhere()), ErrorKind::Config, "`https://elsewhere.example.com`", 0),
        (AdfsFault::SendsTo(plain()), ErrorKind::Config, "`http://adfs.example.com", 0),
        (AdfsFault::Circle, ErrorKind::Config, "more than 10 redirects", 0),
        (AdfsFault::Huge, ErrorKind::Config, "longer than 1048576 bytes", 0),
        (AdfsFault::Status(404), ErrorKind::Config, "404", 0),
    ] {
        let before = adfs.passwords();
        adfs.fail(Some(fault.clone()));
        let error = refused(builder()).await;
        assert_eq!(error.kind(), kind, "{fault:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(ADFS), "{fault:?}: {text}");
        assert_eq!(adfs.passwords() - before, passwords, "{fault:?}");
    }
    assert!(world.sts.given().is_empty());
}

/// A password that was refused is not shown a second time at once: a few more and the user would be locked out.
#[tokio::test]
async fn a_wrong_password_is_shown_once() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let wrong = FederatedAuth::new().login(NAME, "IDP-wrong").roots_pem(adfs.ca_pem());
    let builder = world.postgres(&world.settings(ADFS, adfs.port())).set("connect_timeout", "60");
    let builder = builder.set("wrapper_dialect", "pg").set("plugins", "").plugin(wrong);
    let connector = builder.build().unwrap();
    for _ in 0..5 {
        let error = within("the connect", connector.connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Login, "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("`idp_username`") && text.contains("`idp_password`"), "{text}");
        assert!(text.contains(NAME) || text.contains(r"CORP\\jane"), "{text}");
        assert!(!text.contains("IDP-wrong"), "{text}");
    }
    assert_eq!(adfs.passwords(), 1);
    connector.shutdown().await;
}

/// A certificate that nobody knows, one for another name; with `ssl_secure=false` both pass.
#[tokio::test]
async fn the_certificate_of_the_identity_provider_is_verified() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let settings = world.settings(ADFS, adfs.port());
    let stranger = || FederatedAuth::new().login(NAME, super::idp_support::PASSWORD);
    let error = refused(world.postgres(&settings).set("connect_timeout", "60").plugin(stranger())).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("`idp_ssl_root_cert`"), "{error}");
    let other = world.settings("sso.example.com", adfs.port());
    let error = refused(world.postgres(&other).set("connect_timeout", "60").plugin(federated(&adfs))).await;
    assert!(error.to_string().contains("is not for sso.example.com"), "{error}");
    assert_eq!(adfs.requests(), Vec::<String>::new());
    for settings in [settings, other] {
        let lax = world.postgres(&settings).set("ssl_secure", "false").set("connect_timeout", "60");
        let lax = lax.set("wrapper_dialect", "pg").plugin(stranger()).build().unwrap();
        drop(within("the connect", lax.connect()).await.unwrap());
        lax.shutdown().await;
    }
}

/// Nobody answers, or somebody who says nothing: the connect ends in its own time.
#[tokio::test]
async fn an_identity_provider_that_is_away_is_waited_for_no_longer_than_a_connect_may_take() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let closed = nobody.local_addr().unwrap().port();
    drop(nobody);
    adfs.fail(Some(AdfsFault::Silent));
    for port in [closed, adfs.port()] {
        let builder = world.postgres(&world.settings(ADFS, port)).set("connect_timeout", "2s");
        let error = refused(builder.plugin(federated(&adfs))).await;
        assert!(matches!(error.kind(), ErrorKind::Network | ErrorKind::Timeout), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("`idp_endpoint`") || text.contains("`connect_timeout`"), "{text}");
    }
}

/// An assertion that has expired, of another provider, a role that the user may not assume.
#[tokio::test]
async fn each_refusal_of_sts_says_what_to_do() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let settings = world.settings(ADFS, adfs.port());
    let builder = || world.postgres(&settings).set("connect_timeout", "60").plugin(federated(&adfs));
    for (code, expected) in [
        ("ExpiredTokenException", "the assertion has expired"),
        ("InvalidIdentityToken", "`iam_idp_arn`"),
        ("IDPRejectedClaim", "claims"),
        ("AccessDenied", "`sts:AssumeRoleWithSAML`"),
        ("ValidationError", "`iam_role_arn="),
        ("RegionDisabledException", "not activated in us-east-2"),
    ] {
        world.sts.fail(Some(StsFault { status: 403, code: code.to_owned() }));
        let error = refused(builder()).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{code}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(code), "{code}: {text}");
    }
    world.sts.fail(None);
    let mut other = settings.clone();
    other.retain(|(name, _)| *name != "iam_role_arn");
    other.push(("iam_role_arn", "arn:aws:iam::123456789012:role/other".to_owned()));
    let error = refused(world.postgres(&other).set("connect_timeout", "60").plugin(federated(&adfs))).await;
    assert!(
        error.to_string().contains("may not assume the role `arn:aws:iam::123456789012:role/other`"),
        "{error}"
    );
    assert!(world.judged().is_empty());
}

#[tokio::test]
async fn settings_that_cannot_hold_are_refused_before_anybody_signs_in() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let error = world.postgres(&[]).plugin(FederatedAuth::new()).build().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    for name in ["db_user", "idp_endpoint", "idp_username", "idp_password", "iam_role_arn", "iam_idp_arn"] {
        assert!(error.to_string().contains(&format!("`{name}`")), "{name}: {error}");
    }
    for (name, value, expected) in [
        ("idp_name", "keycloak", "`idp_name=keycloak`"),
        ("idp_endpoint", "http://adfs.example.com", "must be HTTPS"),
        ("iam_role_arn", "shop", "`iam_role_arn=shop`"),
        ("iam_idp_arn", "arn:aws:iam::123456789012:role/shop", "saml-provider"),
        ("iam_token_expiration", "16m", "at most 900s"),
        ("sts_endpoint", "localhost", "`sts_endpoint=localhost`"),
        ("idp_ssl_root_cert", "/nonexistent/ca.pem", "`idp_ssl_root_cert=/nonexistent/ca.pem`"),
        ("idp_port", "70000", "`idp_port=70000`"),
    ] {
        let mut settings = world.settings(ADFS, adfs.port());
        settings.retain(|(known, _)| *known != name);
        settings.push((name, value.to_owned()));
        let error = world.postgres(&settings).plugin(federated(&adfs)).build().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{name}: {error:?}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
    assert!(adfs.requests().is_empty());
}
