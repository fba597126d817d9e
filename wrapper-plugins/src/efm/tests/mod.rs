//! Host monitoring against the test kit's servers, under paused time.
#![allow(
    clippy::disallowed_methods,
    reason = "the scripted world outside the library has a clock of its own"
)]

mod detection;
mod host;
mod life;
mod pause;
mod race;
mod world;
