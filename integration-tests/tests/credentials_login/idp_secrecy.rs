//! R15 for sign-ins: passwords, assertions, cookies, session tokens and temporary keys are in no log, error, `Debug`, event.

use integration_tests::sim::Engine;
use wrapper_core::observe::{MetricsObserver, TracingObserver};
use wrapper_pg::plugins::federated_auth::FederatedAuth;

use super::idp_support::{ADFS, APP, NAME, OKTA, PASSWORD, World, federated, okta};
use super::secrecy::watched;
use super::support::within;

fn secrets_of(world: &World) -> Vec<String> {
    let mut secrets = vec![PASSWORD.to_owned(), "IDP-\"pass".to_owned(), "ünlimited".to_owned()];
    for assertion in world.assertions.made() {
        secrets.push(assertion[..60].to_owned());
        secrets.push(assertion);
    }
    for keys in world.sts.given() {
        secrets.push(keys.session.replace('/', "%2F"));
        secrets.extend([keys.secret, keys.session]);
    }
    for login in world.judged() {
        let (_, signature) = login.password.split_once("X-Amz-Signature=").unwrap();
        secrets.push(signature.split('&').next().unwrap().to_owned());
    }
    assert!(secrets.len() > 8, "{secrets:?}");
    secrets
}

#[test]
fn what_adfs_and_sts_give_stays_secret() {
    watched(async |events| {
        let world = World::start(Engine::Postgres).await;
        let adfs = world.adfs().await;
        let settings = world.settings(ADFS, adfs.port());
        let builder = || {
            let builder = world.postgres(&settings).set("wrapper_dialect", "pg").set("connect_timeout", "60");
            let builder = builder.set("plugins", "initial_connection,failover,connect_time");
            builder.observer(events.clone()).observer(TracingObserver::new()).observer(MetricsObserver::new())
        };
        let plugin = federated(&adfs);
        let mut more = vec![format!("{plugin:?} {:?}", builder())];
        let connector = builder().plugin(plugin).build().unwrap();
        let client = within("the connect", connector.connect()).await.unwrap();
        world.revoke();
        drop(within("the connect", connector.connect()).await.unwrap());
        more.push(format!("{connector:?} {client:?} {}", connector.explain()));
        let wrong = FederatedAuth::new().login(NAME, "WRONG-PASSWORD").roots_pem(adfs.ca_pem());
        let wrong = builder().plugin(wrong).build().unwrap();
        let error = within("the connect", wrong.connect()).await.unwrap_err();
        more.push(format!("{error} {error:?} {wrong:?}"));
        let mut secrets = secrets_of(&world);
        secrets.extend(adfs.cookies());
        secrets.push("WRONG-PASSWORD".to_owned());
        connector.shutdown().await;
        (more, secrets)
    });
}

#[test]
fn what_okta_and_sts_give_stays_secret() {
    watched(async |events| {
        let world = World::start(Engine::Postgres).await;
        let idp = world.okta().await;
        let mut settings = world.settings(OKTA, idp.port());
        settings.extend([("app_id", APP.to_owned()), ("wrapper_dialect", "pg".to_owned())]);
        let builder = world.postgres(&settings).set("connect_timeout", "60");
        let builder =
            builder.observer(events).observer(TracingObserver::new()).observer(MetricsObserver::new());
        let plugin = okta(&idp);
        let mut more = vec![format!("{plugin:?}")];
        let connector = builder.plugin(plugin).build().unwrap();
        let client = within("the connect", connector.connect()).await.unwrap();
        more.push(format!("{connector:?} {client:?} {}", connector.explain()));
        let mut secrets = secrets_of(&world);
        assert_eq!(idp.secrets().len(), 2);
        secrets.extend(idp.secrets());
        connector.shutdown().await;
        (more, secrets)
    });
}
