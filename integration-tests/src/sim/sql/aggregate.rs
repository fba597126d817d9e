//! Aggregate functions.
//!
//! What may not live here: grouping (`select.rs`).

use std::cmp::Ordering;

use pgwire::api::Type;

use super::Env;
use super::eval::{Frame, eval};
use super::expr::Expr;
use super::value::{Family, Value, array_of, family};
use crate::sim::error::SqlError;

/// A bound call of an aggregate function.
#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) kind: Kind,
    pub(crate) arg: Option<Expr>,
    /// Separator of `string_agg`.
    pub(crate) separator: Option<Expr>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Count,
    Sum,
    Average,
    Min,
    Max,
    All,
    Any,
    Text,
    Array,
}

impl Kind {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Kind::Count,
            "sum" => Kind::Sum,
            "avg" => Kind::Average,
            "min" => Kind::Min,
            "max" => Kind::Max,
            "bool_and" | "every" => Kind::All,
            "bool_or" => Kind::Any,
            "string_agg" => Kind::Text,
            "array_agg" => Kind::Array,
            _ => return None,
        })
    }

    /// The type of the result for an argument of this type.
    pub(crate) fn result(self, arg: &Type) -> Result<Type, SqlError> {
        Ok(match self {
            Kind::Count => Type::INT8,
            Kind::Sum if matches!(*arg, Type::INT2 | Type::INT4) => Type::INT8,
            Kind::Sum if *arg == Type::INT8 => Type::NUMERIC,
            Kind::Average if family(arg) == Family::Int => Type::NUMERIC,
            Kind::Sum | Kind::Average | Kind::Min | Kind::Max => arg.clone(),
            Kind::All | Kind::Any => Type::BOOL,
            Kind::Text => Type::TEXT,
            Kind::Array => {
                array_of(arg).ok_or_else(|| SqlError::unsupported(format!("array_agg of type {arg}")))?
            }
        })
    }
}

impl Aggregate {
    /// Runs over the rows of one group.
    pub(crate) fn run(
        &self,
        rows: &[Vec<Value>],
        parent: Option<&Frame<'_>>,
        env: &mut Env<'_>,
    ) -> Result<Value, SqlError> {
        let mut values = Vec::new();
        for row in rows {
            let frame = Frame { row, group: None, parent };
            if let Some(filter) = &self.filter
                && !eval(filter, &frame, env)?.is_true()
            {
                continue;
            }
            match &self.arg {
                None => values.push(Value::Bool(true)),
                Some(arg) => values.push(eval(arg, &frame, env)?),
            }
        }
        if self.kind != Kind::Array {
            values.retain(|value| !value.is_null());
        }
        if self.distinct {
            let mut seen: Vec<Value> = Vec::new();
            values.retain(|value| {
                let new = !seen.contains(value);
                if new {
                    seen.push(value.clone());
                }
                new
            });
        }
        if self.kind == Kind::Count {
            return Ok(Value::Int(values.len() as i64));
        }
        if values.is_empty() {
            return Ok(Value::Null);
        }
        let extreme = |wanted: Ordering| {
            let better = |best: &Value, value: &Value| value.compare(best) == Some(wanted);
            values
                .iter()
                .fold(&values[0], |best, value| if better(best, value) { value } else { best })
                .clone()
        };
        Ok(match self.kind {
            Kind::Count => Value::Int(values.len() as i64),
            Kind::Sum => sum(&values)?,
            Kind::Average => Value::Float(sum(&values)?.as_float() / values.len() as f64),
            Kind::Min => extreme(Ordering::Less),
            Kind::Max => extreme(Ordering::Greater),
            Kind::All => Value::Bool(values.iter().all(Value::is_true)),
            Kind::Any => Value::Bool(values.iter().any(Value::is_true)),
            Kind::Text => {
                let frame = Frame { row: &rows[0], group: None, parent };
                let separator = match &self.separator {
                    Some(separator) => eval(separator, &frame, env)?,
                    None => Value::Null,
                };
                Value::text(values.iter().map(Value::as_str).collect::<Vec<_>>().join(separator.as_str()))
            }
            Kind::Array => Value::Array(values),
        })
    }
}

fn sum(values: &[Value]) -> Result<Value, SqlError> {
    if values.iter().all(|value| matches!(value, Value::Int(_))) {
        let total = values.iter().try_fold(0_i64, |sum, value| sum.checked_add(value.as_int()));
        return total.map(Value::Int).ok_or_else(|| SqlError::new("22003", "bigint out of range"));
    }
    Ok(Value::Float(values.iter().map(Value::as_float).sum()))
}
