//! A plugin of one's own: it times every call, and is named in the setting `plugins` beside those of the library.
//!
//! Runs anywhere: the cluster is simulated in this process.
//!
//! ```text
//! cargo run -p examples --bin custom-plugin
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use integration_tests::sim::SimCluster;
use wrapper_pg::core::env::Environment;
use wrapper_pg::core::plugin::{
    BuildContext, CallContext, ExecuteNext, MethodSet, OrderClass, Plugin, PluginFactory,
};

/// What all sessions share: how many calls there were, how many failed, and the slowest of them.
#[derive(Debug, Default)]
struct Times {
    calls: AtomicU64,
    failed: AtomicU64,
    slowest: Mutex<Option<(Duration, String)>>,
}

/// Builds the plugin of each session.
#[derive(Clone, Debug, Default)]
struct CallTimes(Arc<Times>);

impl PluginFactory for CallTimes {
    fn name(&self) -> &'static str {
        "call_times"
    }

    fn build(&self, cx: &BuildContext<'_>) -> wrapper_pg::Result<Arc<dyn Plugin>> {
        Ok(Arc::new(Timer { times: Arc::clone(&self.0), env: cx.cluster.env().clone() }))
    }
}

/// The plugin of one session.
#[derive(Debug)]
struct Timer {
    times: Arc<Times>,
    env: Environment,
}

#[async_trait]
impl Plugin for Timer {
    fn name(&self) -> &'static str {
        "call_times"
    }

    // Observers stand outside all others: the time of a failover is part of the call.
    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::EXECUTE
    }

    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> wrapper_pg::Result<()> {
        let what = cx.call().sql.unwrap_or(cx.call().method).to_owned();
        let began = self.env.now();
        let result = next.run(cx).await;
        let took = self.env.now().saturating_duration_since(began);
        self.times.calls.fetch_add(1, Ordering::Relaxed);
        self.times.failed.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        let mut slowest = self.times.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        if slowest.as_ref().is_none_or(|(known, _)| *known < took) {
            *slowest = Some((took, what));
        }
        result
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = SimCluster::builder().start().await?;
    let plugin = CallTimes::default();
    let times = Arc::clone(&plugin.0);
    let connector = examples::simulated(&cluster, &cluster.cluster_endpoint())
        .register(plugin)
        .set("plugins", "call_times,initial_connection,connection_tracker,failover,efm")
        .build()?;
    let client = connector.connect().await?;
    client.batch_execute("CREATE TABLE visits (page text NOT NULL)").await?;
    client.execute("INSERT INTO visits (page) VALUES ($1)", &[&"/start"]).await?;
    cluster.fail_over().await?;
    let lost = client.execute("INSERT INTO visits (page) VALUES ($1)", &[&"/lost"]).await;
    let visits: i64 = client.query_one_scalar("SELECT count(*) FROM visits", &[]).await?;

    let (calls, failed) = (times.calls.load(Ordering::Relaxed), times.failed.load(Ordering::Relaxed));
    let slowest = times.slowest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (took, what) = slowest.ok_or("no call was timed")?;
    println!("{calls} calls, {failed} failed; the slowest took {took:?}: {what}");
    assert_eq!((calls, failed), (4, 1), "the plugin sees each call once, and the one that met the failover");
    assert!(lost.is_err() && visits == 1, "the lost call was not repeated");
    connector.shutdown().await;
    cluster.shutdown().await;
    Ok(())
}
