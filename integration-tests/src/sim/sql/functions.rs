//! Functions of one value: the ordinary ones, and the metadata functions of Aurora and Multi-AZ clusters.
//!
//! What may not live here: aggregates and functions that return rows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgwire::api::Type;

use super::catalog::{self, Relation};
use super::value::{Value, now_micros, type_name};
use super::wire::oid_of;
use super::{Env, Facts, unqualified};
use crate::sim::error::SqlError;
use crate::sim::flavour::{Engine, Flavour, RdsTools};

/// How a function is run.
pub(crate) type Run = fn(&mut Env<'_>, &[Value]) -> Result<Value, SqlError>;

/// A function as `bind` needs it.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) result: Type,
    /// One letter per argument: t text, n integer, i bigint, f double precision, b boolean, s timestamp, r text array,
    /// a anything.
    pub(crate) args: &'static str,
    /// How many arguments must be given.
    pub(crate) required: usize,
    /// Null in, null out.
    pub(crate) strict: bool,
    pub(crate) run: Run,
}

/// The type that a letter of [`Function::args`] stands for; `None` takes what comes.
pub(crate) fn argument_type(letter: char) -> Option<Type> {
    Some(match letter {
        't' => Type::TEXT,
        'n' => Type::INT4,
        'i' => Type::INT8,
        'f' => Type::FLOAT8,
        'b' => Type::BOOL,
        's' => Type::TIMESTAMPTZ,
        'r' => Type::TEXT_ARRAY,
        _ => return None,
    })
}

/// Finds a function by its folded, unqualified name, as far as this server has it.
pub(crate) fn find(facts: &dyn Facts, name: &str) -> Option<Function> {
    if facts.engine() == Engine::Mysql {
        return super::mysql::functions::find(facts, name).or_else(|| ordinary(name));
    }
    metadata(facts, name).or_else(|| system(name)).or_else(|| ordinary(name))
}

/// Finds a function that depends on its arguments alone.
pub(crate) fn find_ordinary(name: &str) -> Option<Function> {
    ordinary(name)
}

fn strict(result: Type, args: &'static str, required: usize, run: Run) -> Option<Function> {
    Some(Function { result, args, required, strict: true, run })
}

fn lenient(result: Type, args: &'static str, required: usize, run: Run) -> Option<Function> {
    Some(Function { result, args, required, strict: false, run })
}

/// Schema and name of the functions that tell the flavours apart, as far as they exist here.
pub(crate) fn metadata_functions(facts: &dyn Facts) -> Vec<(&'static str, &'static str)> {
    let mut names = vec![("pg_catalog", "pg_is_in_recovery"), ("pg_catalog", "version")];
    match facts.flavour() {
        Flavour::Plain => {}
        Flavour::Aurora => names.extend(
            ["aurora_replica_status", "aurora_db_instance_identifier", "aurora_version"]
                .map(|f| ("pg_catalog", f)),
        ),
        Flavour::MultiAz if has_rds_tools(facts) && facts.rds_tools() != RdsTools::OldEngine => names.extend(
            ["show_topology", "dbi_resource_id", "multi_az_db_cluster_source_dbi_resource_id"]
                .map(|f| ("rds_tools", f)),
        ),
        Flavour::MultiAz => {}
    }
    names
}

/// Whether the extension `rds_tools` is installed in the session's database.
pub(crate) fn has_rds_tools(facts: &dyn Facts) -> bool {
    facts.flavour() == Flavour::MultiAz && facts.rds_tools() != RdsTools::Absent
}

/// Refuses a function or schema that this server does not have, or that the session may not look into.
///
/// # Errors
/// 42883 for what is absent, 3F000 for an absent schema, 42501 for a schema without USAGE.
pub(crate) fn require_visible(facts: &dyn Facts, name: &str) -> Result<(), SqlError> {
    if facts.engine() == Engine::Mysql {
        return Ok(());
    }
    let Some(bare) = name.strip_prefix("rds_tools.") else {
        let absent =
            name.starts_with("aurora_") && !metadata_functions(facts).iter().any(|(_, f)| *f == name);
        return if absent { Err(no_such_function(name)) } else { Ok(()) };
    };
    require_usage(facts)?;
    match metadata_functions(facts).contains(&("rds_tools", metadata_name(bare))) {
        true => Ok(()),
        false => Err(no_such_function(name)),
    }
}

fn metadata_name(name: &str) -> &'static str {
    let known = ["show_topology", "dbi_resource_id", "multi_az_db_cluster_source_dbi_resource_id"];
    known.into_iter().find(|known| *known == name).unwrap_or_default()
}

fn require_usage(facts: &dyn Facts) -> Result<(), SqlError> {
    if !has_rds_tools(facts) {
        return Err(SqlError::new("3F000", "schema \"rds_tools\" does not exist"));
    }
    if facts.rds_tools() == RdsTools::NoUsage {
        return Err(SqlError::new("42501", "permission denied for schema rds_tools"));
    }
    Ok(())
}

/// Refuses to run a function of `rds_tools` without EXECUTE.
pub(crate) fn require_execute(facts: &dyn Facts, function: &str) -> Result<(), SqlError> {
    match facts.rds_tools() {
        RdsTools::NoExecute => {
            Err(SqlError::new("42501", format!("permission denied for function {function}")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn no_such_function(name: &str) -> SqlError {
    SqlError::new("42883", format!("function {name} does not exist"))
}

/// What only Aurora and Multi-AZ clusters have.
fn metadata(facts: &dyn Facts, name: &str) -> Option<Function> {
    let (schema, bare) = name.split_once('.').unwrap_or(("pg_catalog", name));
    if !metadata_functions(facts).iter().any(|(s, n)| *s == schema && *n == bare) {
        return None;
    }
    match name {
        "aurora_db_instance_identifier" => {
            strict(Type::TEXT, "", 0, |env, _| Ok(Value::text(env.facts.instance())))
        }
        "aurora_version" => {
            strict(Type::TEXT, "", 0, |env, _| Ok(Value::text(aurora_version(&env.facts.version()))))
        }
        "rds_tools.dbi_resource_id" => strict(Type::TEXT, "", 0, |env, _| {
            require_execute(env.facts, "dbi_resource_id")?;
            Ok(Value::text(env.facts.resource_id()))
        }),
        "rds_tools.multi_az_db_cluster_source_dbi_resource_id" => strict(Type::TEXT, "", 0, |env, _| {
            require_execute(env.facts, "multi_az_db_cluster_source_dbi_resource_id")?;
            let writer = env.facts.topology().into_iter().find(|member| member.writer);
            Ok(writer.map_or(Value::Null, |member| Value::text(member.resource_id)))
        }),
        _ => None,
    }
}

fn aurora_version(version: &str) -> String {
    let number = version.split_whitespace().nth(1).unwrap_or("16.6");
    format!("{number}.0")
}

/// Functions of the server and the session.
fn system(name: &str) -> Option<Function> {
    match name {
        "version" => strict(Type::TEXT, "", 0, |env, _| Ok(Value::text(env.facts.version()))),
        "pg_is_in_recovery" => strict(Type::BOOL, "", 0, |env, _| Ok(Value::Bool(env.facts.in_recovery()))),
        "pg_backend_pid" => strict(Type::INT4, "", 0, |env, _| Ok(Value::Int(env.identity.pid.into()))),
        "inet_server_addr" => {
            strict(Type::INET, "", 0, |env, _| Ok(Value::text(env.facts.address().ip().to_string())))
        }
        "inet_server_port" => {
            strict(Type::INT4, "", 0, |env, _| Ok(Value::Int(env.facts.address().port().into())))
        }
        "inet_client_addr" => {
            strict(Type::INET, "", 0, |env, _| Ok(Value::text(env.identity.client.ip().to_string())))
        }
        "inet_client_port" => {
            strict(Type::INT4, "", 0, |env, _| Ok(Value::Int(env.identity.client.port().into())))
        }
        "pg_postmaster_start_time" => {
            strict(Type::TIMESTAMPTZ, "", 0, |env, _| Ok(time(env.facts.started())))
        }
        "now" | "transaction_timestamp" | "current_timestamp" => {
            strict(Type::TIMESTAMPTZ, "", 0, |env, _| Ok(Value::Time(env.clock)))
        }
        "statement_timestamp" | "clock_timestamp" => {
            strict(Type::TIMESTAMPTZ, "", 0, |_, _| Ok(Value::Time(now_micros())))
        }
        "localtimestamp" => strict(Type::TIMESTAMP, "", 0, |env, _| Ok(Value::Time(env.clock))),
        "current_user" | "session_user" | "user" | "current_role" => {
            strict(Type::NAME, "", 0, |env, _| Ok(Value::text(&env.identity.user)))
        }
        "current_database" | "current_catalog" => {
            strict(Type::NAME, "", 0, |env, _| Ok(Value::text(&env.identity.database)))
        }
        "current_schema" => strict(Type::NAME, "", 0, |env, _| {
            let path = env.vars.get("search_path").unwrap_or_default();
            let mut names = path.split(',').map(|name| name.trim().trim_matches('"').to_owned());
            Ok(names.find(|name| name != "$user").map_or(Value::Null, Value::text))
        }),
        "current_setting" => strict(Type::TEXT, "tb", 1, |env, args| {
            let found = env.vars.show(args[0].as_str(), env.facts);
            match (found, args.get(1)) {
                (Some(value), _) => Ok(Value::text(value)),
                (None, Some(missing_ok)) if missing_ok.is_true() => Ok(Value::Null),
                (None, _) => Err(crate::sim::session::unknown_setting(args[0].as_str())),
            }
        }),
        "set_config" => lenient(Type::TEXT, "ttb", 3, |env, args| {
            env.vars.set(args[0].as_str(), args[1].as_str(), args[2].is_true())?;
            Ok(env.vars.show(args[0].as_str(), env.facts).map_or(Value::Null, Value::text))
        }),
        "pg_sleep" => strict(Type::VOID, "f", 1, |env, args| {
            let seconds = args[0].as_float().clamp(0.0, 1e9);
            env.sleep += Duration::from_secs_f64(seconds);
            Ok(Value::text(""))
        }),
        "pg_notify" => strict(Type::VOID, "tt", 2, |env, args| {
            env.notifications.push((args[0].as_str().to_owned(), args[1].as_str().to_owned()));
            Ok(Value::text(""))
        }),
        "pg_terminate_backend" => strict(Type::BOOL, "ni", 1, |env, args| {
            Ok(Value::Bool(env.facts.signal(args[0].as_int() as i32, true)))
        }),
        "pg_cancel_backend" => strict(Type::BOOL, "n", 1, |env, args| {
            Ok(Value::Bool(env.facts.signal(args[0].as_int() as i32, false)))
        }),
        "nextval" => strict(Type::INT8, "t", 1, |env, args| {
            if env.facts.in_recovery() {
                return Err(SqlError::read_only("nextval()"));
            }
            Ok(Value::Int(env.store.next_of(args[0].as_str())))
        }),
        "to_regproc" => strict(Type::REGPROC, "t", 1, |env, args| to_regproc(env.facts, args[0].as_str())),
        "to_regprocedure" => strict(Type::REGPROCEDURE, "t", 1, |env, args| {
            to_regproc(env.facts, args[0].as_str().split('(').next().unwrap_or_default())
        }),
        "to_regclass" => strict(Type::REGCLASS, "t", 1, |env, args| {
            let name = unqualified(args[0].as_str());
            let known = env.db.table(&name).is_some() || Relation::view(&name).is_some();
            Ok(if known { Value::text(name) } else { Value::Null })
        }),
        "to_regnamespace" => strict(Type::REGNAMESPACE, "t", 1, |env, args| {
            let known = catalog::schemas(env).iter().any(|schema| schema == args[0].as_str());
            Ok(if known { args[0].clone() } else { Value::Null })
        }),
        "has_schema_privilege" => strict(Type::BOOL, "ttt", 2, |env, args| {
            let given = args[args.len() - 2].as_str();
            let schemas = catalog::schemas(env);
            let schema = by_oid(given, schemas.iter().map(|known| (known.as_str(), known.as_str())));
            if !schemas.iter().any(|known| known == schema) {
                return Err(SqlError::new("3F000", format!("schema \"{schema}\" does not exist")));
            }
            Ok(Value::Bool(schema != "rds_tools" || env.facts.rds_tools() != RdsTools::NoUsage))
        }),
        "has_function_privilege" => strict(Type::BOOL, "ttt", 2, |env, args| {
            let given = args[args.len() - 2].as_str();
            let known: Vec<(&str, String)> = metadata_functions(env.facts)
                .into_iter()
                .map(|(schema, name)| (name, format!("{schema}.{name}")))
                .collect();
            let found = by_oid(given, known.iter().map(|(name, full)| (*name, full.as_str())));
            let name = found.split('(').next().unwrap_or_default();
            // Named by its oid it needs no USAGE on its schema.
            if found == given && to_regproc(env.facts, name)?.is_null() {
                return Err(no_such_function(args[args.len() - 2].as_str()));
            }
            Ok(Value::Bool(!name.starts_with("rds_tools.") || env.facts.rds_tools() != RdsTools::NoExecute))
        }),
        "has_table_privilege" | "has_database_privilege" => {
            strict(Type::BOOL, "ttt", 2, |_, _| Ok(Value::Bool(true)))
        }
        _ => None,
    }
}

/// What an object id stands for, among catalogued and full names; a name stands for itself.
fn by_oid<'a>(given: &'a str, mut known: impl Iterator<Item = (&'a str, &'a str)>) -> &'a str {
    let Ok(oid) = given.parse::<u32>() else { return given };
    known.find(|(name, _)| oid_of(name) == oid).map_or(given, |(_, full)| full)
}

/// As in PostgreSQL: null for an absent function or schema, but an error for a schema without USAGE.
fn to_regproc(facts: &dyn Facts, name: &str) -> Result<Value, SqlError> {
    let name = unqualified(name.trim());
    if name.starts_with("rds_tools.") && has_rds_tools(facts) {
        require_usage(facts)?;
    }
    let rows = Relation::function(&name).is_some() && require_visible(facts, &name).is_ok();
    let known = rows || find(facts, &name).is_some();
    Ok(if known { Value::text(name) } else { Value::Null })
}

fn time(at: SystemTime) -> Value {
    let age = SystemTime::now().duration_since(at).or_else(|_| at.duration_since(UNIX_EPOCH));
    Value::Time(now_micros() - age.unwrap_or_default().as_micros() as i64)
}

/// Functions that depend on their arguments alone.
fn ordinary(name: &str) -> Option<Function> {
    match name {
        "lower" => strict(Type::TEXT, "t", 1, |_, a| Ok(Value::text(a[0].as_str().to_lowercase()))),
        "upper" => strict(Type::TEXT, "t", 1, |_, a| Ok(Value::text(a[0].as_str().to_uppercase()))),
        "length" | "char_length" | "character_length" => {
            strict(Type::INT4, "t", 1, |_, a| Ok(Value::Int(a[0].as_str().chars().count() as i64)))
        }
        "btrim" | "trim" => {
            strict(Type::TEXT, "t", 1, |_, a| Ok(Value::text(a[0].as_str().trim_matches(' '))))
        }
        "ltrim" => strict(Type::TEXT, "t", 1, |_, a| Ok(Value::text(a[0].as_str().trim_start_matches(' ')))),
        "rtrim" => strict(Type::TEXT, "t", 1, |_, a| Ok(Value::text(a[0].as_str().trim_end_matches(' ')))),
        "replace" => strict(Type::TEXT, "ttt", 3, |_, a| {
            Ok(Value::text(a[0].as_str().replace(a[1].as_str(), a[2].as_str())))
        }),
        "repeat" => strict(Type::TEXT, "tn", 2, |_, a| {
            Ok(Value::text(a[0].as_str().repeat(a[1].as_int().clamp(0, 1 << 24) as usize)))
        }),
        "split_part" => strict(Type::TEXT, "ttn", 3, |_, a| {
            let at = usize::try_from(a[2].as_int() - 1).unwrap_or(usize::MAX);
            Ok(Value::text(a[0].as_str().split(a[1].as_str()).nth(at).unwrap_or_default()))
        }),
        "strpos" => strict(Type::INT4, "tt", 2, |_, a| Ok(position(a[1].as_str(), a[0].as_str()))),
        "position" => strict(Type::INT4, "tt", 2, |_, a| Ok(position(a[0].as_str(), a[1].as_str()))),
        "substring" | "substr" => strict(Type::TEXT, "tnn", 2, |_, a| {
            // Positions count from 1; those before the text use up the length, as in the SQL standard.
            let start = a[1].as_int() - 1;
            let end = a.get(2).map_or(i64::MAX, |length| start.saturating_add(length.as_int()));
            let taken = a[0].as_str().chars().zip(0_i64..).filter(|(_, at)| (start..end).contains(at));
            Ok(Value::text(taken.map(|(c, _)| c).collect::<String>()))
        }),
        "left" => strict(Type::TEXT, "tn", 2, |_, a| {
            Ok(Value::text(a[0].as_str().chars().take(a[1].as_int().max(0) as usize).collect::<String>()))
        }),
        "concat" => lenient(Type::TEXT, "tttttttt", 1, |_, a| {
            Ok(Value::text(a.iter().map(Value::as_str).collect::<String>()))
        }),
        "string_to_array" => strict(Type::TEXT_ARRAY, "tt", 2, |_, a| {
            Ok(Value::Array(a[0].as_str().split(a[1].as_str()).map(Value::text).collect()))
        }),
        "array_to_string" => strict(Type::TEXT, "rt", 2, |_, a| match &a[0] {
            Value::Array(items) => {
                let items = items.iter().filter(|item| !item.is_null()).map(Value::as_str);
                Ok(Value::text(items.collect::<Vec<_>>().join(a[1].as_str())))
            }
            _ => Ok(Value::Null),
        }),
        "cardinality" | "array_length" => strict(Type::INT4, "an", 1, |_, a| match &a[0] {
            Value::Array(items) => Ok(Value::Int(items.len() as i64)),
            _ => Ok(Value::Null),
        }),
        "abs" => strict(Type::FLOAT8, "f", 1, |_, a| Ok(Value::Float(a[0].as_float().abs()))),
        "round" => strict(Type::FLOAT8, "f", 1, |_, a| Ok(Value::Float(a[0].as_float().round_ties_even()))),
        "floor" => strict(Type::FLOAT8, "f", 1, |_, a| Ok(Value::Float(a[0].as_float().floor()))),
        "ceil" | "ceiling" => strict(Type::FLOAT8, "f", 1, |_, a| Ok(Value::Float(a[0].as_float().ceil()))),
        "random" => strict(Type::FLOAT8, "", 0, |_, _| Ok(Value::Float(fastrand::f64()))),
        "gen_random_uuid" => strict(Type::UUID, "", 0, |_, _| {
            let digits = format!("{:032x}", fastrand::u128(..));
            let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
            Ok(Value::text(parts.join("-")))
        }),
        "extract_epoch" => strict(Type::FLOAT8, "a", 1, |_, a| match a[0] {
            Value::Time(micros) => Ok(Value::Float(micros as f64 / 1e6 + 946_684_800.0)),
            Value::Span(micros) => Ok(Value::Float(micros as f64 / 1e6)),
            _ => Err(SqlError::unsupported("extract from this type")),
        }),
        "quote_ident" => strict(Type::TEXT, "t", 1, |_, a| {
            let text = a[0].as_str();
            let is_plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            Ok(match is_plain {
                true => Value::text(text),
                false => Value::text(format!("\"{}\"", text.replace('"', "\"\""))),
            })
        }),
        _ => None,
    }
}

fn position(needle: &str, text: &str) -> Value {
    let found = text.find(needle).map_or(0, |at| text[..at].chars().count() + 1);
    Value::Int(found as i64)
}

/// `pg_typeof` is answered from the bound type, not from the value.
pub(crate) fn typeof_text(ty: &Type) -> Value {
    Value::text(type_name(ty))
}
