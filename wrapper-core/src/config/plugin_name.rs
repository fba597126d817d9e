//! The names of plugins: our short codes, the codes of the peers, the ones to come.

use std::fmt;

use crate::config::value::{Form, Given, Read, Refused, SettingType};
use crate::error::{Error, ErrorKind};

/// A plugin of this library, by its short code, and the codes of the peers that are accepted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginCodes {
    /// The code of these documents; also the name of the feature that compiles it in.
    pub code: &'static str,
    /// The codes of the peers.
    pub aliases: &'static [&'static str],
}

/// The plugins that exist.
pub const PLUGINS: &[PluginCodes] = &[
    PluginCodes { code: "failover", aliases: &["failover_v2", "failover2"] },
    PluginCodes { code: "efm", aliases: &["efm2", "host_monitoring", "host_monitoring_v2"] },
    PluginCodes {
        code: "connection_tracker",
        aliases: &["aurora_connection_tracker", "auroraConnectionTracker"],
    },
    PluginCodes {
        code: "initial_connection",
        aliases: &["initialConnection", "stale_dns", "staleDns", "auroraStaleDns"],
    },
    PluginCodes { code: "connect_time", aliases: &["connectTime"] },
    PluginCodes { code: "execute_time", aliases: &["executeTime", "executionTime"] },
    PluginCodes { code: "log_query", aliases: &["logQuery"] },
    PluginCodes { code: "dev", aliases: &["developer"] },
    PluginCodes { code: "iam", aliases: &[] },
    PluginCodes {
        code: "secrets_manager",
        aliases: &["aws_secrets_manager", "awsSecretsManager", "awsSecretsManager2", "secretsManager"],
    },
    PluginCodes { code: "federated_auth", aliases: &["federatedAuth"] },
    PluginCodes { code: "okta", aliases: &[] },
];

/// The plugins of the peers that are known and not available yet.
pub(crate) const LATER_PLUGINS: &[PluginCodes] = &[
    PluginCodes {
        code: "read_write_splitting",
        aliases: &["readWriteSplitting", "autoReadWriteSplitting", "srw", "autoSimpleReadWriteSplitting"],
    },
    PluginCodes {
        code: "gdb_read_write_splitting",
        aliases: &[
            "gdb_rw",
            "gdbReadWriteSplitting",
            "gdbAutoReadWriteSplitting",
            "gdbSimpleReadWriteSplitting",
            "gdbAutoSimpleReadWriteSplitting",
        ],
    },
    PluginCodes { code: "custom_endpoint", aliases: &["customEndpoint"] },
    PluginCodes { code: "gdb_failover", aliases: &["gdbFailover"] },
    PluginCodes { code: "bg", aliases: &["blue_green"] },
    PluginCodes { code: "fastest_response_strategy", aliases: &["fastestResponseStrategy"] },
    PluginCodes { code: "limitless", aliases: &[] },
    PluginCodes { code: "kms_encryption", aliases: &["kmsEncryption"] },
    PluginCodes { code: "remote_query_cache", aliases: &["remoteQueryCache", "dataCache"] },
    PluginCodes { code: "sql_parser", aliases: &["sqlParser"] },
    PluginCodes { code: "driver_meta_data", aliases: &["driverMetaData"] },
];

fn find(table: &'static [PluginCodes], name: &str) -> Option<&'static PluginCodes> {
    table.iter().find(|codes| codes.code == name || codes.aliases.contains(&name))
}

/// The name of a plugin in the list `plugins`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginName {
    /// One of [`PLUGINS`], by its short code; whether it is compiled in is not known here.
    BuiltIn(&'static str),
    /// Another name: the user's own plugin, if one is registered under it.
    Other(String),
}

impl PluginName {
    /// The short code, or the user's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::BuiltIn(code) => code,
            Self::Other(name) => name,
        }
    }

    /// The error for a name under which no plugin is registered; `registered` are the user's own names.
    pub fn unknown(&self, registered: &[&str]) -> Error {
        let mut names: Vec<&str> = PLUGINS.iter().map(|codes| codes.code).collect();
        names.extend(registered);
        let hint = crate::config::nearest::hint(self.as_str(), names.iter().copied());
        Error::config(format!(
            "`plugins`: unknown plugin `{self}`{hint}; known are {}, and plugins that are registered under a name",
            names.join(", ")
        ))
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The list of plugins, in the order in which it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginList(pub(crate) Vec<PluginName>);

impl PluginList {
    /// The names.
    pub fn names(&self) -> &[PluginName] {
        &self.0
    }

    /// Whether the plugin with this short code (or the user's name) is in the list.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|plugin| plugin.as_str() == name)
    }
}

impl SettingType for PluginList {
    const KIND: &'static str = "list of plugins";

    fn read(given: &Given, _form: Form) -> Read<Self> {
        let text = given.text();
        let mut names: Vec<(PluginName, &str)> = Vec::new();
        let written = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        for written in written.filter(|name| *name != "none") {
            if let Some(later) = find(LATER_PLUGINS, written) {
                let code = if later.code == written { String::new() } else { format!(" (`{}`)", later.code) };
                return Err(Refused::Full(Error::new(
                    ErrorKind::Unsupported,
                    format!("`plugins`: plugin `{written}`{code} is not available yet; remove it"),
                )));
            }
            if !written.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
                return Err(Refused::Expected(
                    "names of letters, digits, `_` and `-`, separated by commas; an empty list is `none`"
                        .to_owned(),
                ));
            }
            let name = match find(PLUGINS, written) {
                Some(codes) => PluginName::BuiltIn(codes.code),
                None => PluginName::Other(written.to_owned()),
            };
            if let Some((_, before)) = names.iter().find(|(known, _)| *known == name) {
                return Err(Refused::Full(Error::config(format!(
                    "`plugins`: `{before}` and `{written}` are the same plugin (`{name}`); name it once"
                ))));
            }
            names.push((name, written));
        }
        Ok(Self(names.into_iter().map(|(name, _)| name).collect()))
    }

    fn show(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(PluginName::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Error> {
        match PluginList::read(&Given::from(text), Form::UnitInValue) {
            Ok(list) => Ok(list.0.iter().map(ToString::to_string).collect()),
            Err(Refused::Full(error) | Refused::Because(error)) => Err(error),
            Err(Refused::Expected(text)) => Err(Error::config(text)),
        }
    }

    #[test]
    fn the_codes_of_the_peers_are_ours() {
        for list in [
            "initialConnection,auroraConnectionTracker,failover2,efm2",
            "initial_connection, aurora_connection_tracker, failover_v2, host_monitoring_v2",
            "stale_dns,connection_tracker,failover,efm",
        ] {
            assert_eq!(
                read(list).unwrap(),
                ["initial_connection", "connection_tracker", "failover", "efm"],
                "{list}"
            );
        }
    }

    #[test]
    fn no_plugins_and_own_plugins() {
        assert!(read("").unwrap().is_empty());
        assert!(read("none").unwrap().is_empty());
        assert_eq!(read("mine,failover").unwrap(), ["mine", "failover"]);
    }

    #[test]
    fn one_plugin_under_two_names_is_an_error_that_names_both() {
        let error = read("failover,efm,failover_v2").unwrap_err().to_string();
        assert!(error.contains("`failover` and `failover_v2` are the same plugin"), "{error}");
        assert!(read("stale_dns,initial_connection").is_err());
        assert!(read("mine,mine").is_err());
    }

    #[test]
    fn every_later_plugin_is_unsupported_and_not_unknown() {
        for codes in LATER_PLUGINS {
            for name in codes.aliases.iter().chain([&codes.code]) {
                assert_eq!(read(name).unwrap_err().kind(), ErrorKind::Unsupported, "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_plugin_gets_the_nearest_name() {
        let error = PluginName::Other("failovr".to_owned()).unknown(&["mine"]).to_string();
        assert!(error.contains("did you mean `failover`?") && error.contains("mine"), "{error}");
    }

    #[test]
    fn no_code_stands_for_two_plugins() {
        let mut all: Vec<&str> = Vec::new();
        for codes in PLUGINS.iter().chain(LATER_PLUGINS) {
            all.push(codes.code);
            all.extend(codes.aliases);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
