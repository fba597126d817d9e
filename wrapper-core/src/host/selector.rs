//! How one host of several is chosen.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostInfo;

/// Chooses one of the hosts that are eligible.
///
/// The caller has filtered by role and availability; a selector knows neither. One selector serves all sessions of
/// a cluster, so that a rotation is shared.
pub trait HostSelector: Debug + Send + Sync {
    /// One of `hosts`; `None` when there is none. Does not depend on the order of `hosts`, except for a random draw.
    fn pick<'a>(&self, hosts: &[&'a HostInfo], env: &Environment) -> Option<&'a HostInfo>;
}

/// The name of a way to choose a host, as the settings write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Each host with the same probability.
    #[default]
    Random,
    /// In turn, by host name; a host with weight n is taken n times in a row.
    RoundRobin,
    /// With a probability in proportion to the weight.
    WeightedRandom,
    /// The lowest load: replica lag in ms and CPU in percent, weighted (100 and 1 by default).
    LowestLoad,
    /// The lowest load, where CPU counts 100 and lag 1.
    LowestLoadByCpu,
    /// The lowest load, where lag counts 100 and CPU 1.
    LowestLoadByLag,
    /// The highest load, with weights of its own.
    HighestLoad,
    /// The highest load, where CPU counts 100 and lag 1.
    HighestLoadByCpu,
    /// The highest load, where lag counts 100 and CPU 1.
    HighestLoadByLag,
}

impl Strategy {
    /// All strategies, in the order in which messages list them.
    pub const ALL: [Self; 9] = [
        Self::Random,
        Self::RoundRobin,
        Self::WeightedRandom,
        Self::LowestLoad,
        Self::LowestLoadByCpu,
        Self::LowestLoadByLag,
        Self::HighestLoad,
        Self::HighestLoadByCpu,
        Self::HighestLoadByLag,
    ];

    /// The name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::WeightedRandom => "weighted_random",
            Self::LowestLoad => "lowest_load",
            Self::LowestLoadByCpu => "lowest_load_by_cpu",
            Self::LowestLoadByLag => "lowest_load_by_lag",
            Self::HighestLoad => "highest_load",
            Self::HighestLoadByCpu => "highest_load_by_cpu",
            Self::HighestLoadByLag => "highest_load_by_lag",
        }
    }

    /// Reads a name; `roundRobin` and `round-robin` are `round_robin`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a strategy of the peers that is not available yet; a configuration error that
    /// lists the names for any other one.
    pub fn parse(name: &str) -> Result<Self> {
        let squashed = squash(name);
        if let Some(found) = Self::ALL.into_iter().find(|strategy| squash(strategy.as_str()) == squashed) {
            return Ok(found);
        }
        let why_not = match squashed.as_str() {
            "leastconnections" => Some("it counts the connections of an internal pool, and there is none"),
            "fastestresponse" => Some("its plugin `fastest_response_strategy` is not available yet"),
            "highestweight" => Some("the peers gave it up; `weighted_random` uses weights"),
            _ => None,
        };
        let allowed = Self::ALL.map(Self::as_str).join(", ");
        match why_not {
            Some(reason) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("host selection strategy `{name}`: {reason}; use one of {allowed}"),
            )),
            None => {
                Err(Error::config(format!("unknown host selection strategy `{name}`; use one of {allowed}")))
            }
        }
    }

    /// The selector of this strategy. `env` gives a rotation its first position, so that not every process starts
    /// with the same host.
    pub fn selector(self, options: &SelectorOptions, env: &Environment) -> Box<dyn HostSelector> {
        let load = |sign, cpu, lag| Box::new(ByLoad { sign, weights: LoadWeights { cpu, lag } });
        match self {
            Self::Random => Box::new(Random),
            Self::RoundRobin => Box::new(RoundRobin {
                weights: options.round_robin.clone(),
                position: AtomicU64::new(env.random(1 << 32)),
            }),
            Self::WeightedRandom => Box::new(WeightedRandom { weights: options.weighted_random.clone() }),
            Self::LowestLoad => load(1, options.lowest_load.cpu, options.lowest_load.lag),
            Self::HighestLoad => load(-1, options.highest_load.cpu, options.highest_load.lag),
            Self::LowestLoadByCpu => load(1, 100, 1),
            Self::HighestLoadByCpu => load(-1, 100, 1),
            Self::LowestLoadByLag => load(1, 1, 100),
            Self::HighestLoadByLag => load(-1, 1, 100),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Lower case without `_` and `-`: the form in which the spellings of all peers are equal.
pub(crate) fn squash(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

/// What the selectors can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectorOptions {
    /// The weights of [`Strategy::RoundRobin`].
    pub round_robin: HostWeights,
    /// The weights of [`Strategy::WeightedRandom`].
    pub weighted_random: HostWeights,
    /// The weights of [`Strategy::LowestLoad`].
    pub lowest_load: LoadWeights,
    /// The weights of [`Strategy::HighestLoad`].
    pub highest_load: LoadWeights,
}

/// How much CPU (percent) and replica lag (milliseconds) count in a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadWeights {
    /// Factor of the CPU load in percent.
    pub cpu: u32,
    /// Factor of the replica lag in milliseconds.
    pub lag: u32,
}

impl Default for LoadWeights {
    fn default() -> Self {
        Self { cpu: 1, lag: 100 }
    }
}

/// Weights of hosts, and the weight of the hosts that are not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostWeights {
    pairs: Vec<(String, u32)>,
    default: u32,
}

impl Default for HostWeights {
    fn default() -> Self {
        Self { pairs: Vec::new(), default: 1 }
    }
}

impl HostWeights {
    /// Reads `host:weight,host:weight`; a host is an instance's id, its first label or its whole name.
    ///
    /// # Errors
    /// A configuration error when a pair is malformed, a weight is not a whole number from 1 on, or a host is named
    /// twice.
    pub fn parse(text: &str) -> Result<Self> {
        let mut pairs: Vec<(String, u32)> = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let wrong = || {
                Error::config(format!(
                    "host weight `{pair}`: expected `host:weight` with a whole number from 1 on, such as \
                     `instance-1:3,instance-2:1`"
                ))
            };
            let (host, weight) = pair.rsplit_once(':').ok_or_else(wrong)?;
            let host = host.trim().trim_end_matches('.').to_ascii_lowercase();
            let weight = weight.trim().parse::<u32>().ok().filter(|weight| *weight > 0).ok_or_else(wrong)?;
            if host.is_empty() {
                return Err(wrong());
            }
            if pairs.iter().any(|(known, _)| *known == host) {
                return Err(Error::config(format!("host weights: `{host}` is named twice; keep one pair")));
            }
            pairs.push((host, weight));
        }
        Ok(Self { pairs, default: 1 })
    }

    /// The same weights with another weight (at least 1) for the hosts that are not named.
    #[must_use]
    pub fn with_default(mut self, weight: u32) -> Self {
        self.default = weight.max(1);
        self
    }

    /// The weight of a host.
    pub fn of(&self, host: &HostInfo) -> u32 {
        let names = [host.id.as_deref().unwrap_or_default(), host.host(), host.short_name()];
        self.pairs
            .iter()
            .find(|(name, _)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
            .map_or(self.default, |(_, weight)| *weight)
    }

    fn total(&self, hosts: &[&HostInfo]) -> u64 {
        hosts.iter().map(|host| u64::from(self.of(host))).sum()
    }

    /// The host on which `point`, counted along the weights, falls.
    fn at<'a>(&self, hosts: &[&'a HostInfo], mut point: u64) -> Option<&'a HostInfo> {
        for host in hosts {
            let weight = u64::from(self.of(host));
            if point < weight {
                return Some(host);
            }
            point -= weight;
        }
        None
    }
}

impl fmt::Display for HostWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (host, weight)) in self.pairs.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{host}:{weight}")?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Random;

impl HostSelector for Random {
    fn pick<'a>(&self, hosts: &[&'a HostInfo], env: &Environment) -> Option<&'a HostInfo> {
        draw(hosts, env)
    }
}

fn draw<'a>(hosts: &[&'a HostInfo], env: &Environment) -> Option<&'a HostInfo> {
    let index = usize::try_from(env.random(hosts.len() as u64)).ok()?;
    hosts.get(index).copied()
}

fn by_key<'a>(hosts: &[&'a HostInfo]) -> Vec<&'a HostInfo> {
    let mut sorted = hosts.to_vec();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    sorted
}

#[derive(Debug)]
struct RoundRobin {
    weights: HostWeights,
    position: AtomicU64,
}

impl HostSelector for RoundRobin {
    fn pick<'a>(&self, hosts: &[&'a HostInfo], _env: &Environment) -> Option<&'a HostInfo> {
        let total = self.weights.total(hosts);
        if total == 0 {
            return None;
        }
        let turn = self.position.fetch_add(1, Ordering::Relaxed) % total;
        self.weights.at(&by_key(hosts), turn)
    }
}

#[derive(Debug)]
struct WeightedRandom {
    weights: HostWeights,
}

impl HostSelector for WeightedRandom {
    fn pick<'a>(&self, hosts: &[&'a HostInfo], env: &Environment) -> Option<&'a HostInfo> {
        self.weights.at(hosts, env.random(self.weights.total(hosts)))
    }
}

/// Lowest (`sign` 1) or highest (`sign` -1) load; a draw among equals.
#[derive(Debug)]
struct ByLoad {
    sign: i8,
    weights: LoadWeights,
}

/// The peers' figures for a host whose lag and CPU are not known.
const UNKNOWN_LAG: Duration = Duration::from_millis(50);
const UNKNOWN_CPU: f32 = 40.0;

impl ByLoad {
    fn load(&self, host: &HostInfo) -> f64 {
        let lag = host.lag.unwrap_or(UNKNOWN_LAG).as_secs_f64() * 1000.0;
        let cpu = f64::from(host.cpu.filter(|cpu| cpu.is_finite()).unwrap_or(UNKNOWN_CPU));
        f64::from(self.sign) * (lag * f64::from(self.weights.lag) + cpu * f64::from(self.weights.cpu))
    }
}

impl HostSelector for ByLoad {
    fn pick<'a>(&self, hosts: &[&'a HostInfo], env: &Environment) -> Option<&'a HostInfo> {
        let best = hosts.iter().map(|host| self.load(host)).min_by(f64::total_cmp)?;
        let equals: Vec<&HostInfo> =
            hosts.iter().copied().filter(|host| self.load(host).total_cmp(&best).is_eq()).collect();
        draw(&equals, env)
    }
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
