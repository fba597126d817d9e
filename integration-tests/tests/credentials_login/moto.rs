//! Against moto's server, which answers as AWS does: the secrets of Secrets Manager, a role of STS.
//!
//! Tests share one server, so each has names of its own.

use std::sync::{Arc, Mutex};

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::ProvideCredentials;
use integration_tests::moto::Moto;
use integration_tests::sim::{Engine, LoginAttempt, SimCluster, TokenCheck};
use tokio::sync::OnceCell;
use wrapper_pg::plugins::iam::Iam;
use wrapper_pg::plugins::secrets_manager::SecretsManager;
use wrapper_pg::{Error, ErrorKind};

use super::secrets_rotation::World;
use super::support::{REGION, SECRET_KEY, key, within};

/// The server of this program; it ends with the program.
pub(crate) async fn moto() -> &'static Moto {
    static MOTO: OnceCell<Moto> = OnceCell::const_new();
    MOTO.get_or_init(|| async { Moto::start().await.unwrap() }).await
}

/// Makes a secret; gives its ARN.
async fn create(name: &str, value: &str) -> String {
    let body = format!(r#"{{"Name":"{name}",{value}}}"#);
    let answer = moto().await.call(REGION, "secretsmanager.CreateSecret", &body).await.unwrap();
    let (_, rest) = answer.split_once(r#""ARN": ""#).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// A version with this password, in a stage.
async fn put(name: &str, stage: &str, password: &str) {
    let value = login(password);
    let body = format!(r#"{{"SecretId":"{name}",{value},"VersionStages":["{stage}"]}}"#);
    moto().await.call(REGION, "secretsmanager.PutSecretValue", &body).await.unwrap();
}

fn login(password: &str) -> String {
    format!(r#""SecretString":"{{\"username\":\"app\",\"password\":\"{password}\",\"port\":5432}}""#)
}

async fn plugin(id: &str) -> SecretsManager {
    SecretsManager::new().secret(id).endpoint(&moto().await.url()).credentials(key(SECRET_KEY, None))
}

async fn connect(world: &World, plugin: SecretsManager) -> Result<(), Error> {
    let builder = world.postgres().set("wrapper_dialect", "pg").set("connect_timeout", "60s");
    let connector = builder.plugin(plugin).build()?;
    within("the connect", connector.connect()).await.map(drop)
}

/// Scenario 69: by its name with a region, and by its ARN alone.
#[tokio::test]
async fn a_secret_of_the_real_protocol_by_name_and_by_arn() {
    let world = World::start(Engine::Postgres).await;
    let arn = create("moto/names", &login("first")).await;
    assert!(arn.starts_with("arn:aws:secretsmanager:us-east-2:"), "{arn}");
    connect(&world, plugin("moto/names").await.region(REGION)).await.unwrap();
    connect(&world, plugin(&arn).await).await.unwrap();
}

/// Scenario 69: a rotation, step by step, as a rotation function makes it.
#[tokio::test]
async fn a_rotation_of_the_real_protocol() {
    let world = World::start(Engine::Postgres).await;
    create("moto/rotated", &login("first")).await;
    let builder = world.postgres().set("wrapper_dialect", "pg").set("connect_timeout", "60s");
    let connector = builder.plugin(plugin("moto/rotated").await.region(REGION)).build().unwrap();
    let connect = async || within("the connect", connector.connect()).await.map(drop);
    connect().await.unwrap();
    put("moto/rotated", "AWSPENDING", "second").await;
    connect().await.unwrap();
    // The current version is refused, and the pending one is the one that is let in.
    world.cluster.set_password("app", "second");
    connect().await.unwrap();
    // Made current; and rotated once more, without a pending version.
    put("moto/rotated", "AWSCURRENT", "third").await;
    world.cluster.set_password("app", "third");
    connect().await.unwrap();
    assert!(world.secrets.requests().is_empty(), "the stand-in was asked");
}

/// Scenario 69: not there, in another region, bytes, no text of JSON.
#[tokio::test]
async fn faults_of_a_secret_of_the_real_protocol_are_told() {
    let world = World::start(Engine::Postgres).await;
    create("moto/elsewhere", &login("first")).await;
    create("moto/bytes", r#""SecretBinary":"aHVudGVyMg==""#).await;
    create("moto/text", r#""SecretString":"hunter2""#).await;
    for (id, region, expected) in [
        ("moto/absent", REGION, "no secret `moto/absent` in the region us-east-2"),
        ("moto/elsewhere", "eu-west-1", "no secret `moto/elsewhere` in the region eu-west-1"),
        ("moto/bytes", REGION, "is binary"),
        ("moto/text", REGION, "is no JSON"),
    ] {
        let error = connect(&world, plugin(id).await.region(region)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{id}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected) && !text.contains("hunter2"), "{id}: {text}");
    }
}

/// Scenario 67: a role that STS gives signs the tokens: the server knows the key that STS has given, and no other one.
#[tokio::test]
async fn a_role_of_sts_signs_tokens() {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(moto().await.url())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(key(SECRET_KEY, None))
        .load()
        .await;
    let role = AssumeRoleProvider::builder("arn:aws:iam::123456789012:role/shop")
        .session_name("test")
        .configure(&config)
        .build_from_provider(key(SECRET_KEY, None))
        .await;
    // Each answer of STS is another key; the server learns it as AWS's own would.
    let given = Arc::new(Mutex::new(Vec::<TokenCheck>::new()));
    let (book, known, role) = (Arc::clone(&given), Arc::clone(&given), Arc::new(role));
    let source = provide_credentials_fn(move || {
        let (book, role) = (Arc::clone(&book), Arc::clone(&role));
        async move {
            let credentials = role.provide_credentials().await?;
            let check = TokenCheck::new(credentials.access_key_id(), credentials.secret_access_key(), REGION);
            assert!(credentials.session_token().is_some() && credentials.expiry().is_some());
            book.lock().unwrap().push(check);
            Ok(credentials)
        }
    });
    let judge = move |login: &LoginAttempt<'_>| {
        let now = std::time::SystemTime::now();
        let keys = known.lock().unwrap();
        login.password.contains("X-Amz-Security-Token=")
            && keys.iter().any(|check| check.verify(login, now).is_ok())
    };
    let cluster = SimCluster::builder().tls(true).passwords(judge).start().await.unwrap();
    let ca = wrapper_pg::RootCertificates::Pem(cluster.ca_pem().unwrap().to_owned());
    let env = wrapper_core::env::Environment::builder()
        .resolver(super::support::Names(cluster.names().clone()))
        .build();
    let connector = wrapper_pg::Connector::builder_at(&cluster.cluster_endpoint(), cluster.port())
        .user("app")
        .dbname("shop")
        .tls(wrapper_pg::TlsSettings::new().roots(ca))
        .environment(env)
        .plugin(Iam::new().credentials(source))
        .build()
        .unwrap();
    for _ in 0..3 {
        drop(within("the connect", connector.connect()).await.unwrap());
    }
    assert_eq!(given.lock().unwrap().len(), 1, "the role was assumed once");
    connector.shutdown().await;
    cluster.shutdown().await;
}

/// A server ends when it is dropped, and another can be started.
#[tokio::test]
async fn a_server_ends_with_its_owner() {
    let own = Moto::start().await.unwrap();
    let address = own.url().trim_start_matches("http://").to_owned();
    own.reset().await.unwrap();
    drop(own);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
