#![doc = include_str!("docs.md")]

mod config;
mod provider;
#[cfg(test)]
mod tests;
mod token;

pub use aws_credential_types::Credentials;
pub use aws_credential_types::provider::ProvideCredentials;
pub use config::Iam;
