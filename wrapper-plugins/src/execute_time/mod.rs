#![doc = include_str!("docs.md")]

mod config;
mod plugin;
#[cfg(test)]
mod tests;

pub use config::ExecuteTime;
