#![doc = include_str!("docs.md")]

mod api;
mod config;

pub use config::Okta;
