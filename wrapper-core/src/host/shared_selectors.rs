//! Selectors that all sessions of a cluster share, so that a rotation goes on from one choice to the next.

use std::sync::{Arc, Mutex, PoisonError};

use crate::env::Environment;
use crate::host::{HostInfo, HostSelector, SelectorOptions, Strategy};

/// One selector for each strategy with its options; a value that the plugins of a cluster share
/// ([`ClusterCore::shared`](crate::cluster::ClusterCore::shared)).
#[derive(Debug, Default)]
pub struct SharedSelectors(Mutex<Vec<Made>>);

/// A selector, and what it was made of.
type Made = (Strategy, SelectorOptions, Arc<dyn HostSelector>);

impl SharedSelectors {
    /// The selector of this strategy with these options, made when it is first asked for.
    pub fn get(
        &self,
        strategy: Strategy,
        options: &SelectorOptions,
        env: &Environment,
    ) -> Arc<dyn HostSelector> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, selector)) =
            made.iter().find(|(known, with, _)| *known == strategy && with == options)
        {
            return Arc::clone(selector);
        }
        let selector: Arc<dyn HostSelector> = Arc::from(strategy.selector(options, env));
        made.push((strategy, options.clone(), Arc::clone(&selector)));
        selector
    }

    /// All of `hosts` in the order in which they are to be tried: the first is the strategy's choice, which moves a
    /// rotation on by one; the others follow as the strategy orders them by itself.
    pub fn order<'a>(
        &self,
        strategy: Strategy,
        options: &SelectorOptions,
        mut hosts: Vec<&'a HostInfo>,
        env: &Environment,
    ) -> Vec<&'a HostInfo> {
        let mut ordered = Vec::with_capacity(hosts.len());
        let mut next = self.get(strategy, options, env).pick(&hosts, env);
        let rest = strategy.selector(options, env);
        while let Some(host) = next {
            hosts.retain(|other| other.key != host.key);
            ordered.push(host);
            next = rest.pick(&hosts, env);
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostRole;

    #[test]
    fn a_rotation_goes_on_over_choices_of_one_host_and_of_all() {
        let env = Environment::builder().seed(3).build();
        let hosts: Vec<HostInfo> =
            ["a", "b", "c"].iter().map(|name| HostInfo::new(name, 5432, HostRole::Reader)).collect();
        let all: Vec<&HostInfo> = hosts.iter().collect();
        let options = SelectorOptions::default();
        let shared = SharedSelectors::default();
        let mut firsts = Vec::new();
        for turn in 0..6 {
            let ordered = if turn % 2 == 0 {
                shared.order(Strategy::RoundRobin, &options, all.clone(), &env)
            } else {
                shared.get(Strategy::RoundRobin, &options, &env).pick(&all, &env).into_iter().collect()
            };
            assert!(ordered.len() == if turn % 2 == 0 { 3 } else { 1 });
            firsts.push(ordered[0].host().to_owned());
        }
        assert_eq!(firsts[..3], firsts[3..]);
        let mut each = firsts[..3].to_vec();
        each.sort();
        assert_eq!(each, ["a", "b", "c"]);
        // Other weights are another rotation.
        let weighted = SelectorOptions {
            round_robin: crate::host::HostWeights::parse("b:2").unwrap(),
            ..SelectorOptions::default()
        };
        let other = shared.get(Strategy::RoundRobin, &weighted, &env);
        assert!(!Arc::ptr_eq(&other, &shared.get(Strategy::RoundRobin, &options, &env)));
        assert!(shared.order(Strategy::RoundRobin, &options, Vec::new(), &env).is_empty());
    }
}
