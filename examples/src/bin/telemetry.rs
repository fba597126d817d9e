//! Metrics and logs of a failover: the library speaks to the facades `metrics` and `tracing`, the application chooses
//! what listens. Here that is Prometheus' text format and lines on the console.
//!
//! Runs anywhere: the cluster is simulated in this process.
//!
//! ```text
//! cargo run -p examples --features telemetry --bin telemetry
//! RUST_LOG=aws_wrapper=debug cargo run -p examples --features telemetry --bin telemetry
//! ```

use std::error::Error;

use integration_tests::sim::SimCluster;
use metrics_exporter_prometheus::PrometheusBuilder;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;
use wrapper_pg::ErrorKind;
use wrapper_pg::core::observe::{MetricsObserver, TracingObserver};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new("aws_wrapper=info"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stdout).with_ansi(false).init();
    // An application would serve this page; here it is printed at the end.
    let page = PrometheusBuilder::new().set_buckets(&[0.001, 0.01, 0.1, 1.0, 10.0])?.install_recorder()?;

    let cluster = SimCluster::builder().start().await?;
    let connector = examples::simulated(&cluster, &cluster.cluster_endpoint())
        .set("plugins", "connect_time,execute_time,initial_connection,connection_tracker,failover,efm")
        .set("execute_time_slow", "100ms")
        .observer(TracingObserver::new())
        .observer(MetricsObserver::new().label("cluster", "shop"))
        .build()?;
    let client = connector.connect().await?;
    client.batch_execute("CREATE TABLE visits (page text NOT NULL)").await?;

    // The spans of the calls stand in the span of the request, the failover's span follows from them.
    let request = async {
        cluster.fail_over().await?;
        match client.execute("INSERT INTO visits (page) VALUES ('/lost')", &[]).await {
            Err(error) if error.kind() == ErrorKind::FailoverSucceeded => {}
            other => return Err(format!("the call did not meet the failover: {other:?}").into()),
        }
        client.execute("INSERT INTO visits (page) VALUES ('/found')", &[]).await?;
        Ok::<_, Box<dyn Error>>(())
    };
    request.instrument(tracing::info_span!("request", page = "/found")).await?;
    connector.shutdown().await;
    cluster.shutdown().await;

    let page = page.render();
    println!("\n{page}");
    for expected in [
        r#"aws_wrapper_failovers_total{cluster="shop",role="writer",outcome="ok"} 1"#,
        r#"aws_wrapper_writer_changes_total{cluster="shop"} 1"#,
        r#"aws_wrapper_call_duration_seconds_count{cluster="shop",method="execute",outcome="error"} 1"#,
        r#"aws_wrapper_call_duration_seconds_count{cluster="shop",method="execute",outcome="ok"} 1"#,
        r#"aws_wrapper_connect_duration_seconds_count{cluster="shop",purpose="session",outcome="ok"} 1"#,
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    Ok(())
}
