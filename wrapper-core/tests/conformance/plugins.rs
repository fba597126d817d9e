//! A plugin that subscribes to every hook keeps the contract; with one mistake each it breaks it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::cluster::{Cluster, MonitorPermit};
use wrapper_core::driver::{ConnectTarget, DriverConnection};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::plugin::{
    BuildContext, Call, CallContext, Chain, ConnectContext, ConnectNext, Connected, ExecuteNext,
    HostStateChange, MethodSet, OrderClass, Outcome, Plugin, PluginFactory, Recovery, TopologyChange,
    WatchToken,
};
use wrapper_core::session::Attempt;
use wrapper_core::testkit::conformance::{Conformance, PluginSubject, plugin_conformance};
use wrapper_core::{Error, ErrorKind, Result};

use super::assert_broken;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    OtherName,
    ChangesSubscriptions,
    ConnectsElsewhere,
    ConnectSwallows,
    ForceGoesElsewhere,
    ForceRenames,
    ExecuteSkips,
    ExecuteTwice,
    ExecuteRenames,
    ExecuteRetries,
    RecoverRenames,
    HidesUnknown,
    LocksAcrossNext,
    LeavePanics,
    WatchKeeps,
    RefusesAll,
    NotifyPanics,
    SelectsAlways,
    ForgetsToSubscribe,
    RunsTwiceInSession,
    LeavesTask,
    OwnsChain,
    OwnsCluster,
    ConnectRetriesForEver,
    ConnectLeaks,
    CallLeaks,
    RecoverLeaks,
    FailedConnectLeaks,
}

const ALL: [(Mistake, &str); 31] = [
    (Mistake::OtherName, "name"),
    (Mistake::ChangesSubscriptions, "subscriptions"),
    (Mistake::ConnectsElsewhere, "connect-passes"),
    (Mistake::ConnectSwallows, "connect-error-unchanged"),
    (Mistake::ForceGoesElsewhere, "force-connect-passes"),
    (Mistake::ForceRenames, "force-connect-error-unchanged"),
    (Mistake::ExecuteSkips, "execute-runs-next"),
    (Mistake::ExecuteTwice, "execute-runs-next"),
    (Mistake::ExecuteRenames, "execute-error-unchanged"),
    (Mistake::ExecuteRetries, "execute-error-unchanged"),
    (Mistake::RecoverRenames, "recover-error-unchanged"),
    (Mistake::HidesUnknown, "transaction-state-unknown"),
    (Mistake::LocksAcrossNext, "calls-side-by-side"),
    (Mistake::LeavePanics, "enter-leave"),
    (Mistake::WatchKeeps, "watch-unwatch"),
    (Mistake::RefusesAll, "refuse-healthy"),
    (Mistake::NotifyPanics, "notifications"),
    (Mistake::SelectsAlways, "select-host"),
    (Mistake::ForgetsToSubscribe, "unsubscribed-hooks"),
    (Mistake::RunsTwiceInSession, "calls-go-through"),
    (Mistake::LeavesTask, "session-ends"),
    (Mistake::OwnsChain, "no-circle"),
    (Mistake::OwnsCluster, "no-circle"),
    (Mistake::ConnectRetriesForEver, "connect-ends"),
    (Mistake::ConnectLeaks, "cancelled-connect"),
    (Mistake::CallLeaks, "cancelled-call"),
    (Mistake::RecoverLeaks, "cancelled-call-in-a-crash"),
    (Mistake::RecoverLeaks, "cancelled-call-to-a-silent-host"),
    (Mistake::RecoverLeaks, "cancelled-call-in-a-switchover"),
    (Mistake::FailedConnectLeaks, "cancelled-connect-in-a-crash"),
    (Mistake::ConnectLeaks, "cancelled-connect-to-a-silent-host"),
];

#[derive(Clone, Debug)]
struct Factory(Option<Mistake>);

impl PluginFactory for Factory {
    fn name(&self) -> &'static str {
        "subject"
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        let owns = self.0 == Some(Mistake::OwnsCluster);
        Ok(Arc::new(Subject {
            mistake: self.0,
            calls: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            lock: tokio::sync::Mutex::new(()),
            kept: Mutex::default(),
            chain: OnceLock::new(),
            cluster: owns.then(|| cx.cluster.clone()),
        }))
    }
}

struct Subject {
    mistake: Option<Mistake>,
    calls: AtomicU64,
    asked: AtomicU64,
    lock: tokio::sync::Mutex<()>,
    kept: Mutex<Vec<Arc<dyn DriverConnection>>>,
    chain: OnceLock<Arc<Chain>>,
    cluster: Option<Cluster>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let owner = self.cluster.is_some();
        f.debug_struct("Subject").field("calls", &self.calls).field("owner", &owner).finish()
    }
}

impl Subject {
    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

fn renamed(error: Error) -> Error {
    Error::new(ErrorKind::Driver, "something went wrong").with_source(error)
}

/// Holds a turn of the monitors, and gives it back by hand.
async fn leaking<T>(cluster: &Cluster, work: impl Future<Output = T>) -> T {
    let permit: Result<MonitorPermit> = cluster.budget().permit().await;
    let permit = std::mem::ManuallyDrop::new(permit);
    let done = work.await;
    drop(std::mem::ManuallyDrop::into_inner(permit));
    done
}

#[async_trait]
impl Plugin for Subject {
    fn name(&self) -> &'static str {
        if self.has(Mistake::OtherName) { "another" } else { "subject" }
    }

    fn class(&self) -> OrderClass {
        OrderClass::Routing
    }

    fn subscriptions(&self) -> MethodSet {
        let all = MethodSet::CONNECT | MethodSet::FORCE_CONNECT | MethodSet::EXECUTE | MethodSet::RECOVER;
        let all = all | MethodSet::WATCH | MethodSet::NOTIFY | MethodSet::SELECT_HOST | MethodSet::REFUSE;
        let odd = self.asked.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        match self.mistake {
            Some(Mistake::ForgetsToSubscribe) => all,
            Some(Mistake::ChangesSubscriptions) if odd => all,
            _ => all | MethodSet::ENTER_LEAVE,
        }
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        if self.has(Mistake::ConnectLeaks) {
            let cluster = cx.cluster.clone();
            return leaking(&cluster, next.run(cx)).await;
        }
        let connected = next.run(cx).await;
        match (self.mistake, connected) {
            (Some(Mistake::FailedConnectLeaks), Err(error)) => {
                let cluster = cx.cluster.clone();
                leaking(&cluster, cluster.env().sleep(Duration::from_millis(1))).await;
                Err(error)
            }
            (Some(Mistake::ConnectsElsewhere), Ok(given)) => {
                let target = ConnectTarget::session(given.host.clone());
                let own = cx.cluster.driver().connect(&target, cx.deadline).await?;
                Ok(Connected::new(own, given.host, given.epoch))
            }
            (Some(Mistake::ConnectSwallows), Err(_)) => next
                .run(&mut ConnectContext::new(cx.cluster, cx.target.clone(), cx.deadline))
                .await
                .map_err(renamed),
            (Some(Mistake::ConnectRetriesForEver), Err(error)) if error.kind() == ErrorKind::Timeout => {
                loop {
                    let deadline = wrapper_core::env::Deadline::after(Duration::from_secs(5), "mine");
                    let mut again = ConnectContext::new(cx.cluster, cx.target.clone(), deadline);
                    if let Ok(connected) = next.run(&mut again).await {
                        return Ok(connected);
                    }
                }
            }
            (_, connected) => connected,
        }
    }

    async fn force_connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        if self.has(Mistake::ForceGoesElsewhere) {
            cx.target.host = HostInfo::new("elsewhere.example.com", 5432, HostRole::Unknown);
        }
        let connected = next.run(cx).await;
        if self.has(Mistake::ForceRenames) { connected.map_err(renamed) } else { connected }
    }

    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<()> {
        if self.has(Mistake::OwnsChain) {
            self.chain.get_or_init(|| Arc::clone(cx.session().chain()));
        }
        if self.has(Mistake::LeavesTask) {
            let env = cx.session().cluster().env().clone();
            tokio::spawn(async move { env.sleep(Duration::from_secs(3600)).await });
        }
        let _guard = if self.has(Mistake::LocksAcrossNext) { Some(self.lock.lock().await) } else { None };
        match self.mistake {
            Some(Mistake::ExecuteSkips) => return Ok(()),
            Some(Mistake::ExecuteTwice) => drop(next.run(cx).await),
            Some(Mistake::RunsTwiceInSession) if cx.call().method == "append" => drop(next.run(cx).await),
            Some(Mistake::CallLeaks) => {
                let cluster = cx.session().cluster().clone();
                return leaking(&cluster, next.run(cx)).await;
            }
            _ => {}
        }
        match next.run(cx).await {
            Ok(()) => Ok(()),
            Err(error) if self.has(Mistake::ExecuteRenames) => Err(renamed(error)),
            Err(error) if self.has(Mistake::ExecuteRetries) => next.run(cx).await.map_err(|_| error),
            Err(error) => match self.recover(cx, error).await {
                Recovery::Fail(error) => Err(error),
                _ => Err(Error::new(ErrorKind::Plugin, "asks for no re-run")),
            },
        }
    }

    async fn recover(&self, cx: &mut CallContext<'_>, error: Error) -> Recovery {
        if self.has(Mistake::RecoverLeaks) {
            let cluster = cx.session().cluster().clone();
            leaking(&cluster, cluster.env().sleep(Duration::from_millis(1))).await;
        }
        Recovery::Fail(match self.mistake {
            Some(Mistake::RecoverRenames) => renamed(error),
            Some(Mistake::HidesUnknown) if error.kind() == ErrorKind::TransactionStateUnknown => {
                error.with_kind(ErrorKind::FailoverSucceeded)
            }
            _ => error,
        })
    }

    fn enter(&self, _: &Call<'_>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self, _: &Call<'_>, outcome: Outcome<'_>) {
        if self.has(Mistake::LeavePanics) {
            assert!(!matches!(outcome, Outcome::Cancelled), "nobody is ever cancelled");
        }
    }

    fn watch(&self, connection: &Arc<dyn DriverConnection>, _: &HostInfo) -> WatchToken {
        if self.has(Mistake::WatchKeeps) {
            self.kept.lock().unwrap().push(Arc::clone(connection));
        }
        1
    }

    fn refuse(&self, _: &Attempt) -> Result<()> {
        if self.has(Mistake::RefusesAll) {
            return Err(Error::new(ErrorKind::Demoted, "never again"));
        }
        Ok(())
    }

    fn on_topology(&self, change: &TopologyChange) {
        if self.has(Mistake::NotifyPanics) {
            drop(change.now.topology.writer().unwrap().clone());
        }
    }

    fn on_host_state(&self, _: &HostStateChange) {}

    fn select_host(&self, strategy: &str, _: HostRole, hosts: &[HostInfo]) -> Option<Result<HostInfo>> {
        (self.has(Mistake::SelectsAlways) || strategy == "mine").then(|| Ok(hosts.first().unwrap().clone()))
    }
}

async fn run(mistake: Option<Mistake>) -> Conformance {
    let subject = PluginSubject::new(Factory(mistake)).set("connect_timeout", "5s");
    plugin_conformance(&subject).await
}

#[tokio::test(start_paused = true)]
async fn a_plugin_on_every_hook_keeps_it() {
    let found = run(None).await;
    assert!(found.is_kept(), "{found}");
    assert_eq!(found.clauses().len(), 28, "{found}");
}

#[tokio::test(start_paused = true)]
async fn each_mistake_is_found() {
    for (mistake, clause) in ALL {
        let found = run(Some(mistake)).await;
        println!("{mistake:?}: {:?}", found.broken());
        assert_broken(&found, clause);
    }
}
