#![doc = include_str!("docs.md")]

mod config;
mod plugin;
mod reader;
mod storm;
mod writer;

pub use config::{Failover, FailoverMode};
