//! Statements that change data or tables: their plans and execution. The result is a list of changes.
//!
//! What may not live here: binding (`bind/change.rs`), whether the server may write at all, and the commit
//! (`session`, `store`).

use std::sync::Arc;

use pgwire::api::Type;

use super::eval::{Frame, eval};
use super::expr::{Expr, Query};
use super::select;
use super::value::Value;
use super::{Env, OutColumn};
use crate::sim::error::SqlError;
use crate::sim::store::{Op, Row, Table, no_such_table};

/// A bound statement that the SQL engine runs.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Select(Query),
    Insert(Box<Insert>),
    Update(Box<Change>),
    Delete(Box<Change>),
    Create {
        table: Arc<Table>,
        if_not_exists: bool,
        fill: Option<Query>,
    },
    Drop {
        names: Vec<String>,
        if_exists: bool,
    },
    Truncate(Vec<String>),
    /// Accepted and without effect here: CREATE INDEX, ANALYZE, GRANT, …; the command tag.
    Nothing(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Insert {
    pub(super) table: Arc<Table>,
    /// For each column of the table: position in the source, or its default.
    pub(super) slots: Vec<Slot>,
    pub(super) source: Option<Query>,
    pub(super) conflict: Option<Conflict>,
    pub(super) returning: Option<Returning>,
}

#[derive(Clone, Debug)]
pub(super) enum Slot {
    Given(usize),
    Default(Expr),
    Sequence(String),
    /// MySQL's AUTO_INCREMENT: the next number where NULL or 0 is given.
    GivenOrSequence(usize, String),
}

/// ON CONFLICT: an update of these columns if given, else nothing.
#[derive(Clone, Debug)]
pub(super) struct Conflict {
    pub(super) update: Option<Vec<(usize, Expr)>>,
}

/// UPDATE or DELETE.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(super) table: Arc<Table>,
    /// New values by column; empty for DELETE.
    pub(super) set: Vec<(usize, Expr)>,
    pub(super) filter: Option<Expr>,
    pub(super) returning: Option<Returning>,
}

#[derive(Clone, Debug)]
pub(super) struct Returning {
    pub(super) output: Vec<Expr>,
    pub(super) columns: Vec<OutColumn>,
}

/// What a plan yields: rows, or a number of rows, and the command tag.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tag: String,
    /// The rows and their columns, for statements that return some.
    pub(crate) rows: Option<(Vec<OutColumn>, Vec<Vec<Value>>)>,
    /// The number that the command tag ends with.
    pub(crate) count: Option<usize>,
}

impl Plan {
    /// The columns of the result; `None` for a statement that returns no rows.
    pub(crate) fn columns(&self) -> Option<&[OutColumn]> {
        match self {
            Plan::Select(query) => Some(&query.columns),
            Plan::Insert(insert) => insert.returning.as_ref().map(|returning| returning.columns.as_slice()),
            Plan::Update(change) | Plan::Delete(change) => {
                change.returning.as_ref().map(|returning| returning.columns.as_slice())
            }
            _ => None,
        }
    }

    /// What a read-only transaction says that it cannot execute; `None` for what it may.
    pub(crate) fn write_command(&self) -> Option<String> {
        Some(match self {
            Plan::Select(query) => return query.locks.clone(),
            Plan::Insert(_) => "INSERT".to_owned(),
            Plan::Update(_) => "UPDATE".to_owned(),
            Plan::Delete(_) => "DELETE".to_owned(),
            Plan::Create { .. } => "CREATE TABLE".to_owned(),
            Plan::Drop { .. } => "DROP TABLE".to_owned(),
            Plan::Truncate(_) => "TRUNCATE TABLE".to_owned(),
            Plan::Nothing(tag) => (*tag).to_owned(),
        })
    }
}

/// Runs a plan. Changes end up in `env.ops`; nothing is committed.
pub(crate) fn run(plan: &Plan, env: &mut Env<'_>) -> Result<Outcome, SqlError> {
    let done = |tag: &str| Outcome { tag: tag.to_owned(), rows: None, count: None };
    Ok(match plan {
        Plan::Select(query) => {
            let rows = select::run(query, None, env)?;
            Outcome { tag: "SELECT".to_owned(), rows: Some((query.columns.clone(), rows)), count: None }
        }
        Plan::Insert(insert) => {
            let rows = run_insert(insert, env)?;
            changed("INSERT 0", rows, insert.returning.as_ref(), env)?
        }
        Plan::Update(change) => {
            let rows = run_change(change, true, env)?;
            changed("UPDATE", rows, change.returning.as_ref(), env)?
        }
        Plan::Delete(change) => {
            let rows = run_change(change, false, env)?;
            changed("DELETE", rows, change.returning.as_ref(), env)?
        }
        Plan::Create { table, if_not_exists, fill } => {
            match env.db.table(&table.name).is_some() {
                true if *if_not_exists => {}
                true => {
                    return Err(SqlError::new(
                        "42P07",
                        format!("relation \"{}\" already exists", table.name),
                    ));
                }
                false => {
                    env.ops.push(Op::Create(Arc::clone(table)));
                    for row in fill.as_ref().map_or(Ok(Vec::new()), |fill| select::run(fill, None, env))? {
                        let id = env.store.new_row_id();
                        env.ops.push(Op::Insert { table: table.name.clone(), id, row: row.into() });
                    }
                }
            }
            done("CREATE TABLE")
        }
        Plan::Drop { names, if_exists } => {
            for name in names {
                match env.db.table(name).is_some() {
                    true => env.ops.push(Op::Drop(name.clone())),
                    false if *if_exists => {}
                    false => return Err(SqlError::new("42P01", format!("table \"{name}\" does not exist"))),
                }
            }
            done("DROP TABLE")
        }
        Plan::Truncate(names) => {
            for name in names {
                let missing = || no_such_table(name);
                env.db.table(name).ok_or_else(missing)?;
                env.ops.push(Op::Truncate(name.clone()));
            }
            done("TRUNCATE TABLE")
        }
        Plan::Nothing(tag) => done(tag),
    })
}

fn changed(
    tag: &str,
    rows: Vec<Row>,
    returning: Option<&Returning>,
    env: &mut Env<'_>,
) -> Result<Outcome, SqlError> {
    let count = Some(rows.len());
    let Some(returning) = returning else { return Ok(Outcome { tag: tag.to_owned(), rows: None, count }) };
    let mut output = Vec::new();
    for row in &rows {
        let frame = Frame { row, group: None, parent: None };
        output.push(returning.output.iter().map(|expr| eval(expr, &frame, env)).collect::<Result<_, _>>()?);
    }
    Ok(Outcome { tag: tag.to_owned(), rows: Some((returning.columns.clone(), output)), count })
}

fn run_insert(insert: &Insert, env: &mut Env<'_>) -> Result<Vec<Row>, SqlError> {
    let (sources, types) = match &insert.source {
        None => (vec![Vec::new()], Vec::new()),
        Some(query) => {
            let types: Vec<Type> = query.columns.iter().map(|column| column.ty.clone()).collect();
            (select::run(query, None, env)?, types)
        }
    };
    let table = &insert.table;
    // The rows of this very statement count as duplicates too; only tables with keys pay for that.
    let mut current = table.has_keys().then(|| env.db.clone());
    let mut left = sources.len();
    let mut done: Vec<Row> = Vec::new();
    for source in sources {
        left -= 1;
        let mut row = Vec::with_capacity(insert.slots.len());
        for (slot, column) in insert.slots.iter().zip(table.columns.iter()) {
            row.push(match slot {
                Slot::Given(at) => {
                    source[*at].clone().cast(types.get(*at).unwrap_or(&column.ty), &column.ty)?
                }
                Slot::Default(expr) => eval(expr, &Frame::NONE, env)?,
                Slot::Sequence(name) => generate(name, env),
                Slot::GivenOrSequence(at, name) => {
                    let ty = types.get(*at).unwrap_or(&column.ty);
                    match source[*at].clone().cast(ty, &column.ty)? {
                        Value::Null | Value::Int(0) => generate(name, env),
                        Value::Int(number) => {
                            env.store.reach(name, number);
                            Value::Int(number)
                        }
                        other => other,
                    }
                }
            });
        }
        check_nulls(table, &row)?;
        let present = current.as_ref().and_then(|current| current.table(&table.name));
        let conflict = present.and_then(|present| {
            let (id, error) = present.conflict(&row, None)?;
            Some((id, present.rows()[&id].clone(), error))
        });
        let op = match (conflict, &insert.conflict) {
            (None, _) => {
                let id = env.store.new_row_id();
                Op::Insert { table: table.name.clone(), id, row: row.into() }
            }
            (Some((.., error)), None) => return Err(error),
            (Some(_), Some(Conflict { update: None })) => continue,
            (Some((id, stored, _)), Some(Conflict { update: Some(set) })) => {
                let both: Vec<Value> = stored.row.iter().chain(&row).cloned().collect();
                let row = assigned(table, &stored.row, &both, set, env)?;
                Op::Update { table: table.name.clone(), id, base: stored.version, row }
            }
        };
        if let Op::Insert { row, .. } | Op::Update { row, .. } = &op {
            done.push(Arc::clone(row));
        }
        if let Some(current) = current.as_mut().filter(|_| left > 0) {
            current.apply(std::slice::from_ref(&op), u64::MAX);
        }
        env.ops.push(op);
    }
    Ok(done)
}

fn generate(sequence: &str, env: &mut Env<'_>) -> Value {
    let number = env.store.next_of(sequence);
    if env.generated == 0 {
        env.generated = number;
    }
    Value::Int(number)
}

fn run_change(change: &Change, update: bool, env: &mut Env<'_>) -> Result<Vec<Row>, SqlError> {
    let table = &change.table;
    let Some(present) = env.db.table(&table.name).map(Arc::clone) else {
        return Err(no_such_table(&table.name));
    };
    let mut done = Vec::new();
    for (id, stored) in present.rows() {
        let frame = Frame { row: &stored.row, group: None, parent: None };
        if let Some(filter) = &change.filter
            && !eval(filter, &frame, env)?.is_true()
        {
            continue;
        }
        if update {
            let new = assigned(table, &stored.row, &stored.row, &change.set, env)?;
            let row = Arc::clone(&new);
            env.ops.push(Op::Update { table: table.name.clone(), id: *id, base: stored.version, row });
            done.push(new);
        } else {
            env.ops.push(Op::Delete { table: table.name.clone(), id: *id, base: stored.version });
            done.push(Arc::clone(&stored.row));
        }
    }
    if change.set.iter().any(|(column, _)| table.is_key_column(*column)) {
        env.db.check(&env.ops)?;
    }
    Ok(done)
}

fn assigned(
    table: &Table,
    old: &[Value],
    seen: &[Value],
    set: &[(usize, Expr)],
    env: &mut Env<'_>,
) -> Result<Row, SqlError> {
    let mut row = old.to_vec();
    for (index, expr) in set {
        row[*index] = eval(expr, &Frame { row: seen, group: None, parent: None }, env)?;
    }
    check_nulls(table, &row)?;
    Ok(row.into())
}

fn check_nulls(table: &Table, row: &[Value]) -> Result<(), SqlError> {
    let null = table.columns.iter().zip(row).find(|(column, value)| column.not_null && value.is_null());
    match null {
        None => Ok(()),
        Some((column, _)) => {
            let message = format!(
                "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                column.name, table.name
            );
            Err(SqlError::new("23502", message))
        }
    }
}
