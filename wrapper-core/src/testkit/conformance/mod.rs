//! Conformance suites: what must hold for a driver, a plugin, a host list provider, clause by clause.
//!
//! What lives here: [`driver_dialect_conformance`], [`plugin_conformance`], [`host_list_provider_conformance`] and
//! what they give, a [`Conformance`]. What may not: clauses that only one adapter or plugin could keep.

mod driver;
mod driver_bad_days;
mod plugin;
mod plugin_hooks;
mod plugin_life;
mod provider;
mod report;

pub use driver::{DriverRig, Question, TransactionStep, driver_dialect_conformance};
pub use plugin::{PluginSubject, plugin_conformance};
pub use provider::{ProviderRig, host_list_provider_conformance};
pub use report::{Clause, Conformance, Verdict};

use std::future::Future;
use std::time::Duration;

use crate::env::{Deadline, Environment};

/// What a check of a clause says: kept, or in which way it is broken.
type Checked = Result<(), String>;

/// The deadline of what must end by it: short, so that a suite on a real server is quick.
const SHORT: Duration = Duration::from_millis(300);

/// How much later than its deadline something may end on a loaded machine.
const LATE: Duration = Duration::from_secs(2);

fn deadline(span: Duration) -> Deadline {
    Deadline::after(span, "conformance")
}

/// Time enough for whatever is healthy.
fn ample() -> Deadline {
    deadline(Duration::from_secs(20))
}

/// Runs what must end by [`SHORT`], and says when it was late.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    let env = Environment::default();
    let began = env.now();
    let result = deadline(Duration::from_secs(60)).run(what, async { Ok(future.await) }).await;
    let took = env.now().saturating_duration_since(began);
    match result {
        Ok(result) if took <= SHORT + LATE => Ok(result),
        _ => Err(format!("{what} had {SHORT:?} and took {took:?}")),
    }
}

/// A condition, and what is said where it does not hold.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}
