//! An open transaction: its changes, its savepoints, and what a rollback restores.
//!
//! What may not live here: the statements that open and end it (`control.rs`).

use super::Variables;
use crate::sim::error::SqlError;
use crate::sim::sql::value::now_micros;
use crate::sim::store::Op;

/// A transaction that was begun and not ended.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Shared by the statements of one simple query without BEGIN; committed at its end.
    pub(super) implicit: bool,
    pub(super) failed: bool,
    pub(super) read_only: bool,
    /// `now()` for all its statements.
    pub(super) clock: i64,
    pub(super) ops: Vec<Op>,
    pub(super) notifications: Vec<(String, String)>,
    pub(super) vars_before: Variables,
    savepoints: Vec<Savepoint>,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    ops: usize,
    notifications: usize,
    vars: Variables,
}

impl Transaction {
    pub(super) fn new(vars: &Variables, implicit: bool) -> Self {
        Transaction {
            implicit,
            failed: false,
            read_only: vars.is_on("default_transaction_read_only"),
            clock: now_micros(),
            ops: Vec::new(),
            notifications: Vec::new(),
            vars_before: vars.clone(),
            savepoints: Vec::new(),
        }
    }

    pub(super) fn save(&mut self, name: String, vars: &Variables) {
        let (ops, notifications) = (self.ops.len(), self.notifications.len());
        self.savepoints.push(Savepoint { name, ops, notifications, vars: vars.clone() });
    }

    /// ROLLBACK TO: undoes what came after, keeps the savepoint, and heals a failed transaction.
    pub(super) fn back_to(&mut self, name: &str, vars: &mut Variables) -> Result<(), SqlError> {
        let at = self.position(name)?;
        self.savepoints.truncate(at + 1);
        let savepoint = &self.savepoints[at];
        self.ops.truncate(savepoint.ops);
        self.notifications.truncate(savepoint.notifications);
        *vars = savepoint.vars.clone();
        self.failed = false;
        Ok(())
    }

    /// RELEASE: forgets the savepoint and those after it, keeps the changes.
    pub(super) fn release(&mut self, name: &str) -> Result<(), SqlError> {
        let at = self.position(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    fn position(&self, name: &str) -> Result<usize, SqlError> {
        let missing = || SqlError::new("3B001", format!("savepoint \"{name}\" does not exist"));
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(missing)
    }
}
