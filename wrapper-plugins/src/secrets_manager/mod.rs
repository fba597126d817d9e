#![doc = include_str!("docs.md")]

mod config;
mod document;
mod provider;
#[cfg(test)]
mod tests;

pub use aws_credential_types::Credentials;
pub use aws_credential_types::provider::ProvideCredentials;
pub use config::SecretsManager;
