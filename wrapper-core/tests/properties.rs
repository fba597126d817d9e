//! What holds for any hosts and any plugins: the choice of a host, and the order of plugins.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use wrapper_core::ErrorKind;
use wrapper_core::env::Environment;
use wrapper_core::host::{HostInfo, HostRole, HostWeights, SelectorOptions, Strategy as Choice};
use wrapper_core::plugin::{Chain, MethodSet, OrderClass, Plugin};

fn env(seed: u64) -> Environment {
    Environment::builder().seed(seed).build()
}

/// Hosts with distinct names, in any order; load known or not.
fn hosts(least: usize) -> impl Strategy<Value = Vec<HostInfo>> {
    let load = (proptest::option::of(0_u64..500), proptest::option::of(0_u16..100));
    vec(load, least..8).prop_map(|loads| {
        let host = |(at, (lag, cpu)): (usize, (Option<u64>, Option<u16>))| {
            let name = format!("instance-{at}.xyz.us-east-2.rds.amazonaws.com");
            let mut host = HostInfo::new(&name, 5432, HostRole::Reader).with_id(format!("instance-{at}"));
            host.lag = lag.map(Duration::from_millis);
            host.cpu = cpu.map(f32::from);
            host
        };
        loads.into_iter().enumerate().map(host).collect::<Vec<_>>()
    })
}

/// Weights of some of the hosts that [`hosts`] makes, and of the others.
fn weights() -> impl Strategy<Value = HostWeights> {
    (vec(1_u32..6, 0..8), 1_u32..4).prop_map(|(weights, default)| {
        let pairs: Vec<String> =
            weights.iter().enumerate().map(|(at, weight)| format!("instance-{at}:{weight}")).collect();
        HostWeights::parse(&pairs.join(",")).unwrap().with_default(default)
    })
}

fn options(weights: &HostWeights) -> SelectorOptions {
    let mut options = SelectorOptions::default();
    options.round_robin = weights.clone();
    options.weighted_random = weights.clone();
    options
}

fn picks(choice: Choice, weights: &HostWeights, hosts: &[HostInfo], seed: u64, count: usize) -> Vec<String> {
    let env = env(seed);
    let selector = choice.selector(&options(weights), &env);
    let hosts: Vec<&HostInfo> = hosts.iter().collect();
    (0..count).map(|_| selector.pick(&hosts, &env).unwrap().host().to_owned()).collect()
}

fn counted(picks: Vec<String>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for pick in picks {
        *counts.entry(pick).or_default() += 1;
    }
    counts
}

fn load(host: &HostInfo, cpu: f64, lag: f64) -> f64 {
    // What the peers take for a host whose load is not known.
    let known = |value: Option<f64>, instead: f64| value.unwrap_or(instead);
    let millis = known(host.lag.map(|lag| lag.as_secs_f64() * 1000.0), 50.0);
    millis * lag + known(host.cpu.map(f64::from), 40.0) * cpu
}

proptest! {
    #[test]
    fn a_host_is_chosen_among_those_that_are_given_and_only_those(
        choice in select(&Choice::ALL[..]), weights in weights(), hosts in hosts(0), seed in any::<u64>(),
        left_out in vec(any::<Index>(), 0..4),
    ) {
        let env = env(seed);
        let selector = choice.selector(&options(&weights), &env);
        let mut given: Vec<&HostInfo> = hosts.iter().collect();
        // The same selector goes on when hosts come and go.
        for index in left_out {
            let chosen = selector.pick(&given, &env);
            prop_assert_eq!(chosen.is_some(), !given.is_empty());
            prop_assert!(chosen.is_none_or(|chosen| given.iter().any(|host| std::ptr::eq(*host, chosen))));
            if !given.is_empty() {
                given.remove(index.index(given.len()));
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_choices(
        choice in select(&Choice::ALL[..]), weights in weights(), hosts in hosts(1), seed in any::<u64>(),
    ) {
        let first = picks(choice, &weights, &hosts, seed, 20);
        prop_assert_eq!(first, picks(choice, &weights, &hosts, seed, 20));
    }

    #[test]
    fn in_turn_each_host_has_as_many_turns_as_its_weight(
        weights in weights(), hosts in hosts(1), seed in any::<u64>(), rounds in 1_usize..4,
    ) {
        let total: u32 = hosts.iter().map(|host| weights.of(host)).sum();
        let count = rounds * usize::try_from(total).unwrap();
        let counts = counted(picks(Choice::RoundRobin, &weights, &hosts, seed, count));
        for host in &hosts {
            prop_assert_eq!(counts[host.host()], weights.of(host) * u32::try_from(rounds).unwrap());
        }
    }

    #[test]
    fn turns_do_not_depend_on_the_order_of_the_hosts(
        weights in weights(), (hosts, shuffled) in hosts(1).prop_flat_map(|hosts| (Just(hosts.clone()), Just(hosts).prop_shuffle())),
        seed in any::<u64>(),
    ) {
        prop_assert_eq!(
            picks(Choice::RoundRobin, &weights, &hosts, seed, 20),
            picks(Choice::RoundRobin, &weights, &shuffled, seed, 20)
        );
    }

    #[test]
    fn the_load_of_the_chosen_host_is_the_lowest_or_the_highest(hosts in hosts(1), seed in any::<u64>()) {
        for (choice, sign, cpu, lag) in [
            (Choice::LowestLoad, 1.0, 1.0, 100.0), (Choice::LowestLoadByCpu, 1.0, 100.0, 1.0),
            (Choice::LowestLoadByLag, 1.0, 1.0, 100.0), (Choice::HighestLoad, -1.0, 1.0, 100.0),
            (Choice::HighestLoadByCpu, -1.0, 100.0, 1.0), (Choice::HighestLoadByLag, -1.0, 1.0, 100.0),
        ] {
            for chosen in picks(choice, &HostWeights::default(), &hosts, seed, 5) {
                let chosen = hosts.iter().find(|host| host.host() == chosen).unwrap();
                let better = hosts.iter().find(|host| sign * load(host, cpu, lag) < sign * load(chosen, cpu, lag) - 1e-6);
                prop_assert!(better.is_none(), "{choice}: {better:?} is better than {chosen:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Within six standard deviations: one failure in hundreds of millions, if the draw is fair.
    #[test]
    fn by_chance_each_host_is_chosen_in_proportion_to_its_weight(
        weights in weights(), hosts in hosts(1), seed in any::<u64>(),
    ) {
        const DRAWS: u32 = 3_000;
        let total: u32 = hosts.iter().map(|host| weights.of(host)).sum();
        for (choice, weighted) in [(Choice::WeightedRandom, true), (Choice::Random, false)] {
            let counts = counted(picks(choice, &weights, &hosts, seed, DRAWS as usize));
            for host in &hosts {
                let all = u32::try_from(hosts.len()).unwrap();
                let share = if weighted { f64::from(weights.of(host)) / f64::from(total) } else { 1.0 / f64::from(all) };
                let expected = share * f64::from(DRAWS);
                let allowed = 6.0 * (expected * (1.0 - share)).sqrt() + 1.0;
                let found = f64::from(counts.get(host.host()).copied().unwrap_or_default());
                prop_assert!((found - expected).abs() <= allowed, "{choice}: {found} of {expected} for {host:?}");
            }
        }
    }
}

#[derive(Debug)]
struct Named(&'static str, OrderClass);

impl Plugin for Named {
    fn name(&self) -> &'static str {
        self.0
    }
    fn class(&self) -> OrderClass {
        self.1
    }
    fn subscriptions(&self) -> MethodSet {
        MethodSet::NONE
    }
}

/// From outside in, as R3 has them; two of some classes.
const PLUGINS: [(&str, OrderClass); 12] = [
    ("timer", OrderClass::Observe),
    ("log", OrderClass::Observe),
    ("limit", OrderClass::Limits),
    ("endpoint", OrderClass::Endpoints),
    ("tracker", OrderClass::Endpoints),
    ("failover", OrderClass::Failover),
    ("other_failover", OrderClass::Failover),
    ("routing", OrderClass::Routing),
    ("monitoring", OrderClass::Monitoring),
    ("other_monitoring", OrderClass::Monitoring),
    ("login", OrderClass::Authentication),
    ("dev", OrderClass::Connection),
];

/// Some of the plugins, in any order.
fn plugins() -> impl Strategy<Value = Vec<(&'static str, OrderClass)>> {
    subsequence(PLUGINS.to_vec(), 0..=PLUGINS.len()).prop_shuffle()
}

fn chain(plugins: &[(&'static str, OrderClass)], sort: bool) -> wrapper_core::Result<Vec<&'static str>> {
    let built = plugins.iter().map(|(name, class)| Arc::new(Named(name, *class)) as Arc<dyn Plugin>);
    Ok(Chain::new(built.collect(), sort)?.plugins().iter().map(|plugin| plugin.name()).collect())
}

fn class_of(name: &str) -> OrderClass {
    PLUGINS.iter().find(|(known, _)| *known == name).unwrap().1
}

proptest! {
    #[test]
    fn any_order_is_sorted_into_a_legal_one(plugins in plugins()) {
        let sorted = chain(&plugins, true).unwrap();
        prop_assert_eq!(sorted.len(), plugins.len());
        prop_assert!(sorted.windows(2).all(|pair| class_of(pair[0]) <= class_of(pair[1])), "{:?}", sorted);
        // In one class, the order in which they were written stays.
        for class in plugins.iter().map(|(_, class)| *class) {
            let written: Vec<_> = plugins.iter().filter(|(_, of)| *of == class).map(|(name, _)| *name).collect();
            let kept: Vec<_> = sorted.iter().copied().filter(|name| class_of(name) == class).collect();
            prop_assert_eq!(written, kept);
        }
        // What was sorted is accepted as written.
        let again: Vec<_> = sorted.iter().map(|name| (*name, class_of(name))).collect();
        prop_assert_eq!(chain(&again, false).unwrap(), sorted);
    }

    #[test]
    fn an_order_as_written_stays_or_is_an_error_that_names_both(plugins in plugins()) {
        let at = |class| plugins.iter().enumerate().filter(move |(_, (_, of))| *of == class).map(|(at, (name, _))| (at, *name));
        let wrong: Vec<_> = at(OrderClass::Monitoring)
            .flat_map(|monitoring| at(OrderClass::Failover).map(move |failover| (monitoring, failover)))
            .filter(|((monitoring, _), (failover, _))| monitoring < failover)
            .map(|((_, monitoring), (_, failover))| (monitoring, failover))
            .collect();
        match chain(&plugins, false) {
            Ok(kept) => {
                prop_assert!(wrong.is_empty(), "{:?} was accepted", plugins);
                prop_assert_eq!(kept, plugins.iter().map(|(name, _)| *name).collect::<Vec<_>>());
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Config);
                let text = error.to_string();
                let named = |name: &str| text.contains(&format!("`{name}`"));
                prop_assert!(
                    wrong.iter().any(|(monitoring, failover)| named(monitoring) && named(failover)),
                    "{} names no pair of {:?}", text, wrong
                );
            }
        }
    }

    #[test]
    fn a_plugin_given_twice_is_an_error_that_names_it(plugins in plugins(), twice in any::<Index>(), at in any::<Index>(), sort: bool) {
        prop_assume!(!plugins.is_empty());
        let mut plugins = plugins;
        let repeated = plugins[twice.index(plugins.len())];
        plugins.insert(at.index(plugins.len()), repeated);
        let error = chain(&plugins, sort).unwrap_err().to_string();
        prop_assert!(error.contains(&format!("`{}` is given twice", repeated.0)), "{}", error);
    }
}
