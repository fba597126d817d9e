//! The types that a setting's value may have, and how each is read from text.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::config::span::show_span;
use crate::error::Error;
use crate::host::{EndpointKind, HostWeights, InstanceTemplate, Strategy, classify};

/// A value as it was given, before it is read. Made by `From` of text, numbers, durations and the setting's own types.
///
/// `Debug` does not print it: it may be a secret.
#[derive(Clone)]
pub struct Given(Inner);

#[derive(Clone)]
enum Inner {
    Text(String),
    Span(Duration),
    Secret(SecretString),
}

impl Given {
    /// The value as text; a duration with its unit.
    pub(crate) fn text(&self) -> String {
        match &self.0 {
            Inner::Text(text) => text.clone(),
            Inner::Span(span) => show_span(*span),
            Inner::Secret(secret) => secret.expose_secret().to_owned(),
        }
    }

    /// The duration, if it was given as one and not as text.
    pub(crate) fn span(&self) -> Option<Duration> {
        match self.0 {
            Inner::Span(span) => Some(span),
            _ => None,
        }
    }

    /// Whether it was given as a secret.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.0, Inner::Secret(_))
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(***)")
    }
}

impl From<String> for Given {
    fn from(text: String) -> Self {
        Self(Inner::Text(text))
    }
}

impl From<Duration> for Given {
    fn from(span: Duration) -> Self {
        Self(Inner::Span(span))
    }
}

impl From<SecretString> for Given {
    fn from(secret: SecretString) -> Self {
        Self(Inner::Secret(secret))
    }
}

macro_rules! given_as_text {
    ($($type:ty),+) => {$(
        impl From<$type> for Given {
            fn from(value: $type) -> Self {
                Self(Inner::Text(value.to_string()))
            }
        }
    )+};
}

given_as_text!(&str, bool, u32, Strategy, HostWeights, InstanceTemplate);

/// What a number without a unit means, by the name under which it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The value carries the unit; a bare number is refused.
    UnitInValue,
    /// A bare number is seconds, as the drivers have it; a unit is accepted too.
    SecondsOrUnit,
    /// The name says milliseconds; a unit in the value is refused.
    Milliseconds,
    /// The name says seconds; a unit in the value is refused.
    Seconds,
}

/// Why a value was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// What was expected instead; the caller adds name and value.
    Expected(String),
    /// An error that lacks the name of the setting.
    Because(Error),
    /// An error that says all of it.
    Full(Error),
}

pub(crate) type Read<T> = std::result::Result<T, Refused>;

pub(crate) fn expected<T>(what: impl Into<String>) -> Read<T> {
    Err(Refused::Expected(what.into()))
}

/// A type that a setting may have.
pub(crate) trait SettingType: Sized + Clone + PartialEq {
    /// What documentation says about the value.
    const KIND: &'static str;

    /// Reads a value.
    fn read(given: &Given, form: Form) -> Read<Self>;

    /// The value as text.
    fn show(&self) -> String;

    /// Whether there is a value.
    fn is_set(&self) -> bool {
        true
    }

    /// Whether `given` turns an optional setting of this type off.
    fn is_off(_given: &Given) -> bool {
        false
    }

    /// Whether the value is zero, where zero can be excluded.
    fn is_zero(&self) -> bool {
        false
    }
}

impl<T: SettingType> SettingType for Option<T> {
    const KIND: &'static str = T::KIND;

    fn read(given: &Given, form: Form) -> Read<Self> {
        if T::is_off(given) { Ok(None) } else { T::read(given, form).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "off".to_owned(), T::show)
    }

    fn is_set(&self) -> bool {
        self.is_some()
    }

    fn is_zero(&self) -> bool {
        self.as_ref().is_some_and(T::is_zero)
    }
}

impl SettingType for bool {
    const KIND: &'static str = "true or false";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        match given.text().trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => expected("`true` or `false`"),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl SettingType for u32 {
    const KIND: &'static str = "number";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        match given.text().trim().parse() {
            Ok(number) => Ok(number),
            Err(_) => expected(format!("a whole number from 0 to {}", Self::MAX)),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl SettingType for String {
    const KIND: &'static str = "text";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        let text = given.text();
        if text.trim().is_empty() { expected("a text that is not empty") } else { Ok(text) }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// A setting that nobody may read in a log: `Debug` and `Settings::show` give `***`.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl SettingType for Secret {
    const KIND: &'static str = "secret";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        let text = given.text();
        if text.is_empty() {
            expected("a text that is not empty")
        } else {
            Ok(Self(SecretString::from(text)))
        }
    }

    fn show(&self) -> String {
        "***".to_owned()
    }
}

impl SettingType for Strategy {
    const KIND: &'static str = "one of `random` `round_robin` `weighted_random` `lowest_load` `lowest_load_by_cpu` \
                                `lowest_load_by_lag` `highest_load` `highest_load_by_cpu` `highest_load_by_lag`";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        Self::parse(given.text().trim()).map_err(Refused::Because)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl SettingType for HostWeights {
    const KIND: &'static str = "list of host:weight";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        Self::parse(&given.text()).map_err(Refused::Because)
    }

    fn show(&self) -> String {
        let text = self.to_string();
        if text.is_empty() { "none".to_owned() } else { text }
    }
}

impl SettingType for InstanceTemplate {
    const KIND: &'static str = "host pattern";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        let template = Self::parse(given.text().trim()).map_err(Refused::Full)?;
        let kind = classify(&template.host_for("instance-1")).kind();
        match kind {
            EndpointKind::Proxy | EndpointKind::ProxyEndpoint => {
                expected("a pattern of instances' host names, not of a proxy")
            }
            EndpointKind::WriterCluster | EndpointKind::ReaderCluster | EndpointKind::CustomCluster => {
                expected("a pattern of instances' host names, not of a cluster's endpoints")
            }
            _ => Ok(template),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_strategies_are_all_there_are() {
        let names: Vec<String> = Strategy::ALL.iter().map(|strategy| format!("`{strategy}`")).collect();
        assert_eq!(Strategy::KIND, format!("one of {}", names.join(" ")));
    }

    #[test]
    fn given_values_are_not_printed() {
        assert!(!format!("{:?}", Given::from("hunter2")).contains("hunter2"));
    }
}
