//! The assertion of ADFS against moto's STS, which answers as AWS does.

use integration_tests::sim::{Engine, TokenFault};
use wrapper_pg::ErrorKind;

use super::idp_support::{ADFS, World, federated};
use super::moto::moto;
use super::support::within;

/// Scenario 71: the keys that moto gives sign the token. The servers do not know them, so they refuse it.
#[tokio::test]
async fn an_assertion_of_the_real_protocol_gives_keys_that_sign_a_token() {
    let world = World::start(Engine::Postgres).await;
    let adfs = world.adfs().await;
    let mut settings = world.settings(ADFS, adfs.port());
    settings.retain(|(name, _)| *name != "sts_endpoint");
    settings.extend([("sts_endpoint", moto().await.url()), ("wrapper_dialect", "pg".to_owned())]);
    let builder = world.postgres(&settings).set("plugins", "").set("connect_timeout", "60");
    let connector = builder.plugin(federated(&adfs)).build().unwrap();
    let error = within("the connect", connector.connect()).await.unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Login, Some("28000")), "{error:?}");
    assert_eq!(world.faults(), [TokenFault::Scope]);
    let token = world.judged().remove(0).password;
    assert!(token.contains("&X-Amz-Credential=ASIA") && token.contains("&X-Amz-Security-Token="), "{token}");
    assert!(world.sts.given().is_empty(), "the other one was not asked");
}
