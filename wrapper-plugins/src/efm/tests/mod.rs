//! Host monitoring against scripted servers, under paused time.
#![allow(
    clippy::disallowed_methods,
    reason = "the scripted world outside the library has a clock of its own"
)]

mod detection;
mod fake;
mod host;
mod life;
mod pause;
mod race;
