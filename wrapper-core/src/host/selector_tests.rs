//! Tests of the host selectors.

use std::collections::BTreeMap;

use super::*;
use crate::host::HostRole;

fn hosts(names: &[&str]) -> Vec<HostInfo> {
    names
        .iter()
        .map(|name| HostInfo::new(&format!("{name}.example.com"), 5432, HostRole::Reader).with_id(name))
        .collect()
}

fn picks(strategy: &str, options: &SelectorOptions, hosts: &[HostInfo], count: usize) -> Vec<String> {
    let env = Environment::builder().seed(7).build();
    let selector = Strategy::parse(strategy).unwrap().selector(options, &env);
    let hosts: Vec<&HostInfo> = hosts.iter().collect();
    (0..count).map(|_| selector.pick(&hosts, &env).unwrap().short_name().to_owned()).collect()
}

fn histogram(picks: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for pick in picks {
        *counts.entry(pick.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn every_strategy_picks_nothing_from_nothing_and_the_only_host_from_one() {
    let env = Environment::builder().seed(7).build();
    let one = hosts(&["a"]);
    for strategy in Strategy::ALL {
        let selector = strategy.selector(&SelectorOptions::default(), &env);
        assert_eq!(selector.pick(&[], &env), None, "{strategy}");
        assert_eq!(selector.pick(&[&one[0]], &env), Some(&one[0]), "{strategy}");
    }
}

#[test]
fn random_reaches_every_host_about_equally() {
    let picks = picks("random", &SelectorOptions::default(), &hosts(&["a", "b", "c"]), 3000);
    for (host, count) in histogram(&picks) {
        assert!((850..1150).contains(&count), "{host}: {count}");
    }
}

#[test]
fn round_robin_takes_turns_by_name_whatever_the_order_of_the_list() {
    let options = SelectorOptions::default();
    let forward = picks("roundRobin", &options, &hosts(&["a", "b", "c"]), 6);
    let backward = picks("round_robin", &options, &hosts(&["c", "b", "a"]), 6);
    assert_eq!(forward, backward);
    assert_eq!(forward[..3], forward[3..]);
    assert_eq!(histogram(&forward), BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]));
}

#[test]
fn weights_hold_exactly_in_turn_and_roughly_at_random() {
    let weights = HostWeights::parse("a:3, B.example.com:2").unwrap();
    let options = SelectorOptions {
        round_robin: weights.clone(),
        weighted_random: weights.with_default(5),
        ..SelectorOptions::default()
    };
    let hosts = hosts(&["a", "b", "c"]);
    let turns = picks("round_robin", &options, &hosts, 60);
    assert_eq!(histogram(&turns), BTreeMap::from([("a", 30), ("b", 20), ("c", 10)]));
    let drawn = picks("weighted-random", &options, &hosts, 10_000);
    let counts = histogram(&drawn);
    for (host, expected) in [("a", 3000_usize), ("b", 2000), ("c", 5000)] {
        assert!(counts[host].abs_diff(expected) < 250, "{host}: {}", counts[host]);
    }
}

#[test]
fn load_follows_lag_and_cpu_and_draws_among_equals() {
    let mut list = hosts(&["cpu", "lag", "unknown"]);
    list[0].lag = Some(Duration::from_millis(1));
    list[0].cpu = Some(90.0);
    list[1].lag = Some(Duration::from_millis(400));
    list[1].cpu = Some(5.0);
    let options = SelectorOptions::default();
    for (strategy, expected) in [
        ("lowest_load", "cpu"),
        ("lowestLoadByLag", "cpu"),
        ("lowest_load_by_cpu", "lag"),
        ("highest_load", "lag"),
        ("highest_load_by_cpu", "cpu"),
        ("highest_load_by_lag", "lag"),
    ] {
        assert_eq!(picks(strategy, &options, &list, 1), [expected], "{strategy}");
    }
    // A host of which nothing is known lies between the two.
    assert_eq!(picks("lowest_load", &options, &list[1..], 1), ["unknown"]);
    let equals = picks("lowest_load", &options, &hosts(&["a", "b"]), 100);
    assert_eq!(histogram(&equals).len(), 2);
}

#[test]
fn bad_names_and_weights_say_what_is_allowed() {
    let error = Strategy::parse("fastest").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("random, round_robin, weighted_random, lowest_load"), "{error}");
    for known in ["leastConnections", "fastest_response", "highest_weight"] {
        assert_eq!(Strategy::parse(known).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    for bad in ["a", "a:", ":1", "a:0", "a:-1", "a:1.5", "a:x"] {
        let error = HostWeights::parse(bad).unwrap_err().to_string();
        assert!(error.contains("expected `host:weight`"), "{error}");
    }
    assert!(HostWeights::parse("a:1,A:2").unwrap_err().to_string().contains("`a` is named twice"));
    assert_eq!(HostWeights::parse("a:1, b:2,").unwrap().to_string(), "a:1,b:2");
}
