//! The settings of the topology monitor.

use wrapper_core::observe::Event;

use crate::script::{Entry, Events, Health, Script, What, about, instance, ms, open, secs, work};

fn is_topology(entry: &Entry) -> bool {
    entry.what == What::Topology
}

#[tokio::test(start_paused = true)]
async fn topology_refresh_is_the_interval_when_all_is_well() {
    for (text, wanted) in [("topology_refresh=5s", 11..=13), ("topology_refresh=20s", 2..=4)] {
        let script = Script::new(2);
        let connector = script.connector(text);
        let client = open(&connector).await.expect("all is well");
        // The first half minute is at the high rate.
        tokio::time::sleep(secs(40)).await;
        let since = script.now();
        tokio::time::sleep(secs(60)).await;
        let asked = script.logged(since, is_topology).len();
        assert!(wanted.contains(&asked), "{text}: {asked}");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn topology_high_refresh_is_the_interval_after_a_new_writer() {
    for (text, wanted) in [("", 90..=101), ("topology_high_refresh=1s", 9..=11)] {
        let script = Script::new(2);
        let connector = script.connector(text);
        let client = open(&connector).await.expect("all is well");
        tokio::time::sleep(secs(1)).await;
        let since = script.now();
        tokio::time::sleep(secs(10)).await;
        let asked = script.logged(since, is_topology).len();
        assert!(wanted.contains(&asked), "{text}: {asked}");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn topology_panic_interval_is_the_pause_between_questions_to_a_host_in_a_search() {
    for (text, wanted) in [("", 700..=1000), ("topology_panic_interval=100ms", 90..=102)] {
        let script = Script::new(3);
        let connector = script.connector(&format!("{text} failover_timeout=30s"));
        let client = open(&connector).await.expect("all is well");
        tokio::time::sleep(secs(2)).await;
        script.no_writer();
        script.health("i1", Health::Down);
        let failing = async { work(&client, ms(1)).await.expect_err("no writer") };
        let count = async {
            tokio::time::sleep(secs(1)).await;
            let since = script.now();
            tokio::time::sleep(secs(10)).await;
            let asked = |entry: &Entry| entry.node == "i2" && entry.what == What::Status;
            let asked = script.logged(since, asked).len();
            assert!(wanted.contains(&asked), "{text}: {asked}");
        };
        tokio::join!(failing, count);
    }
}

#[tokio::test(start_paused = true)]
async fn topology_monitoring_connect_timeout_bounds_a_connect_of_the_monitor() {
    for (text, longest) in [("", secs(5)), ("topology_monitoring_connect_timeout=1", secs(1))] {
        let script = Script::new(2);
        let connector = script.connector(&format!("{text} failover_timeout=40s plugins=failover"));
        let client = open(&connector).await.expect("all is well");
        script.all(Health::Silent);
        client.close();
        let since = script.now();
        let error = connector.cluster().core().search_writer(deadline(40)).await.expect_err("nobody answers");
        let limits: Vec<_> = script
            .logged(since, |entry| entry.name == instance("i2"))
            .into_iter()
            .filter_map(|entry| match entry.what {
                What::Connect { session: false, limit } => Some(limit),
                _ => None,
            })
            .collect();
        assert!(limits.len() > 3 && limits.iter().max() == Some(&longest), "{text}: {limits:?} {error}");
    }
}

fn deadline(seconds: u64) -> wrapper_core::env::Deadline {
    wrapper_core::env::Deadline::after(secs(seconds), "failover_timeout")
}

#[tokio::test(start_paused = true)]
async fn topology_monitoring_socket_timeout_bounds_a_question_of_the_monitor() {
    for (text, wanted) in [("", secs(5)), ("topology_monitoring_socket_timeout=2", secs(2))] {
        let script = Script::new(2);
        let (connector, events) = script.watched(&format!("{text} plugins=failover"));
        let client = open(&connector).await.expect("all is well");
        tokio::time::sleep(secs(2)).await;
        script.all(Health::Silent);
        let began = script.now();
        tokio::time::sleep(secs(10)).await;
        let searches = events.times(|event| matches!(event, Event::SearchStarted));
        let first = searches.into_iter().find(|at| *at > began).expect("a search") - began;
        // The question goes out at the high rate.
        assert!(about(first, wanted + ms(100)), "{text}: {first:?}");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_monitor_waiting_for_a_silent_host_searches_as_soon_as_it_is_asked_to() {
    let script = Script::new(3);
    let connector = script.connector("topology_monitoring_socket_timeout=30 plugins=failover");
    let client = open(&connector).await.expect("all is well");
    tokio::time::sleep(secs(2)).await;
    script.health("i1", Health::Silent);
    script.edit("i2", |node| node.writer = true);
    // The monitor's question to the silent writer is under way, and may wait for half a minute.
    tokio::time::sleep(secs(5)).await;
    let began = script.now();
    let found = connector.cluster().core().search_writer(deadline(20)).await.expect("the new writer");
    assert_eq!(found.topology.writer().map(|writer| writer.host().to_owned()), Some(instance("i2")));
    assert!(script.now() - began < secs(1), "{:?}", script.now() - began);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn max_monitor_connections_caps_the_monitors() {
    for (text, most) in [("", 6), ("max_monitor_connections=2", 2)] {
        let script = Script::new(6);
        let connector = script.connector(&format!("{text} failover_timeout=20s"));
        let client = open(&connector).await.expect("all is well");
        tokio::time::sleep(secs(2)).await;
        script.health("i1", Health::Silent);
        script.promote("i5");
        script.health("i2", Health::Silent);
        let found = connector.cluster().core().search_writer(deadline(20)).await;
        assert_eq!(script.most_monitors(), most, "{text}");
        assert!(found.is_ok(), "they take turns: {found:?}");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn auto_sort_wrapper_plugin_order_sorts_or_refuses_a_wrong_order() {
    let script = Script::new(2);
    let sorted = script.connector("plugins=efm,failover");
    open(&sorted).await.expect("all is well");
    let settings = script.settings("plugins=efm,failover auto_sort_wrapper_plugin_order=false");
    let error = script.try_connector(settings, Events::default()).expect_err("a wrong order").to_string();
    assert!(error.contains("`efm`") && error.contains("`failover`"), "{error}");
    let settings = script.settings("plugins=failover,efm auto_sort_wrapper_plugin_order=false");
    assert!(script.try_connector(settings, Events::default()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn plugins_names_the_plugins_in_use() {
    let script = Script::new(2);
    for (text, wanted) in [
        ("plugins=none", "plugins in use: "),
        ("plugins=failover", "plugins in use: failover"),
        ("", "plugins in use: initial_connection, connection_tracker, failover, efm"),
    ] {
        let explained = script.connector(text).explain();
        assert_eq!(explained.lines().last(), Some(wanted));
    }
    let connector = script.connector("plugins=none");
    let client = open(&connector).await.expect("all is well");
    assert_eq!(script.monitors(), 0, "no plugin needs the topology");
    script.health("i1", Health::Down);
    let error = work(&client, ms(1)).await.expect_err("nobody fails over");
    assert_eq!(error.kind(), wrapper_core::ErrorKind::Network);
}
