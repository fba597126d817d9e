//! Secrets that cannot be used: each says what is wrong and what to do, and never what is in it.

use integration_tests::secrets::{CURRENT, Fault, Version};
use integration_tests::sim::Engine;
use wrapper_pg::plugins::secrets_manager::SecretsManager;
use wrapper_pg::{Error, ErrorKind};

use super::secrets_rotation::World;
use super::support::{SECRET_KEY, key, within};

async fn refused(world: &World, plugin: SecretsManager) -> Error {
    let builder = world.postgres().set("wrapper_dialect", "pg").set("connect_timeout", "10s");
    let connector = builder.plugin(plugin).build().unwrap();
    within("the connect", connector.connect()).await.unwrap_err()
}

/// Scenario 69: a missing key, no JSON, an empty password, bytes, a secret that is not there, one of another region.
#[tokio::test]
async fn each_fault_of_a_secret_has_an_error_of_its_own() {
    let world = World::start(Engine::Postgres).await;
    let text = |text: &str| Version::Text(text.to_owned());
    let cases = [
        ("no-json", text("app:hunter2"), "is no JSON"),
        ("list", text(r#"["hunter2"]"#), "is no JSON object"),
        ("no-user", text(r#"{"password":"hunter2"}"#), "the key `username` is not in it"),
        ("no-password", text(r#"{"username":"hunter2"}"#), "`secrets_manager_secret_password_key`"),
        ("empty", text(r#"{"username":"hunter2","password":""}"#), "the key `password` is empty"),
        ("nested", text(r#"{"username":"hunter2","password":{"a":1}}"#), "neither a text nor a whole number"),
        ("bytes", Version::Binary("aHVudGVyMg==".to_owned()), "is binary"),
    ];
    for (id, version, expected) in cases {
        world.secrets.put(id, CURRENT, version);
        let error = refused(&world, world.plugin().secret(id)).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{id}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected) && text.contains(id), "{id}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{id}: {text}");
    }
    let error = refused(&world, world.plugin().secret("not/there")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("no secret `not/there` in the region us-east-2"), "{text}");
    assert!(text.contains("secrets_manager_region"), "{text}");
}

/// What the service answers to a request that it does not serve.
#[tokio::test]
async fn each_refusal_of_the_service_says_what_to_do() {
    let world = World::start(Engine::Postgres).await;
    for (code, expected) in [
        ("AccessDeniedException", "`secretsmanager:GetSecretValue`"),
        ("DecryptionFailure", "`kms:Decrypt`"),
        ("InvalidRequestException", "marked for deletion"),
        ("UnrecognizedClientException", "refused the AWS credentials"),
        ("ExpiredTokenException", "refused the AWS credentials"),
    ] {
        world.secrets.fail(Some(Fault { status: 400, code: code.to_owned() }));
        let error = refused(&world, world.plugin()).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{code}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(code), "{code}: {text}");
    }
}

/// Nobody answers at the endpoint: the connect asks again until its own time is over, and says where it asked.
#[tokio::test]
async fn a_service_that_cannot_be_reached_is_named() {
    let world = World::start(Engine::Postgres).await;
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let builder = world.postgres().set("wrapper_dialect", "pg").set("connect_timeout", "2s");
    let connector = builder.plugin(world.plugin().endpoint(&url)).build().unwrap();
    let error = within("the connect", connector.connect()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error.kind(), ErrorKind::Network | ErrorKind::Timeout), "{error:?}");
    assert!(text.contains(&url) || text.contains("connect_timeout"), "{text}");
}

#[tokio::test]
async fn settings_that_cannot_hold_are_refused_before_anything_is_asked() {
    let world = World::start(Engine::Postgres).await;
    let arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:shop/app-AbCdEf";
    let bare = || SecretsManager::new().credentials(key(SECRET_KEY, None));
    for (plugin, expected) in [
        (bare(), "`secrets_manager_secret_id` is not set"),
        (bare().secret("shop/app"), "`secrets_manager_region` is not set"),
        (bare().secret("shop/app").region("Ohio"), "`secrets_manager_region=Ohio`"),
        (bare().secret(arn).region("us-east-2"), "contradicts"),
        (bare().secret("arn:aws:s3:::bucket"), "expected a name, or an ARN"),
        (bare().secret(arn).endpoint("localhost:5000"), "expected a URL"),
    ] {
        let error = world.postgres().plugin(plugin).build().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    world.postgres().plugin(bare().secret(arn)).build().unwrap();
    assert!(world.secrets.requests().is_empty());
}

/// `secrets_manager_secret_id`, `secrets_manager_region`, `secrets_manager_endpoint`, the keys of user and password, and
/// `secrets_manager_expiration`, given as settings; a password that is a number.
#[tokio::test]
async fn secrets_manager_settings_act() {
    let world = World::start(Engine::Postgres).await;
    world.cluster.set_password("app", "12345678");
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-AbCdEf";
    world.secrets.put(arn, CURRENT, Version::Text(r#"{"login":"app","pass":12345678}"#.to_owned()));
    let builder = || {
        world
            .postgres()
            .set("wrapper_dialect", "pg")
            .set("secretsManagerSecretId", arn)
            .set("secrets_manager_region", "eu-west-1")
            .set("secrets_manager_endpoint", &world.secrets.url())
            .set("secrets_manager_secret_username_key", "login")
            .set("secrets_manager_secret_password_key", "pass")
            .set("secrets_manager_expiration", "60")
    };
    let connector =
        builder().plugin(SecretsManager::new().credentials(key(SECRET_KEY, None))).build().unwrap();
    drop(within("the connect", connector.connect()).await.unwrap());
    drop(within("the connect", connector.connect()).await.unwrap());
    assert_eq!(world.secrets.requests().len(), 1);
    world.clock.step(std::time::Duration::from_secs(61));
    drop(within("the connect", connector.connect()).await.unwrap());
    // The fetch in the background has been sent when a later one is answered.
    let fetched = async {
        while world.secrets.requests().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within("the fetch", fetched).await;
    assert_eq!(world.secrets.requests()[1].0, arn);
}
