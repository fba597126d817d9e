//! Tables, rows, and the operations that change them.
//!
//! What may not live here: who may change them and when (`store/mod.rs`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pgwire::api::Type;

use crate::sim::error::SqlError;
use crate::sim::sql::value::Value;

/// Identifies a row for its lifetime, across all replicas.
pub(crate) type RowId = u64;
/// The values of one row.
pub(crate) type Row = Arc<[Value]>;

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) not_null: bool,
    pub(crate) default: Option<Default>,
}

/// Where a value that an INSERT does not give comes from.
#[derive(Clone, Debug)]
pub(crate) enum Default {
    Expression(Box<sqlparser::ast::Expr>),
    Sequence(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Arc<[Column]>,
    rows: BTreeMap<RowId, Stored>,
    keys: Vec<Key>,
}

/// A set of columns whose values may occur once only, and where they occur.
#[derive(Clone, Debug)]
struct Key {
    primary: bool,
    columns: Vec<usize>,
    index: HashMap<String, RowId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Grows with each change on the writer; tells a transaction that somebody else was faster.
    pub(crate) version: u64,
    pub(crate) row: Row,
}

/// One change, as a transaction keeps it and as replicas apply it.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(Arc<Table>),
    Drop(String),
    Truncate(String),
    Insert {
        table: String,
        id: RowId,
        row: Row,
    },
    /// `base` is the version that the transaction saw.
    Update {
        table: String,
        id: RowId,
        base: u64,
        row: Row,
    },
    Delete {
        table: String,
        id: RowId,
        base: u64,
    },
}

/// All tables as one node sees them. Cheap to clone: tables are copied when they change.
#[derive(Clone, Debug, std::default::Default)]
pub(crate) struct Database {
    tables: BTreeMap<String, Arc<Table>>,
}

impl Key {
    /// The indexed form of a row; `None` when a column is null, as nulls are never duplicates.
    fn entry(&self, table: &[Column], row: &[Value]) -> Option<String> {
        let parts = self.columns.iter().map(|at| row[*at].to_text(&table[*at].ty));
        Some(parts.collect::<Option<Vec<_>>>()?.join("\u{0}"))
    }
}

impl Table {
    /// An empty table without keys.
    pub(crate) fn new(name: &str, columns: Vec<Column>) -> Self {
        Self { name: name.to_owned(), columns: columns.into(), rows: BTreeMap::new(), keys: Vec::new() }
    }

    /// Adds a primary key or unique constraint to a table that has no rows yet.
    pub(crate) fn add_key(&mut self, primary: bool, columns: Vec<usize>) {
        self.keys.push(Key { primary, columns, index: HashMap::new() });
    }

    pub(crate) fn rows(&self) -> &BTreeMap<RowId, Stored> {
        &self.rows
    }

    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether a key contains this column.
    pub(crate) fn is_key_column(&self, column: usize) -> bool {
        self.keys.iter().any(|key| key.columns.contains(&column))
    }

    /// The existing row that a new one would duplicate, if there is one, and the error that says so.
    pub(crate) fn conflict(&self, row: &[Value], except: Option<RowId>) -> Option<(RowId, SqlError)> {
        self.keys.iter().find_map(|key| {
            let id = *key.index.get(&key.entry(&self.columns, row)?)?;
            (Some(id) != except).then(|| {
                let kind = if key.primary { "pkey" } else { "key" };
                let message =
                    format!("duplicate key value violates unique constraint \"{}_{kind}\"", self.name);
                (id, SqlError::new("23505", message))
            })
        })
    }

    fn put(&mut self, id: RowId, stored: Stored) {
        self.remove(id);
        for key in &mut self.keys {
            if let Some(entry) = key.entry(&self.columns, &stored.row) {
                key.index.insert(entry, id);
            }
        }
        self.rows.insert(id, stored);
    }

    fn remove(&mut self, id: RowId) {
        let Some(old) = self.rows.remove(&id) else { return };
        for key in &mut self.keys {
            if let Some(entry) = key.entry(&self.columns, &old.row)
                && key.index.get(&entry) == Some(&id)
            {
                key.index.remove(&entry);
            }
        }
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.keys.iter_mut().for_each(|key| key.index.clear());
    }
}

impl Database {
    pub(crate) fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// What a transaction with these changes sees.
    pub(crate) fn with(&self, ops: &[Op]) -> Database {
        let mut view = self.clone();
        view.apply(ops, u64::MAX);
        view
    }

    /// Whether these changes can be applied.
    pub(crate) fn check(&self, ops: &[Op]) -> Result<(), SqlError> {
        // A lone change is checked in place; several are on a copy, change by change.
        let mut copy = (ops.len() > 1).then(|| self.clone());
        for op in ops {
            copy.as_ref().unwrap_or(self).check_one(op)?;
            if let Some(copy) = &mut copy {
                copy.apply_one(op, u64::MAX);
            }
        }
        Ok(())
    }

    fn check_one(&self, op: &Op) -> Result<(), SqlError> {
        let existing = |name: &String| self.tables.get(name).ok_or_else(|| no_such_table(name));
        let changed = || SqlError::new("40001", "could not serialize access due to concurrent update");
        match op {
            Op::Create(table) if self.tables.contains_key(&table.name) => {
                Err(SqlError::new("42P07", format!("relation \"{}\" already exists", table.name)))
            }
            Op::Create(_) => Ok(()),
            Op::Drop(name) | Op::Truncate(name) => existing(name).map(drop),
            Op::Insert { table, row, .. } => {
                let table = existing(table)?;
                table.conflict(row, None).map_or(Ok(()), |(_, error)| Err(error))
            }
            Op::Update { table, id, base, row } => {
                let table = existing(table)?;
                let stored = table.rows.get(id).ok_or_else(changed)?;
                if stored.version != *base {
                    return Err(changed());
                }
                table.conflict(row, Some(*id)).map_or(Ok(()), |(_, error)| Err(error))
            }
            Op::Delete { table, id, base } => {
                let stored = existing(table)?.rows.get(id).ok_or_else(changed)?;
                if stored.version == *base { Ok(()) } else { Err(changed()) }
            }
        }
    }

    pub(crate) fn apply(&mut self, ops: &[Op], version: u64) {
        ops.iter().for_each(|op| self.apply_one(op, version));
    }

    fn apply_one(&mut self, op: &Op, version: u64) {
        match op {
            Op::Create(table) => {
                self.tables.insert(table.name.clone(), Arc::clone(table));
            }
            Op::Drop(name) => {
                self.tables.remove(name);
            }
            Op::Truncate(name) => {
                if let Some(table) = self.tables.get_mut(name) {
                    Arc::make_mut(table).clear();
                }
            }
            Op::Insert { table, id, row } | Op::Update { table, id, row, .. } => {
                if let Some(table) = self.tables.get_mut(table) {
                    let stored = Stored { version, row: Arc::clone(row) };
                    Arc::make_mut(table).put(*id, stored);
                }
            }
            Op::Delete { table, id, .. } => {
                if let Some(table) = self.tables.get_mut(table) {
                    Arc::make_mut(table).remove(*id);
                }
            }
        }
    }
}

pub(crate) fn no_such_table(name: &str) -> SqlError {
    SqlError::new("42P01", format!("relation \"{name}\" does not exist"))
}
