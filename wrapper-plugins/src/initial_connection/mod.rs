#![doc = include_str!("docs.md")]

mod config;
mod plugin;

pub use config::InitialConnection;
