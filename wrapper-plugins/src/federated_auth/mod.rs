#![doc = include_str!("docs.md")]

mod adfs;
mod config;
#[cfg(test)]
mod tests;

pub use config::FederatedAuth;
