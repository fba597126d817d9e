//! Holds a local cluster for a try by hand: prints where its nodes are, obeys verbs typed on standard input, and
//! ends with the input or Ctrl-C.
//!
//! ```text
//! cargo run -p integration-tests --bin local-cluster -- aurora proxy
//! cargo run -p integration-tests --bin local-cluster -- mysql multi-az
//! ```

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::run().await
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    Err("a local cluster needs Linux: the addresses 127.x.y.z and /proc".into())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;

    use integration_tests::{Cut, Flavour, FreezeScope, LocalCluster, MySqlCluster, NodeId};
    use tokio::io::{AsyncBufReadExt, BufReader};

    const VERBS: &str = "verbs: failover | switchover N | promote N | crash N | restart N | rejoin N | freeze N | thaw N | \
                         refuse N | reset N | stall N | heal N | truth | quit";

    pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
        let (mut mysql, mut proxy, mut flavour) = (false, false, Flavour::Plain);
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "mysql" => mysql = true,
                "plain" => flavour = Flavour::Plain,
                "aurora" => flavour = Flavour::Aurora,
                "multi-az" => flavour = Flavour::MultiAz,
                "proxy" => proxy = true,
                other => {
                    return Err(format!("{other:?}: expected mysql, plain, aurora, multi-az or proxy").into());
                }
            }
        }
        if mysql {
            mysql::hold(MySqlCluster::builder().flavour(flavour).with_proxy(proxy).start().await?).await
        } else {
            postgres::hold(LocalCluster::builder().flavour(flavour).with_proxy(proxy).start().await?).await
        }
    }

    fn node(number: &str) -> Result<NodeId, Box<dyn Error>> {
        let number: usize = number.trim().parse()?;
        let node = number.checked_sub(1).and_then(|index| NodeId::ALL.get(index)).copied();
        node.ok_or_else(|| "expected node 1, 2 or 3".into())
    }

    /// The two kinds of cluster have the same verbs, each its own.
    macro_rules! holder {
        ($module:ident, $cluster:ty) => {
            mod $module {
                use super::*;

                pub(super) async fn hold(cluster: $cluster) -> Result<(), Box<dyn Error>> {
                    println!("folder {}", cluster.folder().display());
                    println!("cluster endpoint {}", cluster.cluster_endpoint());
                    let app = cluster.app();
                    for node in cluster.nodes() {
                        let (instance, address) = (cluster.instance(node), cluster.address(node));
                        let (user, password) = (&app.user, &app.password);
                        let scheme = stringify!($module);
                        println!("{instance} {scheme}://{user}:{password}@{address}/{}", app.database);
                    }
                    println!("{VERBS}");
                    let mut lines = BufReader::new(tokio::io::stdin()).lines();
                    loop {
                        let line = tokio::select! {
                            biased;
                            interrupt = tokio::signal::ctrl_c() => { interrupt?; break }
                            line = lines.next_line() => line?,
                        };
                        match line.as_deref().map(str::trim) {
                            None | Some("quit") => break,
                            Some("") => {}
                            Some(line) => match obey(&cluster, line).await {
                                Ok(answer) => println!("{answer}"),
                                Err(error) => println!("{error}"),
                            },
                        }
                    }
                    cluster.stop().await;
                    Ok(())
                }

                async fn obey(cluster: &$cluster, line: &str) -> Result<String, Box<dyn Error>> {
                    let (verb, number) = line.split_once(' ').unwrap_or((line, ""));
                    let node = || node(number);
                    match verb {
                        "failover" => return Ok(cluster.fail_over().await?.to_string()),
                        "switchover" => return Ok(cluster.planned_switchover(node()?).await?.to_string()),
                        "promote" => return Ok(cluster.promote(node()?).await?.to_string()),
                        "truth" => return Ok(format!("{:?}", cluster.truth().await)),
                        "crash" => cluster.crash(node()?).await?,
                        "restart" => cluster.restart(node()?).await?,
                        "rejoin" => cluster.rejoin(node()?).await?,
                        "freeze" => cluster.freeze(node()?, FreezeScope::AllProcesses).await?,
                        "thaw" => cluster.thaw(node()?).await?,
                        "refuse" => cluster.refuse(node()?).await?,
                        "reset" => cluster.cut(node()?, Cut::Reset).await?,
                        "stall" => cluster.cut(node()?, Cut::StallBothWays).await?,
                        "heal" => cluster.heal(node()?).await?,
                        _ => return Err(VERBS.into()),
                    }
                    Ok("done".to_owned())
                }
            }
        };
    }

    holder!(postgres, LocalCluster);
    holder!(mysql, MySqlCluster);
}
