//! Seeded schedules: a workload of several clients under a random schedule of faults, and what must hold afterwards.
//!
//! What lives here: [`run`], which plays one seed on the library's real plugins over the test kit's fake driver and
//! checks the [`Invariant`]s; [`campaign`], which plays many; the ten [`Planted`] bugs that show that the checks find
//! what they look for. What may not: real time, sockets, anything that is not decided by the seed.
//!
//! A seed is played on a runtime of its own with one thread and paused time. The same seed gives the same trace.

mod book;
mod campaign;
mod check;
mod cut_short;
mod faults;
mod invariant;
mod plan;
mod planted;
mod planted_plugins;
mod regressions;
mod slot;
mod witness;
mod worker;
mod world;

pub use campaign::{Campaign, campaign};
pub use invariant::{Invariant, Violation};
pub use planted::Planted;
pub use regressions::REGRESSIONS;
pub use world::{Played, run};
