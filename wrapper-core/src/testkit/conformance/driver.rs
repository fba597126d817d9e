//! What every driver adapter keeps, on a server that is well.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::driver_bad_days as bad_days;
use super::{Checked, Conformance, ample, ensure};
use crate::driver::{ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus};
use crate::error::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

/// A question and what the server must answer.
#[derive(Clone, Debug)]
pub struct Question {
    /// The SQL text.
    pub sql: String,
    /// The answer.
    pub rows: Rows,
}

impl Question {
    /// `sql`, which is answered by `columns` and `rows`.
    pub fn new(sql: &str, columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { sql: sql.to_owned(), rows: Rows::new(columns, rows) }
    }
}

/// A step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionStep {
    /// Opens it.
    Begin,
    /// Has a statement in it fail, so that the transaction has failed where the server has such a state. Its error
    /// is not one of this step.
    Fail,
    /// Ends it without a trace.
    Rollback,
}

/// What [`driver_dialect_conformance`] needs: a driver, a server that can be silenced, a few statements of its kind.
#[async_trait]
pub trait DriverRig: Send + Sync {
    /// The driver.
    fn driver(&self) -> Arc<dyn DriverDialect>;

    /// The server.
    fn target(&self) -> ConnectTarget;

    /// A place where nobody listens.
    fn refused(&self) -> ConnectTarget;

    /// Has the server fall silent, or go on: sockets stay open, nothing is answered, new connects wait.
    async fn silence(&self, on: bool);

    /// At least three questions with different answers: one with a NULL and a text, one without a row, one with many
    /// rows.
    fn questions(&self) -> Vec<Question>;

    /// A statement that the server refuses without closing the connection.
    fn refused_statement(&self) -> String;

    /// A statement that sets something in the session, for [`DriverConnection::run_sql`].
    fn setting(&self) -> String;

    /// Takes a step of a transaction.
    ///
    /// # Errors
    /// The server's.
    async fn step(&self, connection: &Arc<dyn DriverConnection>, step: TransactionStep) -> Result<()>;

    /// How many connections of the suite the server has open; `None` where it cannot tell.
    async fn open_connections(&self) -> Option<usize> {
        None
    }

    /// Errors of the driver and their classes.
    fn classified(&self) -> Vec<(Box<dyn StdError + Send + Sync>, ErrorClass)> {
        Vec::new()
    }
}

pub(super) type Connection = Arc<dyn DriverConnection>;

pub(super) async fn open(rig: &dyn DriverRig) -> Result<Connection, String> {
    let opened = rig.driver().connect(&rig.target(), ample()).await;
    opened.map_err(|error| format!("a connect to a healthy server fails: {error}"))
}

/// Asks, and compares with what must come.
pub(super) async fn asks(connection: &Connection, question: &Question) -> Checked {
    let rows = connection.fetch_text(&question.sql, ample()).await;
    let rows = rows.map_err(|error| format!("`{}` fails: {error}", question.sql))?;
    let same = if question.rows.is_empty() { rows.is_empty() } else { rows == question.rows };
    ensure(same, || format!("`{}` was answered by {rows:?}, not by {:?}", question.sql, question.rows))
}

/// Whether `driver` keeps the contract of [`DriverDialect`] and [`DriverConnection`].
///
/// Runs on any runtime and takes a few seconds on a real server; the server must be the suite's alone.
pub async fn driver_dialect_conformance(rig: &dyn DriverRig) -> Conformance {
    let driver = rig.driver();
    let mut found = Conformance::new("driver_dialect_conformance", driver.name(), Duration::from_secs(60));
    found.ask("name", async { ensure(!driver.name().trim().is_empty(), || "it has none".to_owned()) }).await;
    found.ask("opens", opens(rig)).await;
    found.ask("any", any(rig)).await;
    found.ask("answers", answers(rig)).await;
    found.ask("answers-apart", answers_apart(rig)).await;
    found.ask("run-sql", run_sql(rig)).await;
    found.ask("refused-statement", refused_statement(rig)).await;
    found.ask("transaction-status", transaction_status(rig)).await;
    found.ask("failed-transaction", failed_transaction(rig)).await;
    found.ask("outcome-if-lost", outcome_if_lost(rig)).await;
    found.ask("ping", ping(rig)).await;
    found.ask("bytes-grow", bytes_grow(rig)).await;
    found.ask("classify", classify(rig)).await;
    bad_days::ask(&mut found, rig).await;
    found
}

async fn opens(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    ensure(!connection.is_closed(), || "a new connection is closed".to_owned())?;
    let status = connection.transaction_status();
    ensure(status == TransactionStatus::Idle, || format!("a new connection's transaction is {status:?}"))
}

async fn any(rig: &dyn DriverRig) -> Checked {
    let (one, other) = (open(rig).await?, open(rig).await?);
    let seen = one.as_any();
    ensure(std::ptr::addr_eq(std::ptr::from_ref(seen), Arc::as_ptr(&one)), || {
        "`as_any` gives another value than the connection".to_owned()
    })?;
    let (kind, address) = (seen.type_id(), Arc::as_ptr(&one).cast::<()>());
    ensure(kind == other.as_any().type_id(), || "two connections have two types".to_owned())?;
    let owned = one.into_any();
    ensure(std::ptr::eq(Arc::as_ptr(&owned).cast::<()>(), address), || {
        "`into_any` gives another value than the connection".to_owned()
    })
}

async fn answers(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    for question in rig.questions() {
        asks(&connection, &question).await?;
        let status = connection.transaction_status();
        ensure(status == TransactionStatus::Idle, || {
            format!("`{}` leaves the transaction {status:?}", question.sql)
        })?;
    }
    Ok(())
}

async fn answers_apart(rig: &dyn DriverRig) -> Checked {
    let (connection, questions) = (open(rig).await?, rig.questions());
    let all = questions.iter().cycle().take(8 * questions.len());
    join_all(all.map(|question| asks(&connection, question))).await.into_iter().collect()
}

async fn run_sql(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    let set = connection.run_sql(&rig.setting(), ample()).await;
    set.map_err(|error| format!("`{}` fails: {error}", rig.setting()))?;
    // What it says of its state, another connection takes.
    let (state, other) = (connection.session_state_sql(), open(rig).await?);
    if !state.is_empty() {
        let carried = other.run_sql(&state.join("; "), ample()).await;
        carried.map_err(|error| format!("its session state is refused elsewhere: {error}"))?;
    }
    asks(&other, &first(rig)?).await
}

async fn refused_statement(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    let sql = rig.refused_statement();
    for result in
        [connection.fetch_text(&sql, ample()).await.map(drop), connection.run_sql(&sql, ample()).await]
    {
        let error = result.err().ok_or_else(|| format!("`{sql}` is not refused"))?;
        let class = error.class();
        ensure(!matches!(class, ErrorClass::Network | ErrorClass::Login), || {
            format!("a refused statement is of the class {class:?}: {error}")
        })?;
        ensure(error.sqlstate().is_some(), || format!("the server's SQLSTATE is lost: {error}"))?;
    }
    ensure(!connection.is_closed(), || "a refused statement closes the connection".to_owned())?;
    asks(&connection, &first(rig)?).await
}

pub(super) fn first(rig: &dyn DriverRig) -> Result<Question, String> {
    rig.questions().into_iter().next().ok_or_else(|| "the rig has no question".to_owned())
}

async fn step(rig: &dyn DriverRig, connection: &Connection, step: TransactionStep) -> Checked {
    rig.step(connection, step).await.map_err(|error| format!("{step:?} fails: {error}"))
}

async fn transaction_status(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    for (taken, wanted) in [
        (TransactionStep::Begin, TransactionStatus::Open),
        (TransactionStep::Rollback, TransactionStatus::Idle),
    ] {
        step(rig, &connection, taken).await?;
        let status = connection.transaction_status();
        ensure(status == wanted || status == TransactionStatus::Unknown, || {
            format!("after {taken:?} the transaction is {status:?}, not {wanted:?}")
        })?;
    }
    Ok(())
}

async fn failed_transaction(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    step(rig, &connection, TransactionStep::Begin).await?;
    step(rig, &connection, TransactionStep::Fail).await?;
    let status = connection.transaction_status();
    // Not every server has a state of failure; but the transaction is there.
    ensure(status != TransactionStatus::Idle, || "a failed transaction is taken for none".to_owned())?;
    step(rig, &connection, TransactionStep::Rollback).await?;
    let status = connection.transaction_status();
    ensure(matches!(status, TransactionStatus::Idle | TransactionStatus::Unknown), || {
        format!("after a rollback the transaction is {status:?}")
    })
}

async fn outcome_if_lost(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    let outcome = connection.outcome_if_lost();
    ensure(outcome == TransactionOutcome::NotSent, || format!("without a transaction it is {outcome:?}"))?;
    step(rig, &connection, TransactionStep::Begin).await?;
    let outcome = connection.outcome_if_lost();
    let allowed = [TransactionOutcome::RolledBack, TransactionOutcome::MayHaveApplied];
    ensure(allowed.contains(&outcome), || format!("in an open transaction it is {outcome:?}"))
}

async fn ping(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    connection.ping(ample()).await.map_err(|error| format!("a ping of a healthy server fails: {error}"))
}

async fn bytes_grow(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    let mut before = connection.bytes_received();
    for _ in 0..3 {
        connection.ping(ample()).await.map_err(|error| error.to_string())?;
        let now = connection.bytes_received();
        ensure(now > before, || format!("an answer came, and the bytes received stay {before}"))?;
        before = now;
    }
    Ok(())
}

async fn classify(rig: &dyn DriverRig) -> Checked {
    let driver = rig.driver();
    let foreign = std::fmt::Error;
    let class = driver.classify(&foreign);
    ensure(class == ErrorClass::Other, || format!("an error of nobody it knows is of the class {class:?}"))?;
    for (error, wanted) in rig.classified() {
        for _ in 0..2 {
            let class = driver.classify(&*error);
            ensure(class == wanted, || format!("`{error}` is of the class {class:?}, not {wanted:?}"))?;
        }
    }
    let refused = driver.connect(&rig.refused(), ample()).await.err();
    let error: Error = refused.ok_or_else(|| "a connect to where nobody listens succeeds".to_owned())?;
    let told = (error.class(), error.kind());
    ensure(told == (ErrorClass::Network, ErrorKind::Network), || {
        format!("a refused connect is of class and kind {told:?}: {error}")
    })?;
    ensure(error.host().is_some(), || format!("a refused connect does not name its host: {error}"))?;
    let outcome = error.outcome();
    ensure(outcome == TransactionOutcome::NotSent, || {
        format!("the outcome of a refused connect is {outcome:?}")
    })
}
