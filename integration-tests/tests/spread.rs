//! Connections through the reader endpoint, spread over the readers, and clusters that know nothing of each other:
//! scenarios 74 and 77 of the catalogue.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::collections::BTreeMap;

use common::{builder, connector, within};
use faults::{cluster, end, node_of};
use futures_util::future::join_all;
use integration_tests::{Flavour, LocalCluster, NodeId};
use wrapper_pg::{Connector, ErrorKind};

/// How many of `count` connections, opened at the same time, each node answers.
async fn opened(cluster: &LocalCluster, connector: &Connector, count: usize) -> BTreeMap<NodeId, usize> {
    let connects = (0..count).map(|_| connector.connect());
    let clients = within("the connects", join_all(connects)).await;
    let mut nodes = BTreeMap::new();
    for client in clients {
        let client = client.expect("connected");
        *nodes.entry(node_of(cluster, &client).await).or_default() += 1;
    }
    nodes
}

/// Scenario 74: connections opened at the same time are spread over the readers as the setting says, and never end on
/// the writer; a strategy that there is not is refused by name.
#[tokio::test(flavor = "multi_thread")]
async fn connects_to_the_reader_endpoint_are_spread() {
    let cluster = cluster(Flavour::Aurora).start().await.expect("the cluster starts");
    let readers = cluster.readers();
    let at = |strategy| {
        builder(&cluster, &cluster.reader_endpoint()).set("reader_host_selector_strategy", strategy)
    };
    let error = at("fewest_connections").build().expect_err("no such strategy");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    for named in ["reader_host_selector_strategy", "fewest_connections", "round_robin"] {
        assert!(error.to_string().contains(named), "{named} in: {error}");
    }
    for strategy in ["random", "round_robin"] {
        let connector = at(strategy).build().expect("valid");
        // The first connect learns the topology.
        drop(within("the connect", connector.connect()).await.expect("connected"));
        let nodes = opened(&cluster, &connector, 24).await;
        assert_eq!(nodes.keys().copied().collect::<Vec<_>>(), readers, "{strategy}: {nodes:?}");
        if strategy == "round_robin" {
            assert!(nodes.values().all(|count| *count == 12), "{strategy}: {nodes:?}");
        }
        end(connector).await;
    }
}

/// Scenario 77: two clusters in one process; one fails over, the other one's sessions and topology are not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_of_one_cluster_is_none_of_another() {
    let (shop, stock) = tokio::join!(
        cluster(Flavour::Aurora).name("shop").start(),
        cluster(Flavour::MultiAz).name("stock").start()
    );
    let (shop, stock) = (shop.expect("the cluster starts"), stock.expect("the cluster starts"));
    let (to_shop, to_stock) = (connector(&shop), connector(&stock));
    let in_shop = within("the connect", to_shop.connect()).await.expect("connected");
    let in_stock = within("the connect", to_stock.connect()).await.expect("connected");
    let record = shop.fail_over().await.expect("failed over");
    let error = within("the call", in_shop.query("SELECT 1", &[])).await.expect_err("the writer is gone");
    assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{error}");
    assert_eq!(node_of(&shop, &in_shop).await, record.new_writer);

    within("the call", in_stock.query("SELECT 1", &[])).await.expect("nothing has happened here");
    assert_eq!((in_stock.generation(), to_stock.reports().len()), (1, 0));
    assert_eq!(node_of(&stock, &in_stock).await, stock.writer());
    let writer = |connector: &Connector| {
        let known = connector.cluster().topology().expect("a topology");
        known.topology.writer().expect("a writer").host().to_owned()
    };
    assert_eq!(writer(&to_stock), stock.instance_endpoint(stock.writer()));
    assert_eq!(writer(&to_shop), shop.instance_endpoint(record.new_writer));
    end(to_shop).await;
    end(to_stock).await;
}
