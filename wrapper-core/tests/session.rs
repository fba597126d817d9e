//! The session against a scripted cluster, under paused time: one flight for all, cancellation, refusal, panics.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use support::{cluster, lines, promote};
use wrapper_core::cluster::Cluster;
use wrapper_core::driver::{ConnectTarget, DriverConnection};
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::plugin::{
    Call, CallContext, Chain, ConnectContext, Connected, ExecuteNext, MethodSet, OrderClass, Outcome, Plugin,
    Recovery,
};
use wrapper_core::session::{
    Attempt, Disposal, Operation, Search, Session, SessionOptions, SwitchContext, SwitchHook, SwitchPlan,
};
use wrapper_core::testkit::{FakeClient, FakeConnection, ScriptedCluster, Statement, Trace};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

/// The smallest failover: connect to the writer that the cluster finds.
#[derive(Debug, Default)]
struct Follow {
    timeout: Duration,
    searches: Arc<AtomicU32>,
    rerun: bool,
}

struct FollowSearch(Arc<AtomicU32>);

#[async_trait]
impl Search for FollowSearch {
    async fn find(&mut self, cx: &SwitchContext) -> Result<Connected> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let found = cx.cluster.core().search_writer(cx.deadline).await?;
        let writer = found.topology.writer().cloned().expect("verified");
        cx.report(|report| report.chose(&writer, "test"));
        cx.cluster.connect_verified(&cx.chain, &writer, HostRole::Writer, cx.deadline).await
    }
}

#[async_trait]
impl Plugin for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }
    fn class(&self) -> OrderClass {
        OrderClass::Failover
    }
    fn subscriptions(&self) -> MethodSet {
        MethodSet::RECOVER
    }
    async fn recover(&self, cx: &mut CallContext<'_>, error: Error) -> Recovery {
        if error.class() != ErrorClass::Network {
            return Recovery::Fail(error);
        }
        let plan = SwitchPlan {
            failed: cx.attempt().clone(),
            cause: error.clone(),
            disposal: Disposal::Kill(error.clone()),
            deadline: Deadline::after(self.timeout, "failover_timeout"),
            search: Box::new(FollowSearch(Arc::clone(&self.searches))),
        };
        match cx.session().switch(plan).await {
            Ok(_) if self.rerun => Recovery::Rerun,
            Ok(_) => Recovery::Fail(Error::new(ErrorKind::FailoverSucceeded, "switched").with_source(error)),
            Err(failure) => Recovery::Fail(failure),
        }
    }
}

async fn session_with(
    servers: &ScriptedCluster,
    plugins: Vec<Arc<dyn Plugin>>,
    options: SessionOptions,
) -> (Arc<Session<FakeConnection>>, Cluster, Trace) {
    let trace = Trace::new(servers);
    let cluster = cluster(servers, &trace);
    let chain = Arc::new(Chain::new(plugins, true).unwrap());
    let limit = Deadline::after(Duration::from_secs(5), "connect_timeout");
    let mut cx = ConnectContext::new(&cluster, ConnectTarget::session(servers.host(0)), limit);
    let connected = chain.connect(&mut cx).await.unwrap();
    cluster.core().learn_topology(&connected.connection, limit).await.unwrap();
    let connected = cluster.verify(connected, HostRole::Writer, limit).await.unwrap();
    cluster.core().search_writer(limit).await.unwrap();
    (Session::new(connected, chain, cluster.clone(), options).unwrap(), cluster, trace)
}

fn follow(timeout: u64) -> (Arc<dyn Plugin>, Arc<AtomicU32>) {
    let searches = Arc::new(AtomicU32::new(0));
    let plugin =
        Follow { timeout: Duration::from_secs(timeout), searches: Arc::clone(&searches), rerun: false };
    (Arc::new(plugin), searches)
}

const WHO: Call<'static> = Call::new("read");

/// A call: answers with the name of the host that ran it.
struct WhoAmI;

impl Operation<FakeConnection> for WhoAmI {
    type Out = String;
    async fn run(&self, connection: &Arc<FakeConnection>) -> Result<String> {
        let answer = connection.run(&Statement::read(1)).await?;
        Ok(answer.host.split('.').next().unwrap().to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_callers_of_a_lost_connection_share_one_flight() {
    let servers = ScriptedCluster::new(2, 1);
    let (plugin, searches) = follow(60);
    let (session, _cluster, trace) = session_with(&servers, vec![plugin], SessionOptions::default()).await;
    servers.crash(0);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let session = Arc::clone(&session);
            tokio::spawn(async move { session.call(&WHO, &WhoAmI).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    promote(&servers, 1).await;
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap_err().kind(), ErrorKind::FailoverSucceeded);
    }
    assert_eq!(searches.load(Ordering::SeqCst), 1);
    assert_eq!(session.call(&WHO, &WhoAmI).await.unwrap(), "instance-2");
    assert_eq!(session.load().generation, 2);
    assert_eq!(lines(&trace, "switched instance-1 -> instance-2"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_flight_goes_on_when_every_caller_is_cancelled() {
    let servers = ScriptedCluster::new(2, 1);
    let (plugin, searches) = follow(60);
    let (session, _cluster, _) = session_with(&servers, vec![plugin], SessionOptions::default()).await;
    servers.crash(0);
    let call = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.call(&WHO, &WhoAmI).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    call.abort();
    promote(&servers, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(session.call(&WHO, &WhoAmI).await.unwrap(), "instance-2");
    assert_eq!(searches.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_flight_is_not_joined_and_ends_at_its_deadline() {
    let servers = ScriptedCluster::new(2, 1);
    let (plugin, searches) = follow(3);
    let (session, _cluster, _) = session_with(&servers, vec![plugin], SessionOptions::default()).await;
    servers.crash(0);
    let started = tokio::time::Instant::now();
    assert_eq!(session.call(&WHO, &WhoAmI).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(started.elapsed().as_secs(), 3);
    promote(&servers, 1).await;
    assert_eq!(session.call(&WHO, &WhoAmI).await.unwrap_err().kind(), ErrorKind::FailoverSucceeded);
    assert_eq!(searches.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_in_mid_flight_leaves_no_connection() {
    let servers = ScriptedCluster::new(2, 1);
    let (plugin, _) = follow(300);
    let (session, cluster, _) = session_with(&servers, vec![plugin], SessionOptions::default()).await;
    servers.crash(0);
    let call = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.call(&WHO, &WhoAmI).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    session.close();
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    drop(session);
    cluster.shutdown().await;
    assert_eq!(servers.sessions().open, 0);
    assert_eq!(cluster.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rerun_follows_the_session() {
    let servers = ScriptedCluster::new(2, 1);
    let plugin = Follow { timeout: Duration::from_secs(60), searches: Arc::default(), rerun: true };
    let (session, _cluster, _) =
        session_with(&servers, vec![Arc::new(plugin)], SessionOptions::default()).await;
    servers.crash(0);
    promote(&servers, 1).await;
    assert_eq!(session.call(&WHO, &WhoAmI).await.unwrap(), "instance-2");
    servers.crash(1);
    servers.rejoin(0);
    promote(&servers, 0).await;
    let error = session.call(&WHO.once(), &WhoAmI).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRerunnable);
}

/// Refuses whatever was opened before the last change of the writer.
#[derive(Debug)]
struct RefuseOld;

#[async_trait]
impl Plugin for RefuseOld {
    fn name(&self) -> &'static str {
        "refuse_old"
    }
    fn class(&self) -> OrderClass {
        OrderClass::Endpoints
    }
    fn subscriptions(&self) -> MethodSet {
        MethodSet::REFUSE
    }
    fn refuse(&self, attempt: &Attempt) -> Result<()> {
        match attempt.host.short_name() {
            "instance-1" => Err(Error::new(ErrorKind::Demoted, "demoted")),
            _ => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_to_a_demoted_writer_is_refused_without_sending() {
    let servers = ScriptedCluster::new(2, 1);
    let (session, cluster, _) =
        session_with(&servers, vec![Arc::new(RefuseOld)], SessionOptions::default()).await;
    assert_eq!(session.call(&WHO, &WhoAmI).await.unwrap(), "instance-1");
    assert!(!session.is_closed());
    promote(&servers, 1).await;
    cluster.core().search_writer(Deadline::after(Duration::from_secs(5), "test")).await.unwrap();
    assert!(session.is_closed());
    let error = session.call(&WHO, &WhoAmI).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Demoted);
    assert!(error.outcome().is_not_applied());
}

#[tokio::test(start_paused = true)]
async fn session_state_is_carried_over_before_the_connection_is_used() {
    let servers = ScriptedCluster::new(2, 1);
    let (plugin, _) = follow(60);
    let mut options = SessionOptions::default();
    options.transfer_state = true;
    let (session, _cluster, _) = session_with(&servers, vec![plugin], options).await;
    let client = FakeClient::new(Arc::clone(&session));
    client.run(&Statement::set(2, "search_path", "shop")).await.unwrap();
    servers.crash(0);
    promote(&servers, 1).await;
    session.call(&WHO, &WhoAmI).await.unwrap_err();
    // Asked for by the library alone, before anybody else could use it.
    assert_eq!(servers.asked("SET search_path = shop"), 1);
    let shown = client.run(&Statement::show(3, "search_path")).await.unwrap();
    assert_eq!(shown.value.as_deref(), Some("shop"));
}

struct RefusingHook;

#[async_trait]
impl SwitchHook for RefusingHook {
    async fn carry(
        &self,
        _: &Arc<dyn DriverConnection>,
        _: &Arc<dyn DriverConnection>,
        _: Deadline,
    ) -> Result<bool> {
        Err(Error::new(ErrorKind::Statement, "the hook does not want it"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_transfer_drops_the_new_connection_and_keeps_the_old_generation() {
    let servers = ScriptedCluster::new(2, 1);
    let (plugin, _) = follow(60);
    let mut options = SessionOptions::default();
    options.hook = Some(Arc::new(RefusingHook));
    let (session, _cluster, _) = session_with(&servers, vec![plugin], options).await;
    servers.crash(0);
    promote(&servers, 1).await;
    let error = session.call(&WHO, &WhoAmI).await.unwrap_err();
    assert!(error.to_string().contains("the hook does not want it"), "{error}");
    assert_eq!(session.load().generation, 1);
    assert_eq!(servers.sessions().open, 1);
}

/// Goes around calls in one of several wrong ways.
#[derive(Debug)]
enum Wrong {
    NeverRunsNext,
    Panics,
    PanicsInHooks,
}

#[async_trait]
impl Plugin for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }
    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }
    fn subscriptions(&self) -> MethodSet {
        match self {
            Self::PanicsInHooks => MethodSet::ENTER_LEAVE | MethodSet::WATCH | MethodSet::NOTIFY,
            _ => MethodSet::EXECUTE,
        }
    }
    async fn execute(&self, _: &mut CallContext<'_>, _: ExecuteNext<'_>) -> Result<()> {
        match self {
            Self::Panics => panic!("on purpose"),
            _ => Ok(()),
        }
    }
    fn enter(&self, _: &Call<'_>) {
        panic!("on purpose");
    }
    fn leave(&self, _: &Call<'_>, _: Outcome<'_>) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_breaks_its_contract_gives_a_typed_error() {
    for (wrong, text) in [(Wrong::NeverRunsNext, "without running the rest"), (Wrong::Panics, "on purpose")] {
        let servers = ScriptedCluster::new(2, 1);
        let (session, _cluster, _) =
            session_with(&servers, vec![Arc::new(wrong)], SessionOptions::default()).await;
        let error = session.call(&WHO, &WhoAmI).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Plugin);
        assert!(error.to_string().contains(text), "{error}");
        assert!(!session.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_hook_that_cannot_fail_is_not_the_callers() {
    let servers = ScriptedCluster::new(2, 1);
    let (session, _cluster, _) =
        session_with(&servers, vec![Arc::new(Wrong::PanicsInHooks)], SessionOptions::default()).await;
    assert_eq!(session.call(&WHO, &WhoAmI).await.unwrap(), "instance-1");
}

/// Counts its hooks.
#[derive(Debug, Default)]
struct Count {
    entered: AtomicU32,
    left: AtomicU32,
    cancelled: AtomicU32,
    watched: AtomicU32,
    unwatched: AtomicU32,
}

#[async_trait]
impl Plugin for Count {
    fn name(&self) -> &'static str {
        "count"
    }
    fn class(&self) -> OrderClass {
        OrderClass::Monitoring
    }
    fn subscriptions(&self) -> MethodSet {
        MethodSet::ENTER_LEAVE | MethodSet::WATCH
    }
    fn enter(&self, _: &Call<'_>) {
        self.entered.fetch_add(1, Ordering::SeqCst);
    }
    fn leave(&self, _: &Call<'_>, outcome: Outcome<'_>) {
        self.left.fetch_add(1, Ordering::SeqCst);
        if let Outcome::Cancelled = outcome {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn watch(&self, _: &Arc<dyn DriverConnection>, _: &HostInfo) -> u64 {
        u64::from(self.watched.fetch_add(1, Ordering::SeqCst))
    }
    fn unwatch(&self, token: u64) {
        assert!(token < u64::from(self.watched.load(Ordering::SeqCst)));
        self.unwatched.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn every_enter_has_its_leave_and_every_watch_its_end_also_when_the_call_is_dropped() {
    let servers = ScriptedCluster::new(2, 1);
    let count = Arc::new(Count::default());
    let plugin: Arc<dyn Plugin> = Arc::<Count>::clone(&count);
    let (session, _cluster, _) = session_with(&servers, vec![plugin], SessionOptions::default()).await;
    session.call(&WHO, &WhoAmI).await.unwrap();
    servers.freeze(0);
    let dropped = tokio::time::timeout(Duration::from_secs(1), session.call(&WHO, &WhoAmI)).await;
    assert!(dropped.is_err());
    assert_eq!((count.entered.load(Ordering::SeqCst), count.left.load(Ordering::SeqCst)), (2, 2));
    assert_eq!(count.cancelled.load(Ordering::SeqCst), 1);
    assert_eq!((count.watched.load(Ordering::SeqCst), count.unwatched.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn socket_timeout_gives_the_call_up_and_discards_the_connection() {
    let servers = ScriptedCluster::new(2, 1);
    let mut options = SessionOptions::default();
    options.socket_timeout = Some(Duration::from_millis(300));
    let (session, _cluster, _) = session_with(&servers, vec![], options).await;
    session.call(&WHO, &WhoAmI).await.unwrap();
    servers.freeze(0);
    let error = session.call(&WHO, &WhoAmI).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("socket_timeout"), "{error}");
    assert!(session.is_closed(), "nobody may read the late answer");
}
