//! Statements that the session itself answers: transaction control, settings, LISTEN and NOTIFY.
//!
//! What may not live here: anything that reads or changes tables.

use pgwire::api::Type;
use sqlparser::ast::{self, ContextModifier, Reset, Set, Statement, TransactionAccessMode, TransactionMode};

use super::transaction::Transaction;
use super::{Answer, Session, unknown_setting};
use crate::sim::error::SqlError;
use crate::sim::sql::bind::literal_text;
use crate::sim::sql::value::Value;
use crate::sim::sql::{OutColumn, folded};

/// The result columns of a statement that the session answers; `None` for one that it does not.
pub(super) fn columns(statement: &Statement) -> Option<Vec<OutColumn>> {
    match statement {
        Statement::ShowVariable { variable } => {
            Some(vec![OutColumn::new(&variable_name(variable), Type::TEXT)])
        }
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Set(_)
        | Statement::Reset(_)
        | Statement::Discard { .. }
        | Statement::Deallocate { .. }
        | Statement::LISTEN { .. }
        | Statement::UNLISTEN { .. }
        | Statement::NOTIFY { .. } => Some(Vec::new()),
        _ => None,
    }
}

/// Answers such a statement; `None` for one that the SQL engine runs.
pub(super) fn run(session: &mut Session, statement: &Statement) -> Option<Result<Answer, SqlError>> {
    columns(statement)?;
    Some(answer(session, statement))
}

fn answer(session: &mut Session, statement: &Statement) -> Result<Answer, SqlError> {
    match statement {
        Statement::Commit { chain: true, .. } | Statement::Rollback { chain: true, .. } => {
            Err(SqlError::unsupported("AND CHAIN"))
        }
        Statement::StartTransaction { modes, begin, .. } => {
            match &mut session.transaction {
                None => session.transaction = Some(Transaction::new(&session.vars, false)),
                Some(open) => open.implicit = false,
            }
            set_modes(session, modes)?;
            Ok(Answer::done(if *begin { "BEGIN" } else { "START TRANSACTION" }))
        }
        Statement::Commit { .. } => match session.transaction.take() {
            Some(open) if open.failed => {
                session.vars = open.vars_before;
                Ok(Answer::done("ROLLBACK"))
            }
            Some(open) => session.commit(open).map(|()| Answer::done("COMMIT")),
            None => Ok(Answer::done("COMMIT")),
        },
        Statement::Rollback { savepoint: None, .. } => {
            if let Some(open) = session.transaction.take() {
                session.vars = open.vars_before;
            }
            Ok(Answer::done("ROLLBACK"))
        }
        Statement::Rollback { savepoint: Some(name), .. } => {
            let Session { transaction, vars, .. } = session;
            match transaction {
                Some(open) => open.back_to(&folded(name), vars)?,
                None => return Err(outside("ROLLBACK TO SAVEPOINT")),
            }
            Ok(Answer::done("ROLLBACK"))
        }
        Statement::Savepoint { name } => {
            let Session { transaction, vars, .. } = session;
            match transaction {
                Some(open) if !open.implicit => open.save(folded(name), vars),
                _ => return Err(outside("SAVEPOINT")),
            }
            Ok(Answer::done("SAVEPOINT"))
        }
        Statement::ReleaseSavepoint { name } => {
            match &mut session.transaction {
                Some(open) => open.release(&folded(name))?,
                None => return Err(outside("RELEASE SAVEPOINT")),
            }
            Ok(Answer::done("RELEASE"))
        }
        Statement::Set(set) => set_variable(session, set).map(|()| Answer::done("SET")),
        Statement::Reset(reset) => {
            match &reset.reset {
                Reset::ALL => session.vars.reset_all(),
                Reset::SessionAuthorization => {}
                Reset::ConfigurationParameter(name) => session.vars.reset(&name.to_string())?,
            }
            Ok(Answer::done("RESET"))
        }
        Statement::ShowVariable { variable } => {
            let name = variable_name(variable);
            let value =
                session.vars.show(&name, session.facts.as_ref()).ok_or_else(|| unknown_setting(&name))?;
            let columns = vec![OutColumn::new(&name, Type::TEXT)];
            Ok(Answer {
                tag: "SHOW".to_owned(),
                rows: Some((columns, vec![vec![Value::text(value)]])),
                count: None,
                insert_id: 0,
            })
        }
        Statement::Discard { object_type } => {
            if matches!(object_type, ast::DiscardObject::ALL) {
                if session.transaction.is_some() {
                    return Err(SqlError::new("25001", "DISCARD ALL cannot run inside a transaction block"));
                }
                session.vars.reset_all();
                session.channels.clear();
            }
            Ok(Answer::done(format!("DISCARD {object_type}")))
        }
        Statement::Deallocate { .. } => Ok(Answer::done("DEALLOCATE")),
        Statement::LISTEN { channel } => {
            refuse_in_recovery(session, "LISTEN")?;
            session.channels.insert(folded(channel));
            Ok(Answer::done("LISTEN"))
        }
        Statement::UNLISTEN { channel } => {
            let channel = folded(channel);
            session.channels.retain(|known| channel != "*" && *known != channel);
            Ok(Answer::done("UNLISTEN"))
        }
        Statement::NOTIFY { channel, payload } => {
            refuse_in_recovery(session, "NOTIFY")?;
            let notification = (folded(channel), payload.clone().unwrap_or_default());
            match &mut session.transaction {
                Some(open) => open.notifications.push(notification),
                None => session.published.push(notification),
            }
            Ok(Answer::done("NOTIFY"))
        }
        other => Err(SqlError::unsupported(other)),
    }
}

fn outside(command: &str) -> SqlError {
    SqlError::new("25P01", format!("{command} can only be used in transaction blocks"))
}

fn refuse_in_recovery(session: &Session, command: &str) -> Result<(), SqlError> {
    match session.facts.in_recovery() {
        true => Err(SqlError::new("25006", format!("cannot execute {command} during recovery"))),
        false => Ok(()),
    }
}

/// The modes of BEGIN, START TRANSACTION and SET TRANSACTION, for the open transaction.
fn set_modes(session: &mut Session, modes: &[TransactionMode]) -> Result<(), SqlError> {
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(access) => {
                let read_only = matches!(access, TransactionAccessMode::ReadOnly);
                if !read_only && session.facts.in_recovery() {
                    return Err(SqlError::new(
                        "0A000",
                        "cannot set transaction read-write mode during recovery",
                    ));
                }
                if let Some(open) = &mut session.transaction {
                    open.read_only = read_only;
                }
                session.vars.set("transaction_read_only", if read_only { "on" } else { "off" }, true)?;
            }
            TransactionMode::IsolationLevel(level) => {
                session.vars.set("transaction_isolation", &level.to_string(), true)?;
            }
        }
    }
    Ok(())
}

fn set_variable(session: &mut Session, set: &Set) -> Result<(), SqlError> {
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let local = matches!(scope, Some(ContextModifier::Local));
            let name = variable.to_string().replace('"', "");
            let values = values.iter().map(plain_value).collect::<Result<Vec<_>, _>>()?;
            let value = values.join(", ");
            if values.len() == 1 && value.eq_ignore_ascii_case("default") {
                return session.vars.reset(&name);
            }
            // SET LOCAL outside of a transaction has no effect.
            if local && session.transaction.is_none() {
                return Ok(());
            }
            if name.eq_ignore_ascii_case("transaction_read_only") {
                let access = match value.eq_ignore_ascii_case("on") || value.eq_ignore_ascii_case("true") {
                    true => TransactionAccessMode::ReadOnly,
                    false => TransactionAccessMode::ReadWrite,
                };
                return set_modes(session, &[TransactionMode::AccessMode(access)]);
            }
            session.vars.set(&name, &value, local)
        }
        Set::SetTimeZone { local, value } => session.vars.set("timezone", &plain_value(value)?, *local),
        Set::SetNames { charset_name, .. } => session.vars.set("client_encoding", &charset_name.value, false),
        Set::SetTransaction { modes, session: true, .. } => {
            for mode in modes {
                match mode {
                    TransactionMode::AccessMode(access) => {
                        let read_only = matches!(access, TransactionAccessMode::ReadOnly);
                        let value = if read_only { "on" } else { "off" };
                        session.vars.set("default_transaction_read_only", value, false)?;
                    }
                    TransactionMode::IsolationLevel(level) => {
                        session.vars.set("default_transaction_isolation", &level.to_string(), false)?;
                    }
                }
            }
            Ok(())
        }
        // Outside of a transaction it has no effect beyond itself.
        Set::SetTransaction { .. } if session.transaction.is_none() => Ok(()),
        Set::SetTransaction { modes, .. } => set_modes(session, modes),
        Set::SetRole { role_name, .. } => {
            let role = role_name.as_ref().map_or_else(|| "none".to_owned(), folded);
            session.vars.set("role", &role, false)
        }
        other => Err(SqlError::unsupported(other)),
    }
}

fn plain_value(expr: &ast::Expr) -> Result<String, SqlError> {
    match expr {
        ast::Expr::Identifier(ident) => Ok(ident.to_string()),
        ast::Expr::Value(value) => literal_text(&value.value),
        ast::Expr::UnaryOp { .. } => Ok(expr.to_string()),
        other => Err(SqlError::unsupported(format!("the setting {other}"))),
    }
}

fn variable_name(words: &[ast::Ident]) -> String {
    let words: Vec<String> = words.iter().map(|word| word.value.to_ascii_lowercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["time", "zone"] => "timezone".to_owned(),
        _ => words.join("."),
    }
}
