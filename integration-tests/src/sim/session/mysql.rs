//! MySQL's sessions: transactions that survive a failed statement, `autocommit`, SET, USE and KILL.
//!
//! What may not live here: what both engines' sessions do (`mod.rs`), and the protocol (`sim/mysql`).

use sqlparser::ast::{
    self, ContextModifier, KillType, ObjectName, Set, Statement, TransactionAccessMode, TransactionMode, Use,
};

use super::transaction::Transaction;
use super::{Answer, Session};
use crate::sim::error::SqlError;
use crate::sim::sql::bind::literal_text;
use crate::sim::sql::mysql::{self, variables};
use crate::sim::sql::value::Value;
use crate::sim::sql::{folded, name_of};

/// Whether the session itself answers a statement; it returns no rows then.
pub(super) fn answers(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::Set(_)
            | Statement::Use(_)
            | Statement::Kill { .. }
            | Statement::LockTables { .. }
            | Statement::UnlockTables
    )
}

/// Whether a statement ends an open transaction before it runs.
fn commits(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateTable(_)
            | Statement::CreateIndex(_)
            | Statement::CreateDatabase { .. }
            | Statement::Drop { .. }
            | Statement::Truncate(_)
            | Statement::Grant { .. }
            | Statement::Analyze(_)
    )
}

impl Session {
    /// Runs one statement as MySQL does: an error undoes the statement alone.
    pub(super) async fn execute_mysql(
        &mut self,
        statement: &Statement,
        params: &[Value],
        types: &[pgwire::api::Type],
    ) -> Result<Answer, SqlError> {
        if answers(statement) {
            let answer = self.answer_mysql(statement);
            self.vanish_if_lost().await;
            return answer;
        }
        if commits(statement) {
            self.commit_open()?;
        } else if self.transaction.is_none() && !self.autocommits() && !is_plain(statement) {
            self.begin();
        }
        let answer = self.run(statement, params, types).await;
        if self.transaction.is_none() {
            self.next_read_only = None;
        }
        self.vanish_if_lost().await;
        answer
    }

    /// What COM_RESET_CONNECTION leaves: an open transaction and all settings are gone, the database stays.
    pub(crate) fn reset_mysql(&mut self) {
        self.transaction = None;
        self.next_read_only = None;
        self.last_insert_id = 0;
        self.vars = super::Variables::default();
    }

    /// Whether statements outside of a transaction commit by themselves.
    pub(crate) fn autocommits(&self) -> bool {
        self.vars.raw("autocommit") != Some("0")
    }

    /// Whether a transaction is open, and whether it may only read.
    pub(crate) fn open_transaction(&self) -> Option<bool> {
        self.transaction.as_ref().map(|open| open.read_only)
    }

    fn begin(&mut self) {
        let mut open = Transaction::new(&self.vars, false);
        if let Some(read_only) = self.next_read_only.take() {
            open.read_only = read_only;
        }
        self.transaction = Some(open);
    }

    fn commit_open(&mut self) -> Result<(), SqlError> {
        let Some(mut open) = self.transaction.take() else { return Ok(()) };
        // SET is no part of a transaction here.
        open.vars_before = self.vars.clone();
        self.commit(open)
    }

    fn answer_mysql(&mut self, statement: &Statement) -> Result<Answer, SqlError> {
        match statement {
            Statement::Commit { chain: true, .. } | Statement::Rollback { chain: true, .. } => {
                return Err(SqlError::unsupported("AND CHAIN"));
            }
            Statement::StartTransaction { modes, .. } => {
                self.commit_open()?;
                self.begin();
                for mode in modes {
                    if let (TransactionMode::AccessMode(access), Some(open)) = (mode, &mut self.transaction) {
                        open.read_only = matches!(access, TransactionAccessMode::ReadOnly);
                    }
                }
            }
            Statement::Commit { .. } => self.commit_open()?,
            Statement::Rollback { savepoint: None, .. } => self.transaction = None,
            Statement::Rollback { savepoint: Some(name), .. } => {
                let (name, mut kept) = (folded(name), self.vars.clone());
                let open = self.transaction.as_mut().ok_or_else(|| no_savepoint(&name))?;
                open.back_to(&name, &mut kept).map_err(|_| no_savepoint(&name))?;
            }
            Statement::Savepoint { name } => {
                if let Some(open) = &mut self.transaction {
                    open.save(folded(name), &self.vars);
                }
            }
            Statement::ReleaseSavepoint { name } => {
                let name = folded(name);
                let open = self.transaction.as_mut().ok_or_else(|| no_savepoint(&name))?;
                open.release(&name).map_err(|_| no_savepoint(&name))?;
            }
            Statement::Set(set) => self.set_mysql(set)?,
            Statement::Use(Use::Object(name) | Use::Database(name)) => self.identity.database = name_of(name),
            Statement::Kill { modifier, id } => {
                let terminate = !matches!(modifier, Some(KillType::Query));
                let found = i32::try_from(*id).is_ok_and(|id| self.facts.signal(id, terminate));
                if !found {
                    return Err(SqlError::mysql(1094, "HY000", format!("Unknown thread id: {id}")));
                }
            }
            other => return Err(SqlError::unsupported(other)),
        }
        Ok(Answer::done(""))
    }

    fn set_mysql(&mut self, set: &Set) -> Result<(), SqlError> {
        match set {
            Set::SingleAssignment { scope, variable, values, .. } => match values.as_slice() {
                [value] => self.assign(*scope, variable, value),
                _ => Err(SqlError::unsupported(set)),
            },
            Set::MultipleAssignments { assignments } => assignments.iter().try_for_each(|assignment| {
                self.assign(assignment.scope, &assignment.name, &assignment.value)
            }),
            Set::SetNames { charset_name, .. } => {
                for name in ["character_set_client", "character_set_connection", "character_set_results"] {
                    self.vars.set_raw(name, Some(charset_name.value.to_ascii_lowercase()));
                }
                Ok(())
            }
            Set::SetNamesDefault {} => {
                for name in ["character_set_client", "character_set_connection", "character_set_results"] {
                    self.vars.set_raw(name, None);
                }
                Ok(())
            }
            Set::SetTransaction { modes, session, .. } => {
                if !session && self.transaction.is_some() {
                    let message =
                        "Transaction characteristics can't be changed while a transaction is in progress";
                    return Err(SqlError::mysql(1568, "25001", message));
                }
                for mode in modes {
                    match mode {
                        TransactionMode::AccessMode(access) => {
                            let read_only = matches!(access, TransactionAccessMode::ReadOnly);
                            match session {
                                true => self.set_variable(
                                    "transaction_read_only",
                                    if read_only { "on" } else { "off" },
                                )?,
                                false => self.next_read_only = Some(read_only),
                            }
                        }
                        // Every level is the same here; only that of the session can be asked for.
                        TransactionMode::IsolationLevel(level) if *session => {
                            self.set_variable("transaction_isolation", &level.to_string())?;
                        }
                        TransactionMode::IsolationLevel(_) => {}
                    }
                }
                Ok(())
            }
            other => Err(SqlError::unsupported(other)),
        }
    }

    fn assign(
        &mut self,
        scope: Option<ContextModifier>,
        name: &ObjectName,
        value: &ast::Expr,
    ) -> Result<(), SqlError> {
        let name = name_of(name).replace('`', "");
        if scope == Some(ContextModifier::Global) || name.starts_with("@@global.") {
            return Err(mysql::no_right());
        }
        let value = self.value_of(value)?;
        match name.strip_prefix('@') {
            Some(own) if !own.starts_with('@') => {
                self.vars.set_raw(&name, value);
                Ok(())
            }
            _ => {
                let bare = name.trim_start_matches('@');
                let bare = bare.strip_prefix("session.").or(bare.strip_prefix("local.")).unwrap_or(bare);
                self.set_variable(bare, &value.unwrap_or_else(|| "NULL".to_owned()))
            }
        }
    }

    /// What a new value in SET says; `None` for NULL.
    fn value_of(&self, value: &ast::Expr) -> Result<Option<String>, SqlError> {
        Ok(Some(match value {
            ast::Expr::Value(literal) if matches!(literal.value, ast::Value::Null) => return Ok(None),
            ast::Expr::Value(literal) => literal_text(&literal.value)?,
            ast::Expr::Identifier(name) if name.value.starts_with('@') && !name.value.starts_with("@@") => {
                return Ok(self.vars.raw(&name.value.to_ascii_lowercase()).map(str::to_owned));
            }
            ast::Expr::Identifier(name) => name.value.clone(),
            ast::Expr::UnaryOp { .. } => value.to_string(),
            ast::Expr::Nested(inner) => return self.value_of(inner),
            other => return Err(SqlError::unsupported(format!("the setting {other}"))),
        }))
    }

    fn set_variable(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let value = variables::checked(name, value, self.facts.as_ref())?;
        let was_off = !self.autocommits();
        self.vars.set_raw(variables::kept_as(name), value);
        // Switched on again, it commits what is open.
        if was_off && self.autocommits() { self.commit_open() } else { Ok(()) }
    }
}

/// A query that reads no table: it opens no transaction.
fn is_plain(statement: &Statement) -> bool {
    let Statement::Query(query) = statement else { return false };
    matches!(query.body.as_ref(), ast::SetExpr::Select(select) if select.from.is_empty())
}

fn no_savepoint(name: &str) -> SqlError {
    SqlError::mysql(1305, "42000", format!("SAVEPOINT {name} does not exist"))
}
