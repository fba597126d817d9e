//! The plugin on the test kit: alone, in sessions that fail over, and under the suite that every plugin must pass.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::Deadline;
use wrapper_core::plugin::PluginFactory;
use wrapper_core::plugin::{BuildContext, Call};
use wrapper_core::testkit::conformance::{PluginSubject, plugin_conformance};
use wrapper_core::testkit::{
    MockExecute, MockSession, ScriptedCluster, Stage, Statement, enumerate_cancellations,
};
use wrapper_core::{Error, ErrorKind};

use crate::call_times::CallTimes;

/// The contract of plugins, clause by clause.
#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract() {
    let found = plugin_conformance(&PluginSubject::new(CallTimes::default())).await;
    assert!(found.is_kept(), "{found}");
}

/// The plugin alone: what is behind it in the chain is a mock.
#[tokio::test(start_paused = true)]
async fn it_counts_a_failed_call_and_passes_its_error_on() {
    let factory = CallTimes::default();
    let stage = Stage::new(ScriptedCluster::new(2, 1), Vec::new()).expect("valid settings");
    let core = stage.core();
    let plugin = factory
        .build(&BuildContext::new(core.cluster(), core.settings(), core.endpoint()))
        .expect("the plugin is built");
    let target = ConnectTarget::session(stage.cluster().host(0));
    let deadline = Deadline::after(Duration::from_secs(5), "connect_timeout");
    let connection: Arc<dyn DriverConnection> =
        stage.cluster().driver().connect(&target, deadline).await.expect("connected");
    let session = MockSession::new(core.cluster(), connection, target.host).expect("a session");

    let lost = Error::new(ErrorKind::Network, "reset");
    let mut rest = MockExecute::new().answer(Ok(())).answer(Err(lost));
    let call = Call::new("query").sql("SELECT 1");
    assert!(plugin.execute(&mut session.call(call), rest.cursor()).await.is_ok());
    let error = plugin.execute(&mut session.call(call), rest.cursor()).await.expect_err("the second answer");
    assert_eq!(error.kind(), ErrorKind::Network);
    assert_eq!(factory.0.calls.load(Ordering::Relaxed), 2);
    assert_eq!(factory.0.failed.load(Ordering::Relaxed), 1);
}

/// In sessions: dropped at each await point, a call is not counted, and the next user meets a clean session.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_leaves_nothing() {
    let found = enumerate_cancellations(
        async || {
            let factory = CallTimes::default();
            let stage = Stage::new(ScriptedCluster::new(3, 1), vec![Arc::new(factory.clone())]);
            let stage = stage.expect("valid settings");
            let client = stage.client().await.expect("connected");
            (stage, client, factory)
        },
        async |(_, client, _)| client.run(&Statement::append(1)).await,
        async |(stage, client, factory), _| {
            stage.check_next_user(&client).await?;
            if factory.0.failed.load(Ordering::Relaxed) != 0 {
                return Err("a call that its caller dropped was counted as failed".to_owned());
            }
            stage.check_at_rest(client).await
        },
    )
    .await
    .unwrap_or_else(|poisoned| panic!("{poisoned}"));
    assert!(found.drops >= 2, "{found:?}");
}
