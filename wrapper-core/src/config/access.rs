//! What the settings hold beside the typed fields.

use crate::config::record::ParameterValue;
use crate::config::settings::Settings;

impl Settings {
    /// The hosts to connect to, in the order in which they were written; at least one when parsed or built.
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.record.hosts
    }

    /// The parameters that are the driver's own, untouched, in the order in which they were written.
    pub fn driver_parameters(&self) -> impl Iterator<Item = (&str, &ParameterValue)> {
        self.record.driver.iter().map(|parameter| (parameter.name.as_str(), &parameter.value))
    }

    /// The value of the driver's parameter of this name.
    pub fn driver_parameter(&self, name: &str) -> Option<&ParameterValue> {
        self.driver_parameters().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether the setting of this (canonical) name was given, by the application or its profile; else its default holds.
    pub fn is_given(&self, name: &str) -> bool {
        self.record.origins.contains_key(name)
    }

    /// What was accepted although it has no effect, a sentence each; to be reported once.
    pub fn warnings(&self) -> &[String] {
        &self.record.warnings
    }
}
