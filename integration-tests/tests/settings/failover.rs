//! The settings of failover and of host monitoring.

use wrapper_core::ErrorKind;
use wrapper_core::observe::Event;

use crate::script::{
    Entry, Health, Script, What, about, ms, open, reader_endpoint, secs, work, writer_endpoint,
};

#[tokio::test(start_paused = true)]
async fn enable_failover_switches_the_plugin_off() {
    for (text, wanted) in [("", ErrorKind::FailoverSucceeded), ("enable_failover=false", ErrorKind::Network)]
    {
        let script = Script::new(2);
        let connector = script.connector(text);
        let client = open(&connector).await.expect("all is well");
        script.health("i1", Health::Down);
        script.promote("i2");
        let error = work(&client, ms(1)).await.expect_err("the host is gone");
        assert_eq!(error.kind(), wanted, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn failover_mode_decides_which_host_is_looked_for() {
    for (host, mode, wanted) in [
        (writer_endpoint(), "", Some("i3")),
        (writer_endpoint(), "failover_mode=strict_writer", Some("i3")),
        (writer_endpoint(), "failover_mode=strict-reader", Some("i2")),
        (reader_endpoint(), "failover_mode=strict_writer", Some("i3")),
        (reader_endpoint(), "failover_mode=STRICT_READER", Some("i1")),
        // A reader endpoint takes any host.
        (reader_endpoint(), "", None),
    ] {
        let script = Script::new(3);
        let connector =
            script.connector(&format!("host={host} {mode} wrapper_dialect=aurora-pg connect_timeout=5"));
        // The session is to stand on the endpoint's host, whatever the draw.
        let session = script.connector(&format!("host={host} {mode} endpoint_substitution_role=none"));
        drop(connector);
        let client = open(&session).await.expect("all is well");
        let stands_on = work(&client, ms(1)).await.expect("a call");
        script.promote("i3");
        script.health(&stands_on, Health::Down);
        let error = work(&client, ms(1)).await.expect_err("the host is gone");
        assert_eq!(error.kind(), ErrorKind::FailoverSucceeded, "{host} {mode}: {error}");
        let found = work(&client, ms(1)).await.expect("a call");
        assert_ne!(found, stands_on);
        assert!(wanted.is_none_or(|wanted| wanted == found), "{host} {mode}: {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn failover_timeout_bounds_a_failover() {
    let script = Script::new(2);
    let connector = script.connector("failover_timeout=7s");
    let client = open(&connector).await.expect("all is well");
    script.all(Health::Down);
    let began = script.now();
    let error = work(&client, ms(1)).await.expect_err("nobody is left");
    assert_eq!(error.kind(), ErrorKind::FailoverFailed, "{error}");
    assert!(about(script.now() - began, secs(7)), "{:?}", script.now() - began);
    assert!(error.to_string().contains("`failover_timeout` is 7s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn failover_reader_connect_timeout_bounds_the_connect_to_one_reader() {
    for (text, wanted) in [("", secs(10)), ("failover_reader_connect_timeout=2s", secs(2))] {
        let script = Script::new(3);
        let connector = script.connector(&format!("failover_mode=strict_reader failover_timeout=60s {text}"));
        let client = open(&connector).await.expect("all is well");
        script.all(Health::Silent);
        script.health("i1", Health::Down);
        let since = script.now();
        let failing = async { work(&client, ms(1)).await };
        let _ = tokio::time::timeout(secs(5), failing).await;
        let limits: Vec<_> = script
            .logged(since, |entry| entry.node == "i2")
            .into_iter()
            .filter_map(|entry| match entry.what {
                What::Connect { session: true, limit } => Some(limit),
                _ => None,
            })
            .collect();
        assert!(!limits.is_empty() && limits.iter().all(|limit| about(*limit, wanted)), "{text}: {limits:?}");
    }
}

/// A session whose host falls silent, watched by settings.
async fn silent(text: &str) -> (Script, std::time::Duration, Vec<Entry>, crate::script::Events) {
    let script = Script::new(2);
    let (connector, events) = script.watched(&format!("plugins=efm {text}"));
    let client = open(&connector).await.expect("all is well");
    let began = script.now();
    script.health("i1", Health::Silent);
    let call = work(&client, ms(1));
    let ended = tokio::time::timeout(secs(200), call).await;
    let took = script.now() - began;
    if let Ok(ended) = ended {
        assert_eq!(ended.expect_err("silent").kind(), ErrorKind::HostSilent);
    }
    let probes = script.logged(began, |entry| {
        entry.node == "i1" && matches!(entry.what, What::Connect { session: false, .. } | What::Ping)
    });
    drop((client, connector));
    (script, took, probes, events)
}

#[tokio::test(start_paused = true)]
async fn failure_detection_enabled_switches_the_plugin_off() {
    let quick = "failure_detection_time=1s failure_detection_interval=200ms";
    let (_, took, probes, events) = silent(&format!("{quick} failure_detection_enabled=false")).await;
    assert!(took >= secs(200) && probes.is_empty());
    assert!(events.times(|event| matches!(event, Event::HostSilent { .. })).is_empty());
    let (_, took, probes, events) = silent(quick).await;
    assert!(took < secs(3) && !probes.is_empty());
    assert_eq!(events.times(|event| matches!(event, Event::HostSilent { .. })).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failure_detection_time_is_the_grace_of_a_call() {
    for grace in [5, 20] {
        let text = format!(
            "failure_detection_time={grace}s failure_detection_interval=1s failure_detection_count=1"
        );
        let (_, took, probes, _) = silent(&text).await;
        assert!(about(took, secs(grace + 1)) || about(took, secs(grace)), "{grace}: {took:?}");
        assert!(!probes.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn failure_detection_interval_and_count_decide_when_a_host_is_silent() {
    for (interval, count) in [(1_u64, 3_u32), (2, 3), (1, 6)] {
        let text = format!(
            "failure_detection_time=1s failure_detection_interval={interval}s failure_detection_count={count}"
        );
        let (_, took, probes, _) = silent(&text).await;
        // The first probe after the grace, `count` in a row, each as long as the interval.
        let formula = secs(1_u64.max(interval)) + secs(interval) * count;
        assert!(took <= formula + ms(50) && took + secs(interval) + ms(50) >= formula, "{text}: {took:?}");
        assert_eq!(probes.len(), count as usize, "{text}: {probes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn monitoring_connect_timeout_and_socket_timeout_bound_a_probe() {
    let limits = |probes: &[Entry]| -> Vec<std::time::Duration> {
        let limit = |entry: &Entry| match entry.what {
            What::Connect { limit, .. } => Some(limit),
            _ => None,
        };
        probes.iter().filter_map(limit).collect()
    };
    let text = "failure_detection_time=1s failure_detection_interval=10s failure_detection_count=2";
    for (more, wanted) in [
        ("", secs(3)),
        ("monitoring_connect_timeout=6", secs(6)),
        ("monitoring_connect_timeout=3 monitoring_socket_timeout=1", secs(3)),
        ("monitoring_socket_timeout=1", secs(1)),
    ] {
        let (_, _, probes, _) = silent(&format!("{text} {more}")).await;
        let limits = limits(&probes);
        assert!(limits.len() == 2 && limits.iter().all(|limit| about(*limit, wanted)), "{more}: {limits:?}");
    }
    // A host that lets in and does not answer: the probe's own time counts.
    let script = Script::new(2);
    let (connector, events) = script.watched(&format!("plugins=efm {text} monitoring_socket_timeout=2"));
    let client = open(&connector).await.expect("all is well");
    script.health("i1", Health::Mute);
    let began = script.now();
    work(&client, ms(1)).await.expect_err("silent");
    assert_eq!(events.times(|event| matches!(event, Event::HostSilent { .. })).len(), 1);
    let took = script.now() - began;
    assert!(took >= secs(12) && took <= secs(23), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn monitor_disposal_time_ends_a_monitor_that_nobody_needs() {
    for (text, wanted) in [("", 600_u64), ("monitor_disposal_time=60s", 60)] {
        let script = Script::new(2);
        let connector = script.connector(&format!(
            "plugins=efm failure_detection_time=1s failure_detection_interval=1s {text}"
        ));
        let client = open(&connector).await.expect("all is well");
        let before = connector.cluster().task_count();
        work(&client, secs(3)).await.expect("a call that is watched");
        assert_eq!(connector.cluster().task_count(), before + 1, "the host's monitor");
        tokio::time::sleep(secs(wanted - 5)).await;
        assert_eq!(connector.cluster().task_count(), before + 1, "{text}: too early");
        tokio::time::sleep(secs(10)).await;
        assert_eq!(connector.cluster().task_count(), before, "{text}: too late");
        assert_eq!(script.monitors(), 0);
    }
}
