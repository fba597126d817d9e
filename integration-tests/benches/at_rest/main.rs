//! What an idle client costs: memory on top of the driver's own, and connections on the servers, at rest and while
//! the writer fails over.
//!
//! ```text
//! cargo bench -p integration-tests --bench at_rest [-- --clients 1,100,1000] [--write]
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; this program measures a real cluster"
)]

#[path = "../support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: support::alloc::Counting = support::alloc::Counting;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    linux::run(&arguments).await
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("a local cluster needs Linux: nothing is measured");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::Duration;

    use integration_tests::local::ConnectionFilter;
    use integration_tests::{Flavour, LocalCluster};
    use tokio_postgres::NoTls;

    use crate::support::cluster::connector;
    use crate::support::page::Table;
    use crate::support::{Arguments, Outcome, alloc};

    const HEADING: [&str; 6] = [
        "clients",
        "bare, bytes per connection",
        "wrapped, bytes on top",
        "library's connections at rest",
        "most in failover",
        "after it",
    ];
    const SETTLE: Duration = Duration::from_millis(1500);

    pub(crate) async fn run(arguments: &Arguments) -> Outcome {
        let list: String = arguments.value("--clients")?.unwrap_or_else(|| "1,100,1000".to_owned());
        let counts: Vec<usize> = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let most = counts.iter().copied().max().unwrap_or(1);
        let mut table = Table::new(&HEADING);
        for clients in counts {
            let cluster = LocalCluster::builder()
                .flavour(Flavour::Aurora)
                .max_connections(u32::try_from(most)? + 100)
                .promotion_time(Duration::from_secs(1)..=Duration::from_secs(1))
                .start()
                .await?;
            table.row(row(&cluster, clients).await?);
            cluster.stop().await;
        }
        table.print();
        if arguments.has("--write") {
            table.write("at_rest", &arguments.command("at_rest"), &[])?;
        }
        Ok(())
    }

    async fn row(cluster: &LocalCluster, clients: usize) -> Outcome<[String; 6]> {
        let bare = bare(cluster, clients).await?;
        let connector = connector(cluster).build()?;
        // The first client brings the cluster's own state: topology, monitor, its connection.
        let first = connector.connect().await?;
        tokio::time::sleep(SETTLE).await;
        let before = alloc::live();
        let mut open = Vec::with_capacity(clients);
        let list = alloc::live();
        for _ in 0..clients {
            open.push(connector.connect().await?);
        }
        tokio::time::sleep(SETTLE).await;
        let wrapped = (alloc::live() - list) as f64 / clients as f64;
        drop(first);
        tokio::time::sleep(SETTLE).await;
        let rest = monitors(cluster).await?;
        let lost = cluster.fail_over();
        let mut calls = tokio::task::JoinSet::new();
        for client in open {
            // Each client meets the failure by a call of its own, as in a service under load.
            calls.spawn(async move {
                let answer = client.simple_query("SELECT pg_sleep(1.2)").await;
                (client, answer.is_ok())
            });
        }
        let mut busiest = 0;
        let mut lost = std::pin::pin!(lost);
        loop {
            tokio::select! {
                biased;
                record = &mut lost => { record?; break }
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    busiest = busiest.max(monitors(cluster).await?);
                }
            }
        }
        let mut survivors = Vec::new();
        while let Some(ended) = calls.join_next().await {
            survivors.push(ended?.0);
            busiest = busiest.max(monitors(cluster).await?);
        }
        tokio::time::sleep(SETTLE).await;
        let after = monitors(cluster).await?;
        let on_writer = cluster
            .count_connections(cluster.writer(), &ConnectionFilter::all().user(cluster.app().user))
            .await?;
        println!("{clients} clients: {on_writer} connections on the new writer, {} bytes before", before);
        drop(survivors);
        connector.shutdown().await;
        Ok([
            clients.to_string(),
            format!("{bare:.0}"),
            format!("{:.0}", wrapped - bare),
            rest.to_string(),
            busiest.to_string(),
            after.to_string(),
        ])
    }

    /// Bytes that a connection of the bare driver holds, its task included.
    async fn bare(cluster: &LocalCluster, clients: usize) -> Outcome<f64> {
        let config = cluster.app_config(cluster.writer());
        let mut open = Vec::with_capacity(clients);
        let before = alloc::live();
        for _ in 0..clients {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(async move {
                // Its error reaches the client's calls.
                let _ = connection.await;
            });
            open.push(client);
        }
        tokio::time::sleep(SETTLE).await;
        let bytes = (alloc::live() - before) as f64 / clients as f64;
        drop(open);
        tokio::time::sleep(SETTLE).await;
        Ok(bytes)
    }

    /// The library's own connections on all servers that answer.
    async fn monitors(cluster: &LocalCluster) -> Outcome<u64> {
        let filter = ConnectionFilter::all().application(wrapper_pg::MONITOR_APPLICATION_NAME);
        let mut sum = 0;
        for node in cluster.nodes() {
            // A server that is down holds none.
            sum += cluster.count_connections(node, &filter).await.unwrap_or(0);
        }
        Ok(sum)
    }
}
