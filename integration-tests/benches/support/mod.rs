//! What the benches and report programs share: arguments, statistics, a counting allocator, the page of figures, how a
//! connector reaches a local cluster, and what differs between engines.
#![allow(dead_code, reason = "each program uses its part")]

pub(crate) mod alloc;
pub(crate) mod cluster;
#[cfg(target_os = "linux")]
#[allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; benches measure real time")]
pub(crate) mod engine;
pub(crate) mod page;
#[cfg(target_os = "linux")]
pub(crate) mod server_log;
pub(crate) mod stats;

use std::error::Error;
use std::str::FromStr;

/// What every program of this folder returns.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The arguments after `--`: `--name value` pairs and bare `--name` flags.
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    /// The arguments; `None` when the program was not started by `cargo bench`. `cargo test --all-targets` starts
    /// benches too: measuring there would prove nothing.
    pub(crate) fn of_a_bench() -> Option<Self> {
        let all: Vec<String> = std::env::args().skip(1).collect();
        if !all.iter().any(|argument| argument == "--bench") {
            println!("started by something else than `cargo bench`: nothing is measured");
            return None;
        }
        Some(Self(all.into_iter().filter(|argument| argument != "--bench").collect()))
    }

    /// Whether the flag was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|argument| argument == name)
    }

    /// The value after the name, if it was given.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Outcome<Option<T>> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else { return Ok(None) };
        let text = self.0.get(at + 1).ok_or_else(|| format!("`{name}` needs a value"))?;
        text.parse().map(Some).map_err(|_| format!("`{name} {text}`: not a valid value").into())
    }

    /// The command line that starts this program again.
    pub(crate) fn command(&self, bench: &str) -> String {
        let arguments = self.0.join(" ");
        format!("cargo bench -p integration-tests --bench {bench} -- {arguments}")
    }
}
