//! MySQL's system variables: `@@name`, `SHOW VARIABLES`, and what SET may change.
//!
//! What may not live here: the statement SET (`session/mysql.rs`).

use pgwire::api::Type;

use crate::sim::error::SqlError;
use crate::sim::flavour::Flavour;
use crate::sim::session::Variables;
use crate::sim::sql::value::Value;
use crate::sim::sql::{Env, Facts};

/// The version of Aurora that the servers claim.
const AURORA_VERSION: &str = "3.08.0";

/// How a variable is written: on or off, a number, or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Switch,
    Number,
    Text,
}
use Kind::{Number, Switch, Text};

/// Variables of a session, which SET changes, with the values that sessions start with.
const SESSION: &[(&str, Kind, &str)] = &[
    ("auto_increment_increment", Number, "1"),
    ("auto_increment_offset", Number, "1"),
    ("autocommit", Switch, "1"),
    ("character_set_client", Text, "utf8mb4"),
    ("character_set_connection", Text, "utf8mb4"),
    ("character_set_database", Text, "utf8mb4"),
    ("character_set_results", Text, "utf8mb4"),
    ("character_set_server", Text, "utf8mb4"),
    ("collation_connection", Text, "utf8mb4_0900_ai_ci"),
    ("collation_database", Text, "utf8mb4_0900_ai_ci"),
    ("collation_server", Text, "utf8mb4_0900_ai_ci"),
    ("foreign_key_checks", Switch, "1"),
    ("innodb_lock_wait_timeout", Number, "50"),
    ("interactive_timeout", Number, "28800"),
    ("lock_wait_timeout", Number, "31536000"),
    ("max_execution_time", Number, "0"),
    ("net_read_timeout", Number, "30"),
    ("net_write_timeout", Number, "60"),
    ("sql_mode", Text, "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"),
    ("sql_safe_updates", Switch, "0"),
    ("sql_select_limit", Number, "18446744073709551615"),
    ("time_zone", Text, "UTC"),
    ("transaction_isolation", Text, "REPEATABLE-READ"),
    ("transaction_read_only", Switch, "0"),
    ("unique_checks", Switch, "1"),
    ("wait_timeout", Number, "28800"),
];

/// Largest packet that a server takes, in bytes: `@@max_allowed_packet`.
pub(crate) const MAX_ALLOWED_PACKET: usize = 64 << 20;

/// Variables of the server, which sessions cannot change; `None` for NULL.
fn server(facts: &dyn Facts) -> Vec<(&'static str, Kind, Option<String>)> {
    let said = |text: &str| Some(text.to_owned());
    let switch = |on: bool| Some(u8::from(on).to_string());
    let reader = facts.in_recovery();
    let (comment, report_host) = match facts.flavour() {
        Flavour::Plain => ("MySQL Community Server - GPL", String::new()),
        Flavour::Aurora => ("Source distribution", String::new()),
        Flavour::MultiAz => ("Source distribution", facts.address().ip().to_string()),
    };
    let mut variables = vec![
        ("hostname", Text, Some(facts.instance())),
        ("innodb_read_only", Switch, switch(reader && facts.flavour() == Flavour::Aurora)),
        ("license", Text, said("GPL")),
        ("lower_case_table_names", Number, said("1")),
        ("max_allowed_packet", Number, Some(MAX_ALLOWED_PACKET.to_string())),
        ("max_connections", Number, said("1000")),
        ("port", Number, Some(facts.address().port().to_string())),
        ("read_only", Switch, switch(reader)),
        ("report_host", Text, Some(report_host)),
        ("server_id", Number, Some(facts.server_id().to_string())),
        ("socket", Text, None),
        ("super_read_only", Switch, switch(reader)),
        ("system_time_zone", Text, said("UTC")),
        ("version", Text, Some(facts.version())),
        ("version_comment", Text, said(comment)),
    ];
    if facts.flavour() == Flavour::Aurora {
        variables.push(("aurora_server_id", Text, Some(facts.instance())));
        variables.push(("aurora_version", Text, said(AURORA_VERSION)));
    }
    variables
}

/// Where a session keeps a variable: transactions read the two names that both engines share.
pub(crate) fn kept_as(name: &str) -> &str {
    match name {
        "transaction_isolation" | "tx_isolation" => "default_transaction_isolation",
        "transaction_read_only" | "tx_read_only" => "default_transaction_read_only",
        other => other,
    }
}

/// One variable as a session sees it: its kind, and its value, which may be NULL.
fn find(name: &str, vars: &Variables, facts: &dyn Facts) -> Option<(Kind, Option<String>)> {
    let name = match name {
        "tx_isolation" => "transaction_isolation",
        "tx_read_only" => "transaction_read_only",
        other => other,
    };
    if let Some((_, kind, start)) = SESSION.iter().find(|(known, ..)| *known == name) {
        let own = vars.raw(kept_as(name)).map(|own| match own {
            "on" => "1".to_owned(),
            "off" => "0".to_owned(),
            own => own.to_owned(),
        });
        return Some((*kind, Some(own.unwrap_or_else(|| (*start).to_owned()))));
    }
    let found = server(facts).into_iter().find(|(known, ..)| *known == name);
    found.map(|(_, kind, value)| (kind, value))
}

/// The error for a variable that does not exist.
pub(crate) fn unknown(name: &str) -> SqlError {
    SqlError::mysql(1193, "HY000", format!("Unknown system variable '{name}'"))
}

/// The type of `@@name`.
///
/// # Errors
/// 1193 when the server has no such variable.
pub(crate) fn type_of(name: &str, facts: &dyn Facts) -> Result<Type, SqlError> {
    match find(name, &Variables::default(), facts) {
        // 64 bits with a sign is the widest that there is here.
        Some((Number, Some(value))) if value.parse::<i64>().is_ok() => Ok(Type::INT8),
        Some((Switch, _)) => Ok(Type::INT8),
        Some(_) => Ok(Type::TEXT),
        None => Err(unknown(name)),
    }
}

/// The value of `@@name`.
pub(crate) fn read(env: &mut Env<'_>, args: &[Value]) -> Result<Value, SqlError> {
    let name = args.first().map(Value::as_str).unwrap_or_default();
    let (_, value) = find(name, env.vars, env.facts).ok_or_else(|| unknown(name))?;
    let number = type_of(name, env.facts)? == Type::INT8;
    Ok(match value {
        None => Value::Null,
        Some(value) if number => value.parse().map_or(Value::Null, Value::Int),
        Some(value) => Value::text(value),
    })
}

/// The value of the user's variable `@name`; NULL before it is set.
pub(crate) fn read_own(env: &mut Env<'_>, args: &[Value]) -> Result<Value, SqlError> {
    let name = args.first().map(Value::as_str).unwrap_or_default();
    Ok(env.vars.raw(name).map_or(Value::Null, Value::text))
}

/// Name and value of every variable, as SHOW VARIABLES lists them.
pub(crate) fn all(vars: &Variables, facts: &dyn Facts) -> Vec<(String, String)> {
    let session = SESSION.iter().map(|(name, ..)| *name);
    let server: Vec<_> = server(facts).into_iter().map(|(name, ..)| name).collect();
    let mut names: Vec<&str> = session.chain(server).collect();
    names.sort_unstable();
    let shown = |name: &str| {
        let (kind, value) = find(name, vars, facts)?;
        let value = match (kind, value.as_deref()) {
            (Switch, Some("0")) => "OFF".to_owned(),
            (Switch, Some(_)) => "ON".to_owned(),
            (_, value) => value.unwrap_or_default().to_owned(),
        };
        Some((name.to_owned(), value))
    };
    names.into_iter().filter_map(shown).collect()
}

/// What SET makes of a new value for a variable of the session; `None` goes back to the value at the start.
///
/// # Errors
/// 1193 for a name that the server does not have, 1238 for one that sessions cannot change, 1231 for a value that
/// does not fit.
pub(crate) fn checked(name: &str, value: &str, facts: &dyn Facts) -> Result<Option<String>, SqlError> {
    let shared = match name {
        "tx_isolation" => "transaction_isolation",
        "tx_read_only" => "transaction_read_only",
        other => other,
    };
    let Some((_, kind, _)) = SESSION.iter().find(|(known, ..)| *known == shared) else {
        return Err(match server(facts).iter().any(|(known, ..)| *known == shared) {
            true => SqlError::mysql(1238, "HY000", format!("Variable '{name}' is a read only variable")),
            false => unknown(name),
        });
    };
    if value.eq_ignore_ascii_case("default") {
        return Ok(None);
    }
    let wrong = || {
        let message = format!("Variable '{name}' can't be set to the value of '{value}'");
        SqlError::mysql(1231, "42000", message)
    };
    let on = match (shared, *kind) {
        (_, Switch) => match value.to_ascii_lowercase().as_str() {
            "1" | "on" | "true" => true,
            "0" | "off" | "false" => false,
            _ => return Err(wrong()),
        },
        ("transaction_isolation", _) => {
            let level = value.to_ascii_uppercase().replace(' ', "-");
            let known = ["READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"];
            return if known.contains(&level.as_str()) { Ok(Some(level)) } else { Err(wrong()) };
        }
        (_, Number) => return value.parse::<u64>().map(|_| Some(value.to_owned())).map_err(|_| wrong()),
        (_, Text) => return Ok(Some(value.to_owned())),
    };
    // As the settings of both engines' transactions are kept.
    let kept = match (shared, on) {
        ("transaction_read_only", true) => "on",
        ("transaction_read_only", false) => "off",
        (_, true) => "1",
        (_, false) => "0",
    };
    Ok(Some(kept.to_owned()))
}
