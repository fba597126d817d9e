//! Credentials of a cluster's connections under paused time: one fetch for all, fresh ones before the old ones end, a
//! refused one replaced once.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "the scripted world outside the library has a clock of its own"
)]

mod refusals;
mod sharing;
mod times;
mod world;
