//! A plugin of one's own: it times every call, and is named in the setting `plugins` beside those of the library.
//!
//! Runs anywhere: the cluster is simulated in this process. `call_times.rs` holds the plugin, `tests.rs` its tests on the
//! library's test kit; `docs/writing-plugins.md` leads through both.
//!
//! ```text
//! cargo run -p examples --bin custom-plugin
//! cargo test -p examples --bin custom-plugin
//! ```

mod call_times;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use call_times::CallTimes;
use integration_tests::sim::SimCluster;

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
