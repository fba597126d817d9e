//! Each setting of `docs/settings.md` acts: on a scripted cluster under paused time, and the table of which test shows it.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod connect;
mod failover;
mod script;
mod selection;
mod table;
mod topology;
