//! MySQL's functions of one value that PostgreSQL does not have, or has otherwise.
//!
//! What may not live here: those that both have (`sql/functions.rs`).

use std::time::Duration;

use pgwire::api::Type;

use crate::sim::flavour::Flavour;
use crate::sim::sql::Facts;
use crate::sim::sql::functions::{Function, Run};
use crate::sim::sql::value::{Value, now_micros};

/// Microseconds from the Unix epoch to the one that times count from here.
const EPOCH: f64 = 946_684_800.0;

fn function(result: Type, args: &'static str, required: usize, strict: bool, run: Run) -> Option<Function> {
    Some(Function { result, args, required, strict, run })
}

/// Finds a function of MySQL's own by its folded name, as far as this server has it.
pub(crate) fn find(facts: &dyn Facts, name: &str) -> Option<Function> {
    match name {
        "aurora_version" if facts.flavour() == Flavour::Aurora => {
            function(Type::TEXT, "", 0, true, |env, _| {
                super::variables::read(env, &[Value::text("aurora_version")])
            })
        }
        "version" => function(Type::TEXT, "", 0, true, |env, _| Ok(Value::text(env.facts.version()))),
        "connection_id" => {
            function(Type::INT8, "", 0, true, |env, _| Ok(Value::Int(env.identity.pid.into())))
        }
        "database" | "schema" => function(Type::TEXT, "", 0, true, |env, _| {
            let database = env.identity.database.as_str();
            Ok(if database.is_empty() { Value::Null } else { Value::text(database) })
        }),
        "user" | "session_user" | "system_user" => function(Type::TEXT, "", 0, true, |env, _| {
            Ok(Value::text(format!("{}@{}", env.identity.user, env.identity.client.ip())))
        }),
        "current_user" => {
            function(Type::TEXT, "", 0, true, |env, _| Ok(Value::text(format!("{}@%", env.identity.user))))
        }
        "last_insert_id" => function(Type::INT8, "", 0, true, |env, _| Ok(Value::Int(env.last_insert_id))),
        "now" | "current_timestamp" | "localtime" | "localtimestamp" | "utc_timestamp" => {
            function(Type::TIMESTAMP, "n", 0, true, |env, _| Ok(Value::Time(env.clock)))
        }
        "sysdate" => function(Type::TIMESTAMP, "n", 0, true, |_, _| Ok(Value::Time(now_micros()))),
        "unix_timestamp" => function(Type::NUMERIC, "s", 0, true, |env, args| {
            Ok(match args.first() {
                None => Value::Int((env.clock as f64 / 1e6 + EPOCH) as i64),
                Some(Value::Time(micros)) => Value::Float(*micros as f64 / 1e6 + EPOCH),
                Some(_) => Value::Null,
            })
        }),
        "timestampdiff" => function(Type::INT8, "tss", 3, true, |_, args| {
            let [unit, Value::Time(from), Value::Time(to)] = args else { return Ok(Value::Null) };
            let micros = match unit.as_str().to_ascii_lowercase().as_str() {
                "microsecond" => 1,
                "second" => 1_000_000,
                "minute" => 60_000_000,
                "hour" => 3_600_000_000,
                "day" => 86_400_000_000,
                other => {
                    return Err(crate::sim::error::SqlError::unsupported(format!(
                        "TIMESTAMPDIFF({other}, …)"
                    )));
                }
            };
            Ok(Value::Int((to - from) / micros))
        }),
        "sleep" => function(Type::INT8, "f", 1, true, |env, args| {
            let seconds = args.first().map_or(0.0, Value::as_float).clamp(0.0, 1e9);
            env.sleep += Duration::from_secs_f64(seconds);
            Ok(Value::Int(0))
        }),
        "uuid" => crate::sim::sql::functions::find_ordinary("gen_random_uuid"),
        _ => None,
    }
}
