//! The driver-agnostic core of the AWS Advanced Rust Wrapper.

pub mod cluster;
pub mod config;
pub mod connector;
pub mod dialect;
pub mod driver;
pub mod env;
mod dialect_id;
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
