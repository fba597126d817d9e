//! The driver-agnostic core of the AWS Advanced Rust Wrapper.

pub mod cluster;
pub mod config;
pub mod connector;
mod credential;
mod credential_provider;
pub mod credentials;
pub mod dialect;
mod dialect_id;
pub mod driver;
pub mod env;
mod error;
pub mod host;
pub mod observe;
pub mod plugin;
mod rows;
pub mod session;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod topology;

pub use error::{Error, ErrorClass, ErrorKind, Result, RetryAdvice, Source, TransactionOutcome};
