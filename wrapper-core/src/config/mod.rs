//! Settings: what a user can write, in which forms, and what it means.
//!
//! What lives here: the typed [`Settings`], the one table that they are made from, the parsing of URLs and connection
//! strings, profiles and presets. What may not: a driver's parameters beyond their names (the adapter gives those),
//! connections, plugins.

mod access;
mod builder;
mod check;
mod choice;
mod definition;
mod driver_keys;
mod explain;
mod hosts;
mod later;
mod nearest;
mod plugin_name;
mod profile;
mod record;
mod settings;
mod span;
mod text;
mod value;

#[cfg(test)]
mod settings_doc;
#[cfg(test)]
mod tests;

pub use builder::SettingsBuilder;
pub use choice::{FailoverMode, SubstitutionRole, VerifyRole};
pub use definition::Definition;
pub use driver_keys::DriverKeys;
pub use plugin_name::{PLUGINS, PluginCodes, PluginList, PluginName};
pub use profile::{Profile, Profiles};
pub use record::{ParameterValue, Source};
pub use settings::{DEFINITIONS, Settings};
pub use value::{Given, Secret};
