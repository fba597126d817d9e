//! Settings of a session: SET, SHOW, RESET and `current_setting`.
//!
//! What may not live here: what the settings do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sim::error::SqlError;
use crate::sim::flavour::Flavour;
use crate::sim::sql::Facts;
use crate::sim::sql::value::parse_span;

/// Settings that every session starts with.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("lock_timeout", "0"),
    ("max_connections", "1000"),
    ("role", "none"),
    ("search_path", "\"$user\", public"),
    ("server_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
];

/// What a client is told at login and after each change, in PostgreSQL's spelling.
pub(crate) const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// The settings of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    /// What a RESET goes back to: the startup message's values.
    start: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
    /// SET LOCAL: gone with the transaction.
    local: BTreeMap<String, String>,
}

/// The error for a setting that does not exist.
pub(crate) fn unknown_setting(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

impl Variables {
    /// Takes the settings of a startup message.
    pub(crate) fn starting(settings: impl IntoIterator<Item = (String, String)>) -> Result<Self, SqlError> {
        let mut variables = Variables::default();
        for (name, value) in settings {
            variables.set(&name, &value, false)?;
        }
        variables.start = variables.values.clone();
        Ok(variables)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str, local: bool) -> Result<(), SqlError> {
        let name = name.to_ascii_lowercase();
        let known = DEFAULTS.iter().any(|(known, _)| *known == name) || name.contains('.');
        if !known && !matches!(name.as_str(), "transaction_isolation" | "transaction_read_only") {
            return Err(unknown_setting(&name));
        }
        if matches!(name.as_str(), "max_connections" | "server_encoding" | "integer_datetimes") {
            return Err(SqlError::new("55P02", format!("parameter \"{name}\" cannot be changed now")));
        }
        let value = checked(&name, value)?;
        if local {
            self.local.insert(name, value);
        } else {
            self.local.remove(&name);
            self.values.insert(name, value);
        }
        Ok(())
    }

    /// A setting as it is kept, of whatever name: MySQL's variables are checked by those who know them.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Keeps a setting of whatever name; `None` forgets it.
    pub(crate) fn set_raw(&mut self, name: &str, value: Option<String>) {
        match value {
            Some(value) => self.values.insert(name.to_owned(), value),
            None => self.values.remove(name),
        };
    }

    /// RESET of one setting.
    pub(crate) fn reset(&mut self, name: &str) -> Result<(), SqlError> {
        let name = name.to_ascii_lowercase();
        self.local.remove(&name);
        self.values.remove(&name);
        match self.start.get(&name) {
            Some(value) => {
                self.values.insert(name, value.clone());
                Ok(())
            }
            None if name.contains('.') || DEFAULTS.iter().any(|(known, _)| *known == name) => Ok(()),
            None => Err(unknown_setting(&name)),
        }
    }

    /// RESET ALL.
    pub(crate) fn reset_all(&mut self) {
        self.values = self.start.clone();
        self.local.clear();
    }

    /// Ends what SET LOCAL set.
    pub(crate) fn end_local(&mut self) {
        self.local.clear();
    }

    /// A setting of the session; `None` for one that it does not have.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let own = self.local.get(&name).or_else(|| self.values.get(&name)).cloned();
        own.or_else(|| {
            DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// A setting of the session or of its server.
    pub(crate) fn show(&self, name: &str, facts: &dyn Facts) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let on = |flag: bool| Some(if flag { "on" } else { "off" }.to_owned());
        match name.as_str() {
            "in_hot_standby" => on(facts.in_recovery()),
            "is_superuser" => on(false),
            "server_version" => facts.version().split_whitespace().nth(1).map(str::to_owned),
            "server_version_num" => {
                let version = facts.version();
                let mut parts = version.split_whitespace().nth(1)?.split('.').map(str::parse::<u32>);
                let (major, minor) = (parts.next()?.ok()?, parts.next().and_then(Result::ok).unwrap_or(0));
                Some((major * 10_000 + minor).to_string())
            }
            "transaction_isolation" => self.get(&name).or_else(|| self.get("default_transaction_isolation")),
            "transaction_read_only" => self.get(&name).or_else(|| match facts.in_recovery() {
                true => on(true),
                false => self.get("default_transaction_read_only"),
            }),
            "port" => Some(facts.address().port().to_string()),
            "rds.extensions" => rds_extensions(facts),
            _ => self.get(&name),
        }
    }

    /// Name and value of every setting, as `pg_settings` lists them.
    pub(crate) fn all(&self, facts: &dyn Facts) -> BTreeMap<String, String> {
        let server = ["in_hot_standby", "server_version", "server_version_num", "port", "rds.extensions"];
        let own = self.values.keys().chain(self.local.keys()).map(String::as_str);
        let names = DEFAULTS.iter().map(|(name, _)| *name).chain(server).chain(own);
        names.filter_map(|name| Some((name.to_owned(), self.show(name, facts)?))).collect()
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "on")
    }

    /// `statement_timeout`, if one is set.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let micros = span(&self.get("statement_timeout")?)?;
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

/// What RDS lists as installable; absent on community servers.
fn rds_extensions(facts: &dyn Facts) -> Option<String> {
    let common =
        "address_standardizer,bloom,btree_gin,btree_gist,citext,hstore,pg_stat_statements,plpgsql,postgis";
    match facts.flavour() {
        Flavour::Plain => None,
        Flavour::Aurora => Some(format!("apg_plan_mgmt,aurora_stat_utils,{common},rds_tools")),
        Flavour::MultiAz => Some(format!("{common},rds_tools")),
    }
}

/// A time-out's microseconds; a bare number counts milliseconds.
fn span(value: &str) -> Option<u64> {
    let micros = match value.trim().parse::<i64>() {
        Ok(millis) => millis.checked_mul(1000)?,
        Err(_) => parse_span(value)?,
    };
    u64::try_from(micros).ok()
}

fn checked(name: &str, value: &str) -> Result<String, SqlError> {
    let bad = || SqlError::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
    match name {
        "default_transaction_read_only" | "default_transaction_deferrable" | "transaction_read_only" => {
            match value.to_ascii_lowercase().as_str() {
                "on" | "true" | "yes" | "1" | "t" => Ok("on".to_owned()),
                "off" | "false" | "no" | "0" | "f" => Ok("off".to_owned()),
                _ => Err(bad()),
            }
        }
        "default_transaction_isolation" | "transaction_isolation" => {
            let level = value.to_ascii_lowercase();
            let known = ["read uncommitted", "read committed", "repeatable read", "serializable"];
            if known.contains(&level.as_str()) { Ok(level) } else { Err(bad()) }
        }
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => match span(value) {
            // Shown in the largest unit that fits, as PostgreSQL does.
            Some(0) => Ok("0".to_owned()),
            Some(micros) => {
                let millis = micros.div_ceil(1000);
                Ok(match millis {
                    ms if ms % 60_000 == 0 => format!("{}min", ms / 60_000),
                    ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
                    ms => format!("{ms}ms"),
                })
            }
            None => Err(bad()),
        },
        "client_encoding" if !matches!(value.to_ascii_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE") => {
            Err(SqlError::unsupported(format!("client_encoding {value}")))
        }
        "client_encoding" => Ok("UTF8".to_owned()),
        _ => Ok(value.to_owned()),
    }
}
