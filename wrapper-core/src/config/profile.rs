//! Named sets of settings: the presets of the peers, and the user's own profiles.

use std::collections::BTreeMap;

use crate::config::nearest;
use crate::config::value::Given;
use crate::error::{Error, Result};

/// A named set of settings of yours; its values hold where nothing else is given.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Profile {
    base: Option<String>,
    values: Vec<(String, Given)>,
}

impl Profile {
    /// An empty profile.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts from another profile or a preset, whose values hold where this profile gives none.
    pub fn based_on(mut self, name: impl Into<String>) -> Self {
        self.base = Some(name.into());
        self
    }

    /// Gives a value, under any name that settings and driver parameters have.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Given>) -> Self {
        self.values.push((name.into(), value.into()));
        self
    }
}

/// The user's own profiles. A profile with the name of a preset takes its place.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Profiles(BTreeMap<String, Profile>);

impl Profiles {
    /// No profiles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a profile, or replaces the one of this name.
    pub fn with(mut self, name: impl Into<String>, profile: Profile) -> Self {
        self.0.insert(name.into(), profile);
        self
    }

    /// The values of the profile `name`, a level for it and for each one that it is based on, itself first.
    ///
    /// # Errors
    /// A configuration error when a name is unknown, or a profile is based on itself.
    pub(crate) fn levels(&self, name: &str) -> Result<Vec<Level>> {
        let mut levels = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        let mut next = Some(name);
        while let Some(name) = next {
            // A profile may be based on the preset that it shadows.
            match self.0.get_key_value(name).filter(|_| !seen.contains(&name)) {
                Some((name, profile)) => {
                    seen.push(name);
                    levels.push(Level { name: name.clone(), values: profile.values.clone(), preset: None });
                    next = profile.base.as_deref();
                }
                None => {
                    let preset = PRESETS.iter().find(|preset| preset.name == name);
                    levels.push(preset.map(Preset::level).ok_or_else(|| self.unknown(name, &seen))?);
                    next = None;
                }
            }
        }
        Ok(levels)
    }

    fn unknown(&self, name: &str, seen: &[&str]) -> Error {
        if seen.contains(&name) {
            return Error::config(format!(
                "profile `{name}` is based on itself: {} -> {name}",
                seen.join(" -> ")
            ));
        }
        let names: Vec<&str> =
            self.0.keys().map(String::as_str).chain(PRESETS.iter().map(|preset| preset.name)).collect();
        let hint = nearest::hint(name, names.iter().copied());
        Error::config(format!(
            "`profile_name`: unknown profile `{name}`{hint}; known are {}",
            names.join(", ")
        ))
    }
}

/// The values of one profile.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) name: String,
    pub(crate) values: Vec<(String, Given)>,
    pub(crate) preset: Option<&'static Preset>,
}

/// A preset of the peers, in terms of our settings; connection pools are left to the application (R17).
#[derive(Debug)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) parts: &'static [&'static [(&'static str, &'static str)]],
    /// Whether the peers add a connection pool of their own.
    pub(crate) has_pool: bool,
}

impl Preset {
    fn level(&'static self) -> Level {
        let values = self.values().map(|(name, value)| (name.to_owned(), Given::from(value))).collect();
        Level { name: self.name.to_owned(), values, preset: Some(self) }
    }

    /// Names and values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.parts.iter().flat_map(|part| part.iter().copied())
    }

    /// The preset that is the same without read/write splitting.
    pub(crate) fn without_splitting(&self) -> Option<&'static str> {
        PRESETS.iter().map(|preset| preset.name).find(|name| name.strip_prefix("SF_") == Some(self.name))
    }
}

type Part = &'static [(&'static str, &'static str)];

const NONE: Part = &[("plugins", "")];
const EFM: Part = &[("plugins", "efm")];
const SPLIT: Part = &[("plugins", "initial_connection,connection_tracker,failover,read_write_splitting")];
const SPLIT_EFM: Part =
    &[("plugins", "initial_connection,connection_tracker,failover,read_write_splitting,efm")];
const SINGLE: Part = &[("plugins", "initial_connection,connection_tracker,failover")];
const SINGLE_EFM: Part = &[("plugins", "initial_connection,connection_tracker,failover,efm")];

const NORMAL: Part = &[("connect_timeout", "10s"), ("socket_timeout", "5s"), ("tcp_keepalive", "false")];
const EASY: Part = &[("connect_timeout", "30s"), ("socket_timeout", "30s"), ("tcp_keepalive", "false")];
const HARD: Part = &[("connect_timeout", "3s"), ("socket_timeout", "3s"), ("tcp_keepalive", "false")];
const KEEPALIVE: Part = &[("connect_timeout", "10s"), ("socket_timeout", "off"), ("tcp_keepalive", "true")];
const WATCHED: Part = &[("connect_timeout", "10s"), ("socket_timeout", "off"), ("tcp_keepalive", "false")];

const SLOW: Part = &[
    ("failure_detection_time", "60s"),
    ("failure_detection_interval", "15s"),
    ("failure_detection_count", "5"),
    ("monitoring_connect_timeout", "10s"),
    ("monitoring_socket_timeout", "5s"),
];
const FAST: Part = &[
    ("failure_detection_time", "30s"),
    ("failure_detection_interval", "5s"),
    ("failure_detection_count", "3"),
    ("monitoring_connect_timeout", "3s"),
    ("monitoring_socket_timeout", "3s"),
];

const fn preset(name: &'static str, has_pool: bool, parts: &'static [Part]) -> Preset {
    Preset { name, parts, has_pool }
}

/// Families: A to C no pool, D to F a pool inside the wrapper, G to I a pool of the application's.
pub(crate) const PRESETS: &[Preset] = &[
    preset("A0", false, &[NONE, NORMAL]),
    preset("A1", false, &[NONE, EASY]),
    preset("A2", false, &[NONE, HARD]),
    preset("B", false, &[NONE, KEEPALIVE]),
    preset("C0", false, &[EFM, WATCHED, SLOW]),
    preset("C1", false, &[EFM, WATCHED, FAST]),
    preset("D0", true, &[SPLIT, NORMAL]),
    preset("D1", true, &[SPLIT, EASY]),
    preset("E", true, &[SPLIT, KEEPALIVE]),
    preset("F0", true, &[SPLIT_EFM, WATCHED, SLOW]),
    preset("F1", true, &[SPLIT_EFM, WATCHED, FAST]),
    preset("G0", false, &[SINGLE, NORMAL]),
    preset("G1", false, &[SINGLE, EASY]),
    preset("H", false, &[SINGLE, KEEPALIVE]),
    preset("I0", false, &[SINGLE_EFM, WATCHED, SLOW]),
    preset("I1", false, &[SINGLE_EFM, WATCHED, FAST]),
    preset("SF_D0", true, &[SINGLE, NORMAL]),
    preset("SF_D1", true, &[SINGLE, EASY]),
    preset("SF_E", true, &[SINGLE, KEEPALIVE]),
    preset("SF_F0", true, &[SINGLE_EFM, WATCHED, SLOW]),
    preset("SF_F1", true, &[SINGLE_EFM, WATCHED, FAST]),
];
