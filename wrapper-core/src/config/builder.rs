//! How settings come together: what was written, the profile, the defaults; and what cannot be.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::config::check;
use crate::config::definition::Definition;
use crate::config::driver_keys::DriverKeys;
use crate::config::hosts::hosts;
use crate::config::later::known_but_unsupported;
use crate::config::nearest;
use crate::config::profile::{Level, Profiles};
use crate::config::record::{DriverParameter, Origin, ParameterValue, Source, is_secret};
use crate::config::settings::{DEFINITIONS, Settings};
use crate::config::text::{Entry, WrittenHost, take_apart};
use crate::config::value::{Form, Given, Refused};
use crate::error::{Error, Result};

impl Settings {
    /// Reads a connection URL (`postgres://user:password@host1:5432,host2/db?plugins=failover,efm&failover_timeout=60s`)
    /// or a connection string (`host=… user=… plugins=…`, quoted as libpq does).
    ///
    /// What is neither a setting of the library nor one of the driver's names is an error.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) names the setting, its value and what was expected;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) a setting of the peers that is not supported yet.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wrapper_core::config::{DriverKeys, Settings};
    ///
    /// let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &["sslmode"] };
    /// let settings = Settings::parse(
    ///     "postgres://app:pw@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?sslmode=require&failover_timeout=60s",
    ///     &keys,
    /// )?;
    /// assert_eq!(settings.failover_timeout, Duration::from_secs(60));
    /// assert_eq!(settings.hosts()[0].1, 5432);
    /// assert_eq!(settings.driver_parameter("sslmode").map(|value| value.expose()), Some("require"));
    /// # Ok::<(), wrapper_core::Error>(())
    /// ```
    pub fn parse(text: &str, keys: &DriverKeys<'_>) -> Result<Self> {
        Self::builder().text(text).build(keys)
    }

    /// Starts without any value.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::default()
    }
}

/// Collects settings from text, from code and from profiles.
///
/// A value that is given beats the profile's, the profile's beats the default. Nothing is checked before
/// [`build`](Self::build).
#[derive(Clone, Default)]
#[must_use]
pub struct SettingsBuilder {
    texts: Vec<SecretString>,
    hosts: Vec<WrittenHost>,
    entries: Vec<Entry>,
    profiles: Profiles,
}

impl SettingsBuilder {
    /// Adds all that a connection URL or a connection string says.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.texts.push(SecretString::from(text.into()));
        self
    }

    /// Adds a host, with the driver's default port.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push((host.into(), None));
        self
    }

    /// Adds a host and its port.
    pub fn host_and_port(mut self, host: impl Into<String>, port: u16) -> Self {
        self.hosts.push((host.into(), Some(port)));
        self
    }

    /// Gives a setting or a parameter of the driver, under any of its names.
    ///
    /// A `Duration` needs no unit, whatever the name says. A `SecretString` is never shown.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Given>) -> Self {
        self.entries.push(Entry { name: name.into(), given: value.into(), source: Source::Builder });
        self
    }

    /// The user's own profiles, for `profile_name`.
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.profiles = profiles;
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// As [`Settings::parse`].
    pub fn build(self, keys: &DriverKeys<'_>) -> Result<Settings> {
        let mut entries = Vec::new();
        let mut written_hosts: Vec<(Vec<WrittenHost>, Source)> = Vec::new();
        for text in &self.texts {
            let written = take_apart(text.expose_secret(), keys)?;
            written_hosts.push((written.hosts, Source::Url));
            entries.extend(written.entries);
        }
        written_hosts.push((self.hosts, Source::Builder));
        written_hosts.retain(|(hosts, _)| !hosts.is_empty());
        entries.extend(self.entries);

        let given = resolve_all(&entries, keys)?;
        let mut settings = Settings::default();
        for resolved in &given {
            settings.apply(resolved)?;
        }
        if let Some(name) = settings.profile_name.clone() {
            for level in self.profiles.levels(&name)? {
                settings.apply_level(&level, keys)?;
            }
        }
        let (hosts, source) = hosts(written_hosts, &given, keys)?;
        settings.record.hosts = hosts;
        settings.record.hosts_source = Some(source);
        check::contradictions(&settings)?;
        check::warn(&mut settings);
        Ok(settings)
    }
}

impl fmt::Debug for SettingsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        f.debug_struct("SettingsBuilder")
            .field("texts", &self.texts.len())
            .field("hosts", &self.hosts)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

/// What a written name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'w> {
    Setting(&'static Definition, Form),
    Host,
    Port,
    Driver(&'w str),
}

impl<'w> Target<'w> {
    fn of(written: &'w str, keys: &DriverKeys<'_>) -> Result<Self> {
        let setting =
            DEFINITIONS.iter().find_map(|definition| Some((definition, definition.form_of(written)?)));
        if let Some((definition, form)) = setting {
            return Ok(Self::Setting(definition, form));
        }
        match written {
            "host" => Ok(Self::Host),
            "port" => Ok(Self::Port),
            _ => match keys.find(written) {
                Some(name) => Ok(Self::Driver(name)),
                None => Err(known_but_unsupported(written).unwrap_or_else(|| unknown(written, keys))),
            },
        }
    }

    /// The one name of what it stands for.
    pub(crate) fn name(self) -> &'w str {
        match self {
            Self::Setting(definition, _) => definition.name(),
            Self::Host => "host",
            Self::Port => "port",
            Self::Driver(name) => name,
        }
    }
}

fn unknown(written: &str, keys: &DriverKeys<'_>) -> Error {
    // Canonical names come first: of equally near names the first is taken.
    let mut names: Vec<&str> = DEFINITIONS.iter().map(Definition::name).collect();
    names.extend(["host", "port"]);
    names.extend(keys.all());
    for definition in DEFINITIONS {
        for alias in definition.aliases() {
            names.push(alias);
        }
    }
    let hint = nearest::hint(written, names.into_iter());
    Error::config(format!("unknown setting `{written}`{hint}; docs/settings.md lists all settings"))
}

/// A value, and what it is a value of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved<'w> {
    pub(crate) target: Target<'w>,
    pub(crate) entry: &'w Entry,
}

/// Finds out what each name stands for; two that stand for the same are an error.
fn resolve_all<'w>(entries: &'w [Entry], keys: &DriverKeys<'_>) -> Result<Vec<Resolved<'w>>> {
    let mut resolved: Vec<Resolved<'w>> = Vec::new();
    for entry in entries {
        let target = Target::of(&entry.name, keys)?;
        if let Some(before) = resolved.iter().find(|before| before.target.name() == target.name()) {
            let before = before.entry;
            return Err(Error::config(format!(
                "`{}` ({}) and `{}` ({}) give the same setting twice; give it once, best as `{}`",
                before.name,
                before.source,
                entry.name,
                entry.source,
                target.name(),
            )));
        }
        resolved.push(Resolved { target, entry });
    }
    Ok(resolved)
}

impl Settings {
    /// Reads one value into its place.
    fn apply(&mut self, resolved: &Resolved<'_>) -> Result<()> {
        let Resolved { target, entry } = resolved;
        match *target {
            Target::Host | Target::Port => {}
            Target::Driver(name) => {
                let value = if is_secret(name) || entry.given.is_secret() {
                    ParameterValue::Secret(SecretString::from(entry.given.text()))
                } else {
                    ParameterValue::Plain(entry.given.text())
                };
                let source = entry.source.clone();
                self.record.driver.push(DriverParameter { name: name.to_owned(), value, source });
            }
            Target::Setting(definition, form) => {
                let is_zero =
                    self.assign(definition.name(), &entry.given, form).map_err(|r| refuse(entry, r))?;
                if is_zero && definition.row.not_zero {
                    return Err(refuse(entry, Refused::Expected("more than zero".to_owned())));
                }
                let origin = Origin { source: entry.source.clone(), written: entry.name.clone() };
                self.record.origins.insert(definition.name(), origin);
            }
        }
        Ok(())
    }

    /// Reads the values of a profile that nothing before it has given.
    fn apply_level(&mut self, level: &Level, keys: &DriverKeys<'_>) -> Result<()> {
        let in_profile = |error: Error, more: &str| {
            Error::new(error.kind(), format!("profile `{}`: {}{more}", level.name, error.message()))
        };
        let entries: Vec<Entry> = level
            .values
            .iter()
            .map(|(name, given)| Entry {
                name: name.clone(),
                given: given.clone(),
                source: Source::Profile(level.name.clone()),
            })
            .collect();
        for resolved in resolve_all(&entries, keys).map_err(|error| in_profile(error, ""))? {
            let name = resolved.target.name();
            if self.record.origins.contains_key(name)
                || self.record.driver.iter().any(|known| known.name == name)
            {
                continue;
            }
            if matches!(resolved.target, Target::Host | Target::Port) {
                return Err(Error::config(format!(
                    "profile `{}`: a profile has no `{name}`; hosts are given beside it",
                    level.name
                )));
            }
            self.apply(&resolved).map_err(|error| {
                let other = level.preset.and_then(|preset| preset.without_splitting());
                in_profile(error, &other.map_or_else(String::new, |name| format!(", or use preset `{name}`")))
            })?;
        }
        if level.preset.is_some_and(|preset| preset.has_pool) {
            self.record.warnings.push(format!(
                "preset `{}`: the peers add a connection pool of their own; here the pool is the application's",
                level.name
            ));
        }
        Ok(())
    }
}

/// The error for a value that was refused.
fn refuse(entry: &Entry, refused: Refused) -> Error {
    let value =
        if entry.given.is_secret() || is_secret(&entry.name) { "***".to_owned() } else { entry.given.text() };
    match refused {
        Refused::Full(error) => error,
        Refused::Because(error) => {
            Error::new(error.kind(), format!("`{}={value}`: {}", entry.name, error.message()))
        }
        Refused::Expected(what) => Error::config(format!("`{}={value}`: expected {what}", entry.name)),
    }
}
