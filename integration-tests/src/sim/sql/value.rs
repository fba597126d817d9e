//! Values of the simulated servers: text form, comparison and casts.
//!
//! What may not live here: the binary wire form (`wire.rs`) and anything about expressions.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use pgwire::api::Type;
use postgres_types::Kind;

use crate::sim::error::SqlError;

/// Microseconds from the Unix epoch to 2000-01-01, PostgreSQL's epoch.
const PG_EPOCH: i64 = 946_684_800_000_000;

/// One value; its SQL type is known from the column or expression that holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    /// Microseconds since 2000-01-01 UTC.
    Time(i64),
    /// A span in microseconds.
    Span(i64),
    Array(Vec<Value>),
}

/// Which variant of [`Value`] a type uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    Time,
    Span,
    Array,
}

pub(crate) fn family(ty: &Type) -> Family {
    match *ty {
        Type::BOOL => Family::Bool,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Family::Int,
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => Family::Float,
        Type::BYTEA => Family::Bytes,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Family::Time,
        Type::INTERVAL => Family::Span,
        _ if element(ty).is_some() => Family::Array,
        _ => Family::Text,
    }
}

/// The element type of an array type.
pub(crate) fn element(ty: &Type) -> Option<&Type> {
    match ty.kind() {
        Kind::Array(element) => Some(element),
        _ => None,
    }
}

/// The present wall-clock time as a value.
pub(crate) fn now_micros() -> i64 {
    Utc::now().timestamp_micros() - PG_EPOCH
}

impl Value {
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Value::Text(Arc::from(text.as_ref()))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Value::Text(text) => text,
            _ => "",
        }
    }

    pub(crate) fn as_int(&self) -> i64 {
        match *self {
            Value::Int(number) => number,
            Value::Float(number) => number.round_ties_even() as i64,
            _ => 0,
        }
    }

    pub(crate) fn as_float(&self) -> f64 {
        match *self {
            Value::Int(number) => number as f64,
            Value::Float(number) => number,
            _ => 0.0,
        }
    }

    /// SQL comparison; `None` when one side is null or the two cannot be compared.
    pub(crate) fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
                Some(self.as_float().total_cmp(&other.as_float()))
            }
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) | (Value::Span(a), Value::Span(b)) => Some(a.cmp(b)),
            (Value::Array(a), Value::Array(b)) => {
                let differing =
                    a.iter().zip(b).map(|(x, y)| x.compare(y)).find(|o| *o != Some(Ordering::Equal));
                differing.unwrap_or_else(|| Some(a.len().cmp(&b.len())))
            }
            _ => None,
        }
    }

    /// The text form that PostgreSQL prints for a value of this type; `None` for null.
    pub(crate) fn to_text(&self, ty: &Type) -> Option<String> {
        Some(match self {
            Value::Null => return None,
            Value::Bool(flag) => if *flag { "t" } else { "f" }.to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) if number.is_infinite() => {
                if *number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
            }
            Value::Float(number) if *ty == Type::FLOAT4 => (*number as f32).to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) => text.to_string(),
            Value::Bytes(bytes) => {
                let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
                std::iter::once("\\x".to_owned()).chain(digits).collect()
            }
            Value::Time(micros) => {
                let zone = if *ty == Type::TIMESTAMP { "" } else { "+00" };
                format!("{}{zone}", moment(*micros).format("%Y-%m-%d %H:%M:%S%.f"))
            }
            Value::Span(micros) => span_text(*micros),
            Value::Array(items) => {
                let inner = element(ty).unwrap_or(&Type::TEXT);
                let items = items.iter().map(|item| array_item(item.to_text(inner)));
                format!("{{{}}}", items.collect::<Vec<_>>().join(","))
            }
        })
    }

    /// Reads the text form of a value of this type.
    pub(crate) fn parse(ty: &Type, text: &str) -> Result<Value, SqlError> {
        let bad = || {
            let name = type_name(ty);
            SqlError::new("22P02", format!("invalid input syntax for type {name}: \"{text}\""))
        };
        let trimmed = text.trim();
        Ok(match family(ty) {
            Family::Bool => match trimmed.to_ascii_lowercase().as_str() {
                "t" | "true" | "on" | "yes" | "1" => Value::Bool(true),
                "f" | "false" | "off" | "no" | "0" => Value::Bool(false),
                _ => return Err(bad()),
            },
            Family::Int => in_range(trimmed.parse().map_err(|_| bad())?, ty)?,
            Family::Float => match trimmed.parse::<i64>() {
                Ok(number) if *ty == Type::NUMERIC => Value::Int(number),
                _ => Value::Float(trimmed.parse().map_err(|_| bad())?),
            },
            Family::Bytes => {
                let Some(digits) = text.strip_prefix("\\x") else {
                    return Ok(Value::Bytes(text.as_bytes().into())); // the old escape format, without escapes
                };
                let pairs = digits.as_bytes().chunks(2).map(std::str::from_utf8);
                let bytes =
                    pairs.map(|pair| u8::from_str_radix(pair.map_err(|_| bad())?, 16).map_err(|_| bad()));
                Value::Bytes(bytes.collect::<Result<Vec<u8>, _>>()?.into())
            }
            Family::Time if trimmed.eq_ignore_ascii_case("now") => Value::Time(now_micros()),
            Family::Time => Value::Time(parse_moment(trimmed).ok_or_else(bad)?),
            Family::Span => Value::Span(parse_span(trimmed).ok_or_else(bad)?),
            Family::Array => {
                let inner = element(ty).cloned().unwrap_or(Type::TEXT);
                let body =
                    trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(bad)?;
                let items = split_array(body).into_iter();
                let items =
                    items.map(|item| item.map_or(Ok(Value::Null), |text| Value::parse(&inner, &text)));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Family::Text => Value::text(text),
        })
    }

    /// An explicit or assignment cast from one type to another.
    pub(crate) fn cast(self, from: &Type, to: &Type) -> Result<Value, SqlError> {
        if self.is_null() || from == to {
            return Ok(self);
        }
        match (&self, family(to)) {
            (Value::Text(text), family) if family != Family::Text => Value::parse(to, text),
            (Value::Int(_) | Value::Float(_), Family::Int) => in_range(self.as_int(), to),
            (Value::Int(_), Family::Float) if *to == Type::NUMERIC => Ok(self),
            (Value::Int(_) | Value::Float(_), Family::Float) => Ok(Value::Float(self.as_float())),
            (Value::Int(number), Family::Bool) => Ok(Value::Bool(*number != 0)),
            (Value::Bool(flag), Family::Int) => Ok(Value::Int(i64::from(*flag))),
            (Value::Bool(flag), Family::Text) => Ok(Value::text(if *flag { "true" } else { "false" })),
            (Value::Array(items), Family::Array) => {
                let inner = |ty: &Type| element(ty).cloned().unwrap_or(Type::TEXT);
                let (from, to) = (inner(from), inner(to));
                let items = items.iter().map(|item| item.clone().cast(&from, &to));
                Ok(Value::Array(items.collect::<Result<_, _>>()?))
            }
            (_, Family::Text) => Ok(self.to_text(from).map_or(Value::Null, Value::text)),
            (Value::Bool(_), Family::Bool)
            | (Value::Time(_), Family::Time)
            | (Value::Span(_), Family::Span)
            | (Value::Bytes(_), Family::Bytes) => Ok(self),
            _ => {
                let (from, to) = (type_name(from), type_name(to));
                Err(SqlError::new("42846", format!("cannot cast type {from} to {to}")))
            }
        }
    }
}

fn in_range(number: i64, ty: &Type) -> Result<Value, SqlError> {
    let fits = match *ty {
        Type::INT2 => i16::try_from(number).is_ok(),
        Type::INT4 => i32::try_from(number).is_ok(),
        Type::OID => u32::try_from(number).is_ok(),
        _ => true,
    };
    match fits {
        true => Ok(Value::Int(number)),
        false => Err(SqlError::new("22003", format!("{} out of range", type_name(ty)))),
    }
}

/// The name that PostgreSQL uses in its messages and for `pg_typeof`.
pub(crate) fn type_name(ty: &Type) -> String {
    match *ty {
        Type::BOOL => "boolean".into(),
        Type::INT2 => "smallint".into(),
        Type::INT4 => "integer".into(),
        Type::INT8 => "bigint".into(),
        Type::FLOAT4 => "real".into(),
        Type::FLOAT8 => "double precision".into(),
        Type::VARCHAR => "character varying".into(),
        Type::BPCHAR => "character".into(),
        Type::TIMESTAMPTZ => "timestamp with time zone".into(),
        Type::TIMESTAMP => "timestamp without time zone".into(),
        _ => match element(ty) {
            Some(inner) => format!("{}[]", type_name(inner)),
            None => ty.name().to_owned(),
        },
    }
}

/// The type that a name in SQL text means, or `None` when the simulation does not have it.
pub(crate) fn type_by_name(name: &str) -> Option<Type> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    if let Some(inner) = name.strip_suffix("[]") {
        return array_of(&type_by_name(inner)?);
    }
    let bare = match (name.find('('), name.find(')')) {
        (Some(open), Some(close)) => format!("{}{}", name[..open].trim_end(), &name[close + 1..]),
        _ => name.to_owned(),
    };
    Some(match bare.as_str() {
        "bool" | "boolean" => Type::BOOL,
        "int2" | "smallint" | "smallserial" => Type::INT2,
        "int" | "int4" | "integer" | "serial" | "serial4" => Type::INT4,
        "int8" | "bigint" | "bigserial" | "serial8" => Type::INT8,
        "oid" => Type::OID,
        "float4" | "real" => Type::FLOAT4,
        "float8" | "float" | "double precision" | "double" => Type::FLOAT8,
        "numeric" | "decimal" => Type::NUMERIC,
        "text" | "string" => Type::TEXT,
        "varchar" | "character varying" => Type::VARCHAR,
        "char" | "character" | "bpchar" => Type::BPCHAR,
        "name" => Type::NAME,
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        "bytea" => Type::BYTEA,
        "timestamp" | "timestamp without time zone" => Type::TIMESTAMP,
        "timestamptz" | "timestamp with time zone" => Type::TIMESTAMPTZ,
        "interval" => Type::INTERVAL,
        "uuid" => Type::UUID,
        "inet" => Type::INET,
        "regproc" => Type::REGPROC,
        "regprocedure" => Type::REGPROCEDURE,
        "regclass" => Type::REGCLASS,
        "regnamespace" => Type::REGNAMESPACE,
        "regtype" => Type::REGTYPE,
        _ => return None,
    })
}

pub(crate) fn array_of(inner: &Type) -> Option<Type> {
    Some(match *inner {
        Type::BOOL => Type::BOOL_ARRAY,
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::TEXT | Type::UNKNOWN => Type::TEXT_ARRAY,
        Type::VARCHAR => Type::VARCHAR_ARRAY,
        Type::NAME => Type::NAME_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::UUID => Type::UUID_ARRAY,
        _ => return None,
    })
}

/// The point in time that a value means.
pub(crate) fn moment(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros.saturating_add(PG_EPOCH)).unwrap_or(DateTime::UNIX_EPOCH)
}

/// Reads a date or a point in time; microseconds as in [`Value::Time`].
pub(crate) fn parse_moment(text: &str) -> Option<i64> {
    let with_zone = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    let zoned = with_zone.iter().find_map(|form| DateTime::parse_from_str(text, form).ok());
    let plain = text.trim_end_matches('Z');
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let naive = || forms.iter().find_map(|form| NaiveDateTime::parse_from_str(plain, form).ok());
    let date = || chrono::NaiveDate::parse_from_str(plain, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let unix = zoned
        .map(|t| t.timestamp_micros())
        .or_else(|| naive().or_else(date).map(|t| t.and_utc().timestamp_micros()))?;
    Some(unix - PG_EPOCH)
}

fn span_text(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = format!(".{fraction:06}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}

/// A span such as `300 seconds`, `1 day`, `1.5s`, `00:05:00`; microseconds.
pub(crate) fn parse_span(text: &str) -> Option<i64> {
    if text.contains(':') {
        let fields: Option<Vec<f64>> = text.split(':').map(|field| field.trim().parse().ok()).collect();
        let seconds = fields?.into_iter().fold(0.0, |sum, field| sum * 60.0 + field);
        return Some((seconds * 1e6).round() as i64);
    }
    let mut total = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match rest[..letters].to_ascii_lowercase().trim_end_matches('s') {
            "u" | "microsecond" => 1.0,
            "m" if rest[..letters].eq_ignore_ascii_case("ms") => 1e3,
            "millisecond" | "msec" => 1e3,
            "" | "second" | "sec" => 1e6,
            "m" | "min" | "minute" => 60e6,
            "h" | "hour" => 3600e6,
            "d" | "day" => 86_400e6,
            _ => return None,
        };
        total += amount * unit;
        rest = rest[letters..].trim_start();
    }
    Some(total.round() as i64)
}

fn array_item(text: Option<String>) -> String {
    match text {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() || text.contains(['{', '}', ',', '"', '\\', ' ']) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        Some(text) => text,
    }
}

fn split_array(body: &str) -> Vec<Option<String>> {
    let (mut items, mut item, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let mut chars = body.chars();
    let finish = |item: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(item);
        let null = !std::mem::take(was_quoted) && text.eq_ignore_ascii_case("null");
        if null { None } else { Some(text) }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => item.extend(chars.next()),
            '"' => (quoted, was_quoted) = (!quoted, true),
            ',' if !quoted => items.push(finish(&mut item, &mut was_quoted)),
            c => item.push(c),
        }
    }
    if !body.is_empty() {
        items.push(finish(&mut item, &mut was_quoted));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_their_text_form() {
        let cases = [
            (Type::INT4, "-7"),
            (Type::BOOL, "t"),
            (Type::FLOAT8, "1.5"),
            (Type::BYTEA, "\\x00ff"),
            (Type::TIMESTAMPTZ, "2024-02-29 12:30:00.000250+00"),
            (Type::INTERVAL, "00:05:00.5"),
            (Type::INT4_ARRAY, "{1,NULL,3}"),
            (Type::TEXT_ARRAY, "{a,\"b c\",\"\",NULL}"),
        ];
        for (ty, text) in cases {
            let value = Value::parse(&ty, text).unwrap();
            assert_eq!(value.to_text(&ty).as_deref(), Some(text), "{ty}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Value::parse(&Type::INT2, "40000").unwrap_err().code, "22003");
        assert_eq!(Value::parse(&Type::INT4, "x").unwrap_err().code, "22P02");
        assert_eq!(Value::Time(0).cast(&Type::TIMESTAMPTZ, &Type::INT4).unwrap_err().code, "42846");
    }

    #[test]
    fn spans_are_read_with_their_units() {
        assert_eq!(parse_span("300 seconds"), Some(300_000_000));
        assert_eq!(parse_span("1 day 2 hours"), Some(93_600_000_000));
        assert_eq!(parse_span("250ms"), Some(250_000));
        assert_eq!(parse_span("soon"), None);
    }
}
