#![doc = include_str!("docs.md")]

mod plugin;

pub use plugin::ConnectionTracker;
