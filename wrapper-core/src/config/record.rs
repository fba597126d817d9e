//! What the settings keep beside the typed values: hosts, the driver's parameters, where each value came from.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A connection URL.
    Url,
    /// A connection string of `name=value` pairs.
    Keywords,
    /// A call of the builder.
    Builder,
    /// The profile or preset of this name.
    Profile(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("URL"),
            Self::Keywords => f.write_str("connection string"),
            Self::Builder => f.write_str("builder"),
            Self::Profile(name) => write!(f, "profile {name}"),
        }
    }
}

/// Where a value came from, and the name under which it was written.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) source: Source,
    pub(crate) written: String,
}

/// The value of a driver's parameter; `Debug` masks a secret.
#[derive(Clone)]
#[non_exhaustive]
pub enum ParameterValue {
    /// May be shown.
    Plain(String),
    /// Must not be shown.
    Secret(SecretString),
}

impl ParameterValue {
    /// The value itself, to be handed to the driver.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose_secret(),
        }
    }
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Secret(_) => f.write_str("***"),
        }
    }
}

impl fmt::Debug for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether the driver's parameter of this name holds a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "secret", "token"].iter().any(|word| name.contains(word))
}

/// One parameter of the driver.
#[derive(Clone, Debug)]
pub(crate) struct DriverParameter {
    pub(crate) name: String,
    pub(crate) value: ParameterValue,
    pub(crate) source: Source,
}

/// The part of the settings that is not a typed field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) hosts_source: Option<Source>,
    pub(crate) driver: Vec<DriverParameter>,
    pub(crate) origins: BTreeMap<&'static str, Origin>,
    pub(crate) warnings: Vec<String>,
}
