//! Every event of a cluster, told to an observer: for logs, metrics and alarms of one's own.
//!
//! Runs anywhere: the cluster is simulated in this process.
//!
//! ```text
//! cargo run -p examples --bin observer
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use integration_tests::sim::SimCluster;
use wrapper_pg::ErrorKind;
use wrapper_pg::core::observe::{Event, Observer};

/// Prints events, and counts them by kind.
#[derive(Clone, Debug, Default)]
struct Printer(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl Observer for Printer {
    // Called where the event happens: it must not block. An application would send it to a channel.
    fn on_event(&self, event: &Event) {
        let (kind, text) = match event {
            Event::Topology(published) => ("topology", published.topology.to_string()),
            Event::WriterChanged { from: Some(from), to } => {
                ("writer changed", format!("from {} to {}", from.short_name(), to.short_name()))
            }
            Event::WriterChanged { from: None, to } => ("writer found", to.short_name().to_owned()),
            Event::SearchStarted => ("search", "which host is the writer?".to_owned()),
            Event::Switched(report) => ("switched", format!("\n{report}")),
            Event::HostSilent { host, failures, closed } => {
                ("host silent", format!("{host}: {failures} failures, {closed} connections closed"))
            }
            Event::Decision { error, action } => ("decision", format!("{action}: {error}")),
            Event::Warning(text) => ("warning", text.clone()),
            other => ("other", format!("{other:?}")),
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(kind).or_default();
        *count += 1;
        // After a failover the topology is read ten times a second for a while.
        if kind != "topology" || *count <= 3 {
            println!("{kind}: {text}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = SimCluster::builder().start().await?;
    let printer = Printer::default();
    let connector =
        examples::simulated(&cluster, &cluster.cluster_endpoint()).observer(printer.clone()).build()?;
    let client = connector.connect().await?;
    client.simple_query("SELECT 1").await?;
    cluster.fail_over().await?;
    let error = client.simple_query("SELECT 1").await.err().ok_or("the call did not meet the failover")?;
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    client.simple_query("SELECT 1").await?;
    connector.shutdown().await;
    cluster.shutdown().await;

    let counts = printer.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!("\n{counts:?}");
    assert_eq!((counts.get("writer changed"), counts.get("switched")), (Some(&1), Some(&1)));
    assert!(counts.contains_key("topology") && counts.contains_key("search"));
    Ok(())
}
