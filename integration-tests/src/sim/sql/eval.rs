//! Evaluation of bound expressions.
//!
//! What may not live here: name and type resolution (`bind.rs`), the functions themselves (`functions.rs`).

use std::cmp::Ordering;

use super::Env;
use super::expr::{Comparison, Expr, Node};
use super::select;
use super::text::{like, regex};
use super::value::{Family, Value, family};
use crate::sim::error::SqlError;

/// The row that an expression is evaluated for, within the rows of the queries around it.
pub(crate) struct Frame<'a> {
    pub(crate) row: &'a [Value],
    /// The rows of the present group, for aggregates.
    pub(crate) group: Option<&'a [Vec<Value>]>,
    pub(crate) parent: Option<&'a Frame<'a>>,
}

impl Frame<'static> {
    /// The frame of expressions that see no row.
    pub(crate) const NONE: Frame<'static> = Frame { row: &[], group: None, parent: None };
}

impl Comparison {
    pub(crate) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Eq => ordering.is_eq(),
            Comparison::Ne => ordering.is_ne(),
            Comparison::Lt => ordering.is_lt(),
            Comparison::Le => ordering.is_le(),
            Comparison::Gt => ordering.is_gt(),
            Comparison::Ge => ordering.is_ge(),
        }
    }

    fn of(self, left: &Value, right: &Value) -> Value {
        left.compare(right).map_or(Value::Null, |ordering| Value::Bool(self.holds(ordering)))
    }
}

/// Evaluates an expression for a row.
pub(crate) fn eval(expr: &Expr, frame: &Frame<'_>, env: &mut Env<'_>) -> Result<Value, SqlError> {
    Ok(match &expr.node {
        Node::Const(value) => value.clone(),
        Node::Param(index) => match env.params.get(*index) {
            Some(value) => value.clone(),
            None => return Err(SqlError::new("42P02", format!("there is no parameter ${}", index + 1))),
        },
        Node::Column { up, index } => column(frame, *up, *index)?,
        Node::Call { run, strict, args } => {
            let mut values = Vec::with_capacity(args.len());
            for arg in args {
                values.push(eval(arg, frame, env)?);
            }
            if *strict && values.iter().any(Value::is_null) {
                return Ok(Value::Null);
            }
            run(env, &values)?
        }
        Node::Cast(arg) => eval(arg, frame, env)?.cast(&arg.ty, &expr.ty)?,
        Node::Compare { op, left, right } => op.of(&eval(left, frame, env)?, &eval(right, frame, env)?),
        Node::Distinct { negated, left, right } => {
            let (left, right) = (eval(left, frame, env)?, eval(right, frame, env)?);
            let same = match (left.is_null(), right.is_null()) {
                (false, false) => left.compare(&right) == Some(Ordering::Equal),
                (left, right) => left == right,
            };
            Value::Bool(same == *negated)
        }
        Node::Arithmetic { op, left, right } => {
            let (left, right) = (eval(left, frame, env)?, eval(right, frame, env)?);
            fitting(arithmetic(*op, &left, &right)?, expr)?
        }
        Node::Concat(left, right) => {
            let texts =
                (eval(left, frame, env)?.to_text(&left.ty), eval(right, frame, env)?.to_text(&right.ty));
            match texts {
                (Some(left), Some(right)) => Value::text(left + &right),
                _ => Value::Null,
            }
        }
        Node::And(left, right) => match eval(left, frame, env)? {
            Value::Bool(false) => Value::Bool(false),
            left => match eval(right, frame, env)? {
                Value::Bool(false) => Value::Bool(false),
                right if left.is_null() || right.is_null() => Value::Null,
                _ => Value::Bool(true),
            },
        },
        Node::Or(left, right) => match eval(left, frame, env)? {
            Value::Bool(true) => Value::Bool(true),
            left => match eval(right, frame, env)? {
                Value::Bool(true) => Value::Bool(true),
                right if left.is_null() || right.is_null() => Value::Null,
                _ => Value::Bool(false),
            },
        },
        Node::Not(arg) => match eval(arg, frame, env)? {
            Value::Bool(flag) => Value::Bool(!flag),
            _ => Value::Null,
        },
        Node::Negate(arg) => match eval(arg, frame, env)? {
            Value::Int(number) => Value::Int(number.wrapping_neg()),
            Value::Float(number) => Value::Float(-number),
            Value::Span(micros) => Value::Span(-micros),
            other => other,
        },
        Node::IsNull { negated, arg } => Value::Bool(eval(arg, frame, env)?.is_null() != *negated),
        Node::IsBool { wanted, negated, arg } => {
            Value::Bool((eval(arg, frame, env)? == Value::Bool(*wanted)) != *negated)
        }
        Node::Like { pattern, arg, any_case, negated } => text_test(
            &eval(arg, frame, env)?,
            &eval(pattern, frame, env)?,
            *any_case,
            *negated,
            |text, pattern| Ok(like(text, pattern)),
        )?,
        Node::Matches { pattern, arg, any_case, negated } => {
            text_test(&eval(arg, frame, env)?, &eval(pattern, frame, env)?, *any_case, *negated, regex)?
        }
        Node::Case { branches, otherwise } => {
            for (condition, result) in branches {
                if eval(condition, frame, env)?.is_true() {
                    return eval(result, frame, env);
                }
            }
            return otherwise.as_ref().map_or(Ok(Value::Null), |result| eval(result, frame, env));
        }
        Node::Coalesce(args) => {
            for arg in args {
                let value = eval(arg, frame, env)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            Value::Null
        }
        Node::Extreme { greatest, args } => {
            let mut best = Value::Null;
            let wanted = if *greatest { Ordering::Greater } else { Ordering::Less };
            for arg in args {
                let value = eval(arg, frame, env)?;
                if best.is_null() || value.compare(&best) == Some(wanted) {
                    best = value;
                }
            }
            best
        }
        Node::NullIf(left, right) => {
            let value = eval(left, frame, env)?;
            let same = value.compare(&eval(right, frame, env)?) == Some(Ordering::Equal);
            if same { Value::Null } else { value }
        }
        Node::In { arg, list, negated } => {
            let value = eval(arg, frame, env)?;
            let items = list.iter().map(|item| eval(item, frame, env)).collect::<Result<Vec<_>, _>>()?;
            negate(quantified(Comparison::Eq, false, &value, &items), *negated)
        }
        Node::InQuery { arg, query, negated } => {
            let value = eval(arg, frame, env)?;
            let items = first_column(select::run(query, Some(frame), env)?);
            negate(quantified(Comparison::Eq, false, &value, &items), *negated)
        }
        Node::Quantified { op, all, left, array } => {
            match (eval(left, frame, env)?, eval(array, frame, env)?) {
                (value, Value::Array(items)) => quantified(*op, *all, &value, &items),
                _ => Value::Null,
            }
        }
        Node::Array(items) => {
            let items = items.iter().map(|item| eval(item, frame, env));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Node::Element { array, index } => match (eval(array, frame, env)?, eval(index, frame, env)?) {
            (Value::Array(items), Value::Int(at)) => {
                usize::try_from(at - 1).ok().and_then(|at| items.get(at).cloned()).unwrap_or(Value::Null)
            }
            _ => Value::Null,
        },
        Node::Scalar(query) => {
            let mut rows = first_column(select::run(query, Some(frame), env)?);
            match rows.len() {
                0 | 1 => rows.pop().unwrap_or(Value::Null),
                _ => {
                    let message = "more than one row returned by a subquery used as an expression";
                    return Err(SqlError::new("21000", message));
                }
            }
        }
        Node::ArrayQuery(query) => Value::Array(first_column(select::run(query, Some(frame), env)?)),
        Node::Exists(query) => Value::Bool(!select::run(query, Some(frame), env)?.is_empty()),
        Node::Aggregate(aggregate) => aggregate.run(frame.group.unwrap_or_default(), frame.parent, env)?,
    })
}

fn column(frame: &Frame<'_>, up: usize, index: usize) -> Result<Value, SqlError> {
    let mut frame = Some(frame);
    for _ in 0..up {
        frame = frame.and_then(|frame| frame.parent);
    }
    let value = frame.and_then(|frame| frame.row.get(index));
    value.cloned().ok_or_else(|| SqlError::new("XX000", "a column was bound to a row that does not have it"))
}

fn first_column(rows: Vec<Vec<Value>>) -> Vec<Value> {
    rows.into_iter().map(|row| row.into_iter().next().unwrap_or(Value::Null)).collect()
}

fn negate(value: Value, negated: bool) -> Value {
    match value {
        Value::Bool(flag) => Value::Bool(flag != negated),
        other => other,
    }
}

/// `value op ANY (items)`, or ALL; three-valued.
fn quantified(op: Comparison, all: bool, value: &Value, items: &[Value]) -> Value {
    let mut unknown = false;
    for item in items {
        match op.of(value, item) {
            Value::Bool(holds) if holds != all => return Value::Bool(holds),
            Value::Null => unknown = true,
            _ => {}
        }
    }
    if unknown { Value::Null } else { Value::Bool(all) }
}

fn text_test(
    arg: &Value,
    pattern: &Value,
    any_case: bool,
    negated: bool,
    test: fn(&str, &str) -> Result<bool, SqlError>,
) -> Result<Value, SqlError> {
    let (Value::Text(arg), Value::Text(pattern)) = (arg, pattern) else { return Ok(Value::Null) };
    let holds = match any_case {
        true => test(&arg.to_lowercase(), &pattern.to_lowercase())?,
        false => test(arg, pattern)?,
    };
    Ok(Value::Bool(holds != negated))
}

fn arithmetic(op: char, left: &Value, right: &Value) -> Result<Value, SqlError> {
    let out_of_range = || SqlError::new("22003", "bigint out of range");
    let by_zero = || SqlError::new("22012", "division by zero");
    Ok(match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::Int(a), Value::Int(b)) => {
            let result = match op {
                '+' => a.checked_add(*b),
                '-' => a.checked_sub(*b),
                '*' => a.checked_mul(*b),
                _ if *b == 0 => return Err(by_zero()),
                '/' => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            Value::Int(result.ok_or_else(out_of_range)?)
        }
        (Value::Time(a), Value::Time(b)) => Value::Span(a - b),
        (Value::Time(a), Value::Span(b)) | (Value::Span(b), Value::Time(a)) => {
            Value::Time(if op == '-' { a - b } else { a + b })
        }
        (Value::Span(a), Value::Span(b)) => Value::Span(if op == '-' { a - b } else { a + b }),
        (Value::Span(span), number) | (number, Value::Span(span)) => {
            let factor = if op == '/' { 1.0 / number.as_float() } else { number.as_float() };
            Value::Span((*span as f64 * factor) as i64)
        }
        (a, b) => {
            let (a, b) = (a.as_float(), b.as_float());
            Value::Float(match op {
                '+' => a + b,
                '-' => a - b,
                '*' => a * b,
                _ if b == 0.0 => return Err(by_zero()),
                '/' => a / b,
                _ => a % b,
            })
        }
    })
}

/// Whether values of these two types can be compared.
pub(crate) fn comparable(left: Family, right: Family) -> bool {
    let number = |family| matches!(family, Family::Int | Family::Float);
    left == right || (number(left) && number(right))
}

/// Checks the range of a result against its declared type.
fn fitting(value: Value, expr: &Expr) -> Result<Value, SqlError> {
    match family(&expr.ty) {
        Family::Int => value.cast(&pgwire::api::Type::INT8, &expr.ty),
        _ => Ok(value),
    }
}
