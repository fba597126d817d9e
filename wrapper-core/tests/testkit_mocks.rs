//! The mocks of the test kit, on a plugin that retries once and one that switches.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::cluster::{Cluster, ClusterOptions};
use wrapper_core::driver::{ConnectTarget, DriverDialect};
use wrapper_core::env::Deadline;
use wrapper_core::plugin::{
    Call, CallContext, ConnectContext, ConnectNext, Connected, ExecuteNext, MethodSet, OrderClass, Plugin,
    Recovery,
};
use wrapper_core::session::{Disposal, Search, SwitchContext, SwitchPlan};
use wrapper_core::testkit::{MockConnect, MockExecute, MockSession, ScriptedCluster};
use wrapper_core::{Error, ErrorKind, Result};

/// Connects twice, calls twice, switches after a lost connection.
#[derive(Debug)]
struct Twice;

struct Nowhere;

#[async_trait]
impl Search for Nowhere {
    async fn find(&mut self, _: &SwitchContext) -> Result<Connected> {
        Err(Error::new(ErrorKind::Topology, "nowhere"))
    }
}

#[async_trait]
impl Plugin for Twice {
    fn name(&self) -> &'static str {
        "twice"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Failover
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::CONNECT | MethodSet::EXECUTE | MethodSet::RECOVER
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        match next.run(cx).await {
            Err(_) => next.run(cx).await,
            connected => connected,
        }
    }

    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<()> {
        match next.run(cx).await {
            Err(_) => next.run(cx).await,
            done => done,
        }
    }

    async fn recover(&self, cx: &mut CallContext<'_>, error: Error) -> Recovery {
        let plan = SwitchPlan {
            failed: cx.attempt().clone(),
            cause: error.clone(),
            disposal: Disposal::Kill(error),
            deadline: Deadline::after(Duration::from_secs(1), "failover_timeout"),
            search: Box::new(Nowhere),
        };
        match cx.session().switch(plan).await {
            Ok(_) => Recovery::Rerun,
            Err(error) => Recovery::Fail(error),
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Network, "lost")
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_tested_alone() {
    let world = ScriptedCluster::new(2, 1);
    let cluster =
        Cluster::new(Arc::new(world.driver()), world.env().clone(), ClusterOptions::default(), Vec::new());
    let soon = Deadline::after(Duration::from_secs(5), "test");
    let target = ConnectTarget::session(world.host(0));
    let connection = world.driver().connect(&target, soon).await.unwrap();
    let connected = Connected::new(Arc::clone(&connection), world.host(0), 1);

    let rest = MockConnect::new().answer(Err(lost())).answer(Ok(connected));
    let mut cx = ConnectContext::new(&cluster, target, soon);
    assert_eq!(Twice.connect(&mut cx, rest.cursor()).await.unwrap().host, world.host(0));
    assert_eq!((rest.targets().len(), rest.left()), (2, 0));
    assert_eq!(rest.forced_cursor().run(&mut cx).await.unwrap_err().kind(), ErrorKind::Plugin);

    let other = world.driver().connect(&ConnectTarget::session(world.host(1)), soon).await.unwrap();
    let session = MockSession::new(&cluster, Arc::clone(&connection), world.host(0))
        .unwrap()
        .switches_to(Arc::clone(&other), world.host(1))
        .fails(lost());
    let mut rest = MockExecute::new().answer(Err(lost())).answer(Ok(()));
    let mut cx = session.call(Call::new("query"));
    Twice.execute(&mut cx, rest.cursor()).await.unwrap();
    assert_eq!((rest.runs().len(), rest.left()), (2, 0));
    assert_eq!(cx.attempts(), 2);
    assert!(matches!(Twice.recover(&mut cx, lost()).await, Recovery::Rerun));
    cx.follow().unwrap();
    assert_eq!((cx.generation(), cx.host().host()), (2, &*world.name(1)));
    assert!(
        matches!(Twice.recover(&mut cx, lost()).await, Recovery::Fail(error) if error.kind() == ErrorKind::Network)
    );
    assert_eq!(session.plans().len(), 2);
}
