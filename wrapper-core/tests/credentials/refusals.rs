//! What becomes of a credential that a server refuses.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::credentials::Provided;
use wrapper_core::driver::DriverDialect;
use wrapper_core::env::Environment;
use wrapper_core::plugin::Registry;
use wrapper_core::{Error, ErrorClass, ErrorKind};

use super::world::{LIFE, Next, PlaceProvider, World, unreachable};

#[tokio::test(start_paused = true)]
async fn a_refused_credential_from_the_cache_is_replaced_once() {
    let world = World::new();
    drop(world.open().await.unwrap());
    world.rotate(1);
    drop(world.open().await.unwrap());
    assert_eq!(world.shown(), ["token-1", "token-1", "token-2"]);
    assert_eq!(world.decisions(), ["the server is shown a fresh credential"]);
    let told = world.place.told.lock().unwrap().clone();
    assert_eq!(told, [None, Some("token-1".to_owned())], "the provider knows which one was refused");
}

#[tokio::test(start_paused = true)]
async fn a_refused_fresh_credential_is_the_answer() {
    let world = World::new();
    world.rotate(100);
    let error = world.open().await.err().unwrap();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Login, Some("28P01")), "{error:?}");
    assert!(error.to_string().contains("look at the script"), "{error}");
    assert_eq!(world.shown(), ["token-1"], "it was not shown a second time");
    let error = world.open().await.err().unwrap();
    assert_eq!(error.class(), ErrorClass::Login, "{error:?}");
    assert_eq!(world.shown(), ["token-1", "token-2"], "the next connect has a new one fetched");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_refusals_at_once_cause_one_fetch() {
    let world = World::new();
    drop(world.open().await.unwrap());
    world.rotate(1);
    for result in join_all((0..1000).map(|_| world.open())).await {
        drop(result.unwrap());
    }
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_without_end_are_not_a_fetch_each() {
    let world = World::new();
    world.rotate(1000);
    for _ in 0..100 {
        assert_eq!(world.open().await.err().unwrap().kind(), ErrorKind::Login);
    }
    assert!(world.fetches() <= 10, "{}", world.fetches());
    // Each connect has asked the server all the same, and the first one after the fault is let in.
    assert!(world.shown().len() >= 100);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.rotate(0);
    drop(world.open().await.unwrap());
}

/// On Multi-AZ DB clusters SQLSTATE 28000 is taken for a host that is not ready. A token that is no good looks the same.
#[tokio::test(start_paused = true)]
async fn sqlstate_28000_has_a_fresh_credential_tried_also_where_it_means_the_network() {
    let world = World::new();
    let refusal = Error::new(ErrorKind::Network, "PAM authentication failed").with_sqlstate("28000");
    *world.place.refusal.lock().unwrap() = Some(refusal);
    drop(world.open().await.unwrap());
    world.rotate(1);
    drop(world.open().await.unwrap());
    assert_eq!(world.shown(), ["token-1", "token-1", "token-2"]);
    world.rotate(100);
    let error = world.open().await.err().unwrap();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Network, ErrorClass::Network), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_no_refusal_passes() {
    let world = World::new();
    drop(world.open().await.unwrap());
    *world.place.refusal.lock().unwrap() = Some(Error::new(ErrorKind::Busy, "too many clients"));
    world.rotate(1);
    assert_eq!(world.open().await.err().unwrap().kind(), ErrorKind::Busy);
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_one_that_cannot_be_had_is_told_beside_the_refusal() {
    let world = World::new();
    drop(world.open().await.unwrap());
    world.rotate(1);
    world.script([Next::Fail(Error::config("the secret is gone"))]);
    let error = world.open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Login);
    let text = error.to_string();
    assert!(text.contains("the secret is gone") && text.contains("password authentication failed"), "{text}");
    world.script([unreachable()]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(world.open().await.unwrap());
}

/// The early fetch that is under way, or has just ended, when the refusal comes has brought the refused credential once more:
/// it knew of no refusal. It is asked again, and no connect fails.
#[tokio::test(start_paused = true)]
async fn an_early_fetch_of_the_same_credential_is_no_answer_to_a_refusal() {
    /// A secret in a rotation: the next version is given to one who says that the current one was refused.
    #[derive(Debug)]
    struct Rotating(Duration);
    #[async_trait::async_trait]
    impl wrapper_core::credentials::CredentialProvider for Rotating {
        fn name(&self) -> &'static str {
            "rotating"
        }
        async fn fetch(
            &self,
            request: &wrapper_core::credentials::FetchRequest,
        ) -> wrapper_core::Result<wrapper_core::credentials::Fetched> {
            request.env.sleep(self.0).await;
            let password = if request.refused.is_some() { "token-2" } else { "token-1" };
            let credential = wrapper_core::credentials::Credential::new(password);
            Ok(wrapper_core::credentials::Fetched::new(credential, LIFE))
        }
        fn has_others(&self) -> bool {
            true
        }
    }
    // The server takes 20 ms to refuse: the fetch ends before, or after that.
    for fetch in [Duration::from_millis(1), Duration::from_millis(19), Duration::from_millis(50)] {
        let world = World::with(|_| Provided::new(Rotating(fetch)));
        let now = world.place.wall.now();
        world.place.born.lock().unwrap().extend([now; 2]);
        drop(world.open().await.unwrap());
        world.rotate(1);
        tokio::time::sleep(LIFE / 10 * 7).await;
        drop(world.open().await.unwrap());
        assert_eq!(world.shown(), ["token-1", "token-1", "token-2"], "{fetch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_holds_a_credential() {
    let world = World::new();
    drop(world.open().await.unwrap());
    world.rotate(100);
    let error = world.open().await.err().unwrap();
    let printed = format!("{error:?} {error} {:?} {:?}", world.core, world.events);
    assert!(!printed.contains("token-"), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn two_providers_are_one_too_many() {
    #[derive(Debug)]
    struct Other;
    #[async_trait::async_trait]
    impl wrapper_core::credentials::CredentialProvider for Other {
        fn name(&self) -> &'static str {
            "other"
        }
        async fn fetch(
            &self,
            _: &wrapper_core::credentials::FetchRequest,
        ) -> wrapper_core::Result<wrapper_core::credentials::Fetched> {
            Err(Error::config("never asked"))
        }
    }
    let world = World::new();
    let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
    let error = ConnectorCore::new(ConnectorParts {
        settings: Settings::parse("postgres://instance-1.xyz.us-east-2.rds.amazonaws.com/shop", &keys)
            .unwrap(),
        driver: Arc::clone(&world.place) as Arc<dyn DriverDialect>,
        env: Environment::default(),
        registry: Registry::new(),
        default_plugins: Vec::new(),
        plugins: vec![
            Arc::new(Provided::new(PlaceProvider(Arc::clone(&world.place)))),
            Arc::new(Provided::new(Other)),
        ],
        observers: Vec::new(),
        default_port: 5432,
    });
    let error = error.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`scripted` and `other`"), "{error}");
}
