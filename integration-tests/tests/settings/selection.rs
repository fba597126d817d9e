//! The settings of choosing a reader.

use std::collections::BTreeMap;

use wrapper_core::connector::ConnectorCore;

use crate::script::{Health, Script, ms, open, reader_endpoint, work};

/// On how many of `turns` connects to the reader endpoint each instance was chosen.
async fn chosen(script: &Script, connector: &ConnectorCore, turns: usize) -> BTreeMap<String, usize> {
    open(connector).await.expect("the first one asks the endpoint");
    let mut counts = BTreeMap::new();
    for _ in 0..turns {
        let client = open(connector).await.expect("all is well");
        *counts.entry(work(&client, ms(1)).await.expect("a call")).or_default() += 1;
    }
    let _ = script;
    counts
}

fn connector(script: &Script, text: &str) -> ConnectorCore {
    script.connector(&format!("host={} {text}", reader_endpoint()))
}

fn counts<const N: usize>(of: [(&str, usize); N]) -> BTreeMap<String, usize> {
    of.into_iter().map(|(id, count)| (id.to_owned(), count)).collect()
}

#[tokio::test(start_paused = true)]
async fn reader_host_selector_strategy_holds_where_a_plugin_has_none_of_its_own() {
    for text in [
        "reader_host_selector_strategy=round_robin",
        "reader_initial_connection_host_selector_strategy=round_robin reader_host_selector_strategy=random",
    ] {
        let script = Script::new(4);
        let connector = connector(&script, text);
        let counted = chosen(&script, &connector, 9).await;
        assert_eq!(
            counted,
            counts([("i2", 3), ("i3", 3), ("i4", 3)]),
            "{text}: one rotation for all connects"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn reader_initial_connection_host_selector_strategy_chooses_on_connect() {
    let script = Script::new(4);
    script.edit("i3", |node| node.lag = 1.0);
    let text = "reader_initial_connection_host_selector_strategy=lowest_load";
    let connector = connector(&script, text);
    assert_eq!(chosen(&script, &connector, 5).await, counts([("i3", 5)]));
}

#[tokio::test(start_paused = true)]
async fn failover_reader_host_selector_strategy_orders_the_readers_of_a_failover() {
    for text in [
        "failover_reader_host_selector_strategy=highest_load",
        "reader_host_selector_strategy=highest_load",
        "failover_reader_host_selector_strategy=highest_load reader_host_selector_strategy=lowest_load",
    ] {
        let script = Script::new(4);
        script.edit("i4", |node| node.cpu = 90.0);
        script.edit("i2", |node| node.cpu = 1.0);
        let connector = script.connector(&format!("failover_mode=strict_reader {text}"));
        let client = open(&connector).await.expect("all is well");
        script.health("i1", Health::Down);
        work(&client, ms(1)).await.expect_err("the host is gone");
        assert_eq!(work(&client, ms(1)).await.expect("a call"), "i4", "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_shared_by_the_failovers_of_a_cluster() {
    let script = Script::new(4);
    let text = "failover_mode=strict_reader failover_reader_host_selector_strategy=round_robin";
    let connector = script.connector(text);
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(open(&connector).await.expect("all is well"));
    }
    script.health("i1", Health::Down);
    let mut landed = BTreeMap::new();
    for client in &clients {
        work(client, ms(1)).await.expect_err("the host is gone");
        *landed.entry(work(client, ms(1)).await.expect("a call")).or_default() += 1;
    }
    assert_eq!(landed, counts([("i2", 2), ("i3", 2), ("i4", 2)]));
}

#[tokio::test(start_paused = true)]
async fn round_robin_weights_repeat_a_host() {
    for (text, wanted) in [
        ("round_robin_host_weight_pairs=i2:3", counts([("i2", 9), ("i3", 3), ("i4", 3)])),
        (
            "round_robin_host_weight_pairs=i2:1 round_robin_default_weight=2",
            counts([("i2", 3), ("i3", 6), ("i4", 6)]),
        ),
    ] {
        let script = Script::new(4);
        let connector = connector(&script, &format!("reader_host_selector_strategy=round_robin {text}"));
        assert_eq!(chosen(&script, &connector, 15).await, wanted, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn weighted_random_weights_are_probabilities() {
    for (text, favourite) in [
        ("weighted_random_host_weight_pairs=i3:1000000", "i3"),
        ("weighted_random_host_weight_pairs=i3:1,i2:1 weighted_random_default_weight=1000000", "i4"),
    ] {
        let script = Script::new(4);
        let connector = connector(&script, &format!("reader_host_selector_strategy=weighted_random {text}"));
        assert_eq!(chosen(&script, &connector, 30).await, counts([(favourite, 30)]), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn load_weights_decide_which_host_is_the_busiest() {
    // i2 has little lag and much CPU, i3 the other way round.
    for (text, wanted) in [
        ("reader_host_selector_strategy=lowest_load", "i2"),
        (
            "reader_host_selector_strategy=lowest_load lowest_load_cpu_weight=100 lowest_load_lag_weight=0",
            "i3",
        ),
        ("reader_host_selector_strategy=lowest_load lowest_load_lag_weight=1 lowest_load_cpu_weight=2", "i3"),
        ("reader_host_selector_strategy=highest_load", "i3"),
        (
            "reader_host_selector_strategy=highest_load highest_load_cpu_weight=100 highest_load_lag_weight=0",
            "i2",
        ),
        (
            "reader_host_selector_strategy=highest_load highest_load_lag_weight=1 highest_load_cpu_weight=2",
            "i2",
        ),
    ] {
        let script = Script::new(3);
        script.edit("i2", |node| (node.lag, node.cpu) = (10.0, 60.0));
        script.edit("i3", |node| (node.lag, node.cpu) = (40.0, 20.0));
        let connector = connector(&script, text);
        assert_eq!(chosen(&script, &connector, 3).await, counts([(wanted, 3)]), "{text}");
    }
}
