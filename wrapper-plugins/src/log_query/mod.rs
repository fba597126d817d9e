#![doc = include_str!("docs.md")]

mod config;
mod mask;
mod plugin;
#[cfg(test)]
mod tests;

pub use config::LogQuery;
