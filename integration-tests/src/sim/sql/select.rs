//! Execution of queries, by nested loops.
//!
//! What may not live here: their binding (`bind/query.rs`), expressions (`eval.rs`), changes of data (`write.rs`).

use std::cmp::Ordering;
use std::sync::Arc;

use super::Env;
use super::eval::{Frame, eval};
use super::expr::{Body, Expr, From, JoinKind, Plain, Query, SortKey, Source};
use super::value::Value;
use crate::sim::error::SqlError;
use crate::sim::store::no_such_table;

/// Runs a query; `outer` is the row of the query around it.
pub(crate) fn run(
    query: &Query,
    outer: Option<&Frame<'_>>,
    env: &mut Env<'_>,
) -> Result<Vec<Vec<Value>>, SqlError> {
    let mut rows = run_body(&query.body, outer, env)?;
    if !query.order.is_empty() {
        rows.sort_by(|a, b| {
            let by_key = |key: &SortKey| order(&a[key.index], &b[key.index], key);
            query.order.iter().map(by_key).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
        });
    }
    let mut count = |expr: &Option<Expr>| match expr {
        None => Ok(None),
        Some(expr) => match eval(expr, &Frame::NONE, env)? {
            Value::Int(number) if number < 0 => Err(SqlError::new("2201W", "LIMIT must not be negative")),
            Value::Int(number) => Ok(Some(number as usize)),
            _ => Ok(None),
        },
    };
    let (skip, take) = (count(&query.offset)?.unwrap_or(0), count(&query.limit)?.unwrap_or(usize::MAX));
    let mut rows: Vec<_> = rows.into_iter().skip(skip).take(take).collect();
    rows.iter_mut().for_each(|row| row.truncate(query.columns.len()));
    Ok(rows)
}

fn order(a: &Value, b: &Value, key: &SortKey) -> Ordering {
    let nulls = if key.nulls_first { Ordering::Less } else { Ordering::Greater };
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => nulls,
        (false, true) => nulls.reverse(),
        (false, false) => {
            let ordering = a.compare(b).unwrap_or(Ordering::Equal);
            if key.descending { ordering.reverse() } else { ordering }
        }
    }
}

fn run_body(body: &Body, outer: Option<&Frame<'_>>, env: &mut Env<'_>) -> Result<Vec<Vec<Value>>, SqlError> {
    match body {
        Body::Plain(plain) => run_plain(plain, outer, env),
        Body::Nested(query) => run(query, outer, env),
        Body::Values(rows) => {
            let frame = Frame { row: &[], group: None, parent: outer };
            let row = |exprs: &Vec<Expr>| exprs.iter().map(|expr| eval(expr, &frame, env)).collect();
            rows.iter().map(row).collect()
        }
        Body::Union { left, right, all } => {
            let mut rows = run_body(left, outer, env)?;
            rows.extend(run_body(right, outer, env)?);
            Ok(if *all { rows } else { unique(rows) })
        }
    }
}

fn passes(
    filter: &Expr,
    row: &[Value],
    outer: Option<&Frame<'_>>,
    env: &mut Env<'_>,
) -> Result<bool, SqlError> {
    Ok(eval(filter, &Frame { row, group: None, parent: outer }, env)?.is_true())
}

fn unique(rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    let mut kept: Vec<Vec<Value>> = Vec::new();
    for row in rows {
        if !kept.contains(&row) {
            kept.push(row);
        }
    }
    kept
}

fn run_plain(
    plain: &Plain,
    outer: Option<&Frame<'_>>,
    env: &mut Env<'_>,
) -> Result<Vec<Vec<Value>>, SqlError> {
    let rows = match (&plain.from, &plain.filter) {
        // The common case: rows that do not pass are not even copied.
        (Some(From::Source(Source::Table(name))), Some(filter)) => {
            let table = env.db.table(name).map(Arc::clone);
            let table = table.ok_or_else(|| no_such_table(name))?;
            let mut kept = Vec::new();
            for stored in table.rows().values() {
                if passes(filter, &stored.row, outer, env)? {
                    kept.push(stored.row.to_vec());
                }
            }
            kept
        }
        (from, filter) => {
            let rows = match from {
                None => vec![Vec::new()],
                Some(from) => run_from(from, outer, env)?,
            };
            let mut kept = Vec::new();
            for row in rows {
                if filter.as_ref().map_or(Ok(true), |filter| passes(filter, &row, outer, env))? {
                    kept.push(row);
                }
            }
            kept
        }
    };
    let mut results = Vec::new();
    if plain.grouped {
        for group in groups(plain, rows, outer, env)? {
            let first = group.first().map_or(&[][..], Vec::as_slice);
            let frame = Frame { row: first, group: Some(&group), parent: outer };
            if let Some(having) = &plain.having
                && !eval(having, &frame, env)?.is_true()
            {
                continue;
            }
            results.push(plain.output.iter().map(|expr| eval(expr, &frame, env)).collect::<Result<_, _>>()?);
        }
    } else {
        for row in rows {
            let frame = Frame { row: &row, group: None, parent: outer };
            results.push(plain.output.iter().map(|expr| eval(expr, &frame, env)).collect::<Result<_, _>>()?);
        }
    }
    Ok(if plain.distinct { unique(results) } else { results })
}

type Rows = Vec<Vec<Value>>;

fn groups(
    plain: &Plain,
    rows: Rows,
    outer: Option<&Frame<'_>>,
    env: &mut Env<'_>,
) -> Result<Vec<Rows>, SqlError> {
    if plain.group.is_empty() {
        return Ok(vec![rows]);
    }
    let mut groups: Vec<(Vec<Value>, Rows)> = Vec::new();
    for row in rows {
        let frame = Frame { row: &row, group: None, parent: outer };
        let key = plain.group.iter().map(|expr| eval(expr, &frame, env)).collect::<Result<Vec<_>, _>>()?;
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    Ok(groups.into_iter().map(|(_, rows)| rows).collect())
}

fn run_from(from: &From, outer: Option<&Frame<'_>>, env: &mut Env<'_>) -> Result<Rows, SqlError> {
    match from {
        From::Source(Source::Table(name)) => match env.db.table(name) {
            Some(table) => Ok(table.rows().values().map(|stored| stored.row.to_vec()).collect()),
            None => Err(no_such_table(name)),
        },
        From::Source(Source::Query(query)) => run(query, outer, env),
        From::Source(Source::Value(expr)) => {
            Ok(vec![vec![eval(expr, &Frame { row: &[], group: None, parent: outer }, env)?]])
        }
        From::Source(Source::Relation(relation, args)) => {
            let frame = Frame { row: &[], group: None, parent: outer };
            let args = args.iter().map(|arg| eval(arg, &frame, env)).collect::<Result<Vec<_>, _>>()?;
            relation.rows(&args, env)
        }
        From::Join { left, right, kind, on, right_width } => {
            let (left, right) = (run_from(left, outer, env)?, run_from(right, outer, env)?);
            let mut joined = Vec::new();
            for one in &left {
                let before = joined.len();
                for two in &right {
                    let row: Vec<Value> = one.iter().chain(two).cloned().collect();
                    let holds = match on {
                        None => true,
                        Some(on) => {
                            eval(on, &Frame { row: &row, group: None, parent: outer }, env)?.is_true()
                        }
                    };
                    if holds {
                        joined.push(row);
                    }
                }
                if *kind == JoinKind::Left && joined.len() == before {
                    let nulls = std::iter::repeat_n(Value::Null, *right_width);
                    joined.push(one.iter().cloned().chain(nulls).collect());
                }
            }
            Ok(joined)
        }
    }
}
