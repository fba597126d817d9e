#![doc = include_str!("docs.md")]

mod config;
mod provider;
#[cfg(test)]
mod tests;
mod token;

pub use aws_credential_types::Credentials;
pub use aws_credential_types::provider::ProvideCredentials;
pub use config::Iam;
#[cfg(feature = "_saml")]
pub(crate) use provider::Rules;
#[cfg(feature = "_saml")]
pub(crate) use token::{LIFE, Place, token};
