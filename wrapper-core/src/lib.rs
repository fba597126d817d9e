//! The driver-agnostic core of the AWS Advanced Rust Wrapper.

pub mod driver;
pub mod env;
mod error;
pub mod host;
pub mod topology;

pub use error::{Error, ErrorClass, ErrorKind, Result, RetryAdvice, Source, TransactionOutcome};
