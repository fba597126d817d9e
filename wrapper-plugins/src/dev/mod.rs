#![doc = include_str!("docs.md")]

mod config;
mod plugin;
#[cfg(test)]
mod tests;

pub(crate) use config::Named;
pub use config::{Dev, Fault};
