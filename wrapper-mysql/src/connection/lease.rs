//! The turn of one call: it has the driver's connection, and gives it back only when its answers were read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, QueryResult, TextProtocol};
use tokio::sync::SemaphorePermit;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, RetryAdvice, TransactionOutcome};

use super::slot::Slot;
use super::{MysqlConnection, slot};
use crate::error::{DEADLOCK, LOCK_WAIT, closes, code_of, map_error};
use crate::fate::Fate;
use crate::sql::{Effect, is_statement};

/// What a request does, for the case that it is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doing<'s> {
    pub(crate) operation: &'static str,
    pub(crate) sql: Option<&'s str>,
    pub(crate) effect: Effect,
}

impl<'s> Doing<'s> {
    /// Running a text.
    pub(crate) fn text(operation: &'static str, sql: &'s str) -> Self {
        Self::maybe_text(operation, Some(sql))
    }

    /// Running a text that may not be known.
    pub(crate) fn maybe_text(operation: &'static str, sql: Option<&'s str>) -> Self {
        Self { operation, sql, effect: Effect::of(sql) }
    }

    /// A request that changes nothing.
    pub(crate) fn nothing(operation: &'static str) -> Self {
        Self { operation, sql: None, effect: Effect::NONE }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    InFlight,
    Lost,
}

/// The driver's connection in the hands of one call.
///
/// Dropped while a request is in flight, it closes the connection: the answer must not be read by anybody else (B2).
pub(crate) struct Lease<'a> {
    connection: &'a MysqlConnection,
    permit: Option<SemaphorePermit<'a>>,
    conn: Option<Box<Conn>>,
    operation: &'static str,
    state: State,
}

impl MysqlConnection {
    /// Waits for the turn of a call.
    ///
    /// # Errors
    /// The connection is gone; nothing was sent.
    pub(crate) async fn lease(&self, operation: &'static str) -> Result<Lease<'_>> {
        let permit = match self.turn.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => self.turn.acquire().await.ok(),
        };
        let mut lease = Lease { connection: self, permit, conn: None, operation, state: State::Lost };
        match self.take() {
            Slot::Idle(conn) => lease.conn = Some(conn),
            Slot::Rolling(rolling) => {
                lease.start(Effect::NONE);
                let (answered, conn) = match self.fate.spare(rolling).await {
                    Some((conn, result)) => (Some(result), Some(conn)),
                    None => (None, None),
                };
                lease.conn = conn;
                lease.settle(answered).await?;
            }
            Slot::Busy | Slot::Gone => return Err(self.lost_before_sending(operation)),
        }
        lease.state = State::Free;
        if self.status.is_stale() {
            lease.look().await?;
        }
        Ok(lease)
    }

    /// The error of a call that was not sent because the connection was known to be lost.
    pub(crate) fn lost_before_sending(&self, operation: &'static str) -> Error {
        let reason = self.fate.reason().cloned().unwrap_or_else(|| {
            Error::new(ErrorKind::Network, "the connection was lost before the call was sent")
        });
        // What was in flight when it was lost has been told; what was only open is rolled back.
        let outcome = if self.status.was_open() && !self.status.is_stale() {
            TransactionOutcome::RolledBack
        } else {
            TransactionOutcome::NotSent
        };
        reason.with_outcome(outcome).with_operation(operation).with_host(self.host.key.to_string())
    }
}

impl Lease<'_> {
    fn start(&mut self, effect: Effect) {
        self.state = State::InFlight;
        self.connection.status.begin(effect);
    }

    /// To be called right before a request: gives what it needs, and takes its effects down.
    ///
    /// # Errors
    /// The connection is gone; or the request is a COMMIT of what the server has rolled back.
    pub(crate) fn begin(&mut self, doing: Doing<'_>) -> Result<(&mut Conn, &Fate)> {
        self.operation = doing.operation;
        let connection = self.connection;
        if connection.is_undone() {
            self.after_undone(doing.sql)?;
        }
        self.start(doing.effect);
        match &mut self.conn {
            Some(conn) => Ok((conn, &connection.fate)),
            None => {
                self.state = State::Lost;
                Err(connection.lost_before_sending(doing.operation))
            }
        }
    }

    /// The server has rolled a transaction back to end a deadlock. Whoever commits it nevertheless is told.
    #[cold]
    fn after_undone(&self, sql: Option<&str>) -> Result<()> {
        let Some(sql) = sql else { return Ok(()) };
        if ["ROLLBACK", "BEGIN", "START"].iter().any(|word| is_statement(sql, word)) {
            self.connection.undone.store(false, Ordering::Release);
        }
        if is_statement(sql, "COMMIT") {
            return Err(self.told(
                Error::new(
                    ErrorKind::Statement,
                    "there is nothing to commit: the server has rolled the transaction back to end a deadlock; run \
                     ROLLBACK, then repeat the transaction",
                )
                .with_advice(RetryAdvice::WholeTransaction)
                .with_sqlstate("40001")
                .with_outcome(TransactionOutcome::RolledBack),
            ));
        }
        Ok(())
    }

    /// To be called with what became of a request: the answer, or `None` when the connection was ended meanwhile. The
    /// answer ends with status flags.
    ///
    /// # Errors
    /// The driver's error, classified, with its outcome.
    pub(crate) async fn settle<T>(&mut self, answered: Option<mysql_async::Result<T>>) -> Result<T> {
        self.settled(answered, true).await
    }

    /// As [`settle`](Self::settle), for a request whose answer has no status flags, or none yet. The driver takes the
    /// answer to a prepared statement for an OK packet, and its number for flags.
    ///
    /// # Errors
    /// As for [`settle`](Self::settle).
    pub(crate) async fn settle_without_status<T>(
        &mut self,
        answered: Option<mysql_async::Result<T>>,
    ) -> Result<T> {
        self.settled(answered, false).await
    }

    async fn settled<T>(&mut self, answered: Option<mysql_async::Result<T>>, has_status: bool) -> Result<T> {
        let status = &self.connection.status;
        let (lost, was_open) = (status.outcome_if_lost(), status.was_open());
        let error = match answered {
            Some(Ok(out)) => {
                if has_status {
                    self.answered();
                } else {
                    self.free();
                }
                return Ok(out);
            }
            Some(Err(error)) => error,
            None => {
                let reason = self.connection.fate.reason().cloned();
                let reason =
                    reason.unwrap_or_else(|| Error::new(ErrorKind::Network, "the connection was ended"));
                return Err(self.lose(reason.with_outcome(lost)));
            }
        };
        let (code, closes) = (code_of(&error), closes(&error));
        let mapped = self.told(map_error(error, lost));
        if mapped.class() == ErrorClass::Network {
            return Err(self.lose(mapped));
        }
        if closes || self.conn.as_ref().is_none_or(|conn| conn.is_disconnected()) {
            // The caller's own error; but the driver, or the server, has hung up behind it.
            let reason =
                Error::new(ErrorKind::Network, "the connection was closed because of an earlier call")
                    .with_source(mapped.clone());
            self.lose(reason);
            return Err(mapped);
        }
        if status.may_have_changed() {
            // An error carries no status flags. The answer to a ping does.
            self.look().await.ok();
            if was_open && !status.was_open() && matches!(code, Some(DEADLOCK | LOCK_WAIT)) {
                self.connection.undone.store(true, Ordering::Release);
            }
        } else {
            self.free();
        }
        Err(mapped)
    }

    /// Asks for the status flags by a ping.
    async fn look(&mut self) -> Result<()> {
        self.start(Effect::NONE);
        let Some(conn) = &mut self.conn else {
            return Err(self.connection.lost_before_sending(self.operation));
        };
        let lost = self.connection.status.outcome_if_lost();
        let answered = self.connection.fate.spare(conn.ping()).await;
        match answered {
            Some(Ok(())) => {
                self.answered();
                Ok(())
            }
            Some(Err(error)) => {
                let mapped = self.told(map_error(error, lost));
                Err(self.lose(mapped))
            }
            None => Err(self.lose(self.connection.lost_before_sending(self.operation))),
        }
    }

    /// Takes back what [`begin`](Self::begin) took down.
    pub(crate) fn nothing_sent(&mut self) {
        self.connection.status.end();
        self.state = State::Free;
    }

    fn answered(&mut self) {
        if let Some(conn) = &self.conn {
            if !self.connection.status.read(conn) {
                self.connection.status.set_stale();
            }
        }
        self.free();
    }

    fn free(&mut self) {
        self.connection.answers.fetch_add(1, Ordering::Relaxed);
        self.connection.status.end();
        self.state = State::Free;
    }

    /// Gives the connection up; later calls find `reason`.
    fn lose(&mut self, reason: Error) -> Error {
        let told = self.told(reason);
        if told.outcome() == TransactionOutcome::MayHaveApplied {
            // Later calls must not be told that all of the transaction was undone.
            self.connection.status.set_stale();
        }
        self.connection.gone(self.conn.take(), told.clone());
        self.connection.status.end();
        self.state = State::Lost;
        told
    }

    fn told(&self, error: Error) -> Error {
        error.with_operation(self.operation).with_host(self.connection.host.key.to_string())
    }

    /// Hands the driver's connection out: with an answer in it that somebody reads outside of the call, or for use by the
    /// driver's own traits.
    pub(crate) fn lend(
        mut self,
        connection: &Arc<MysqlConnection>,
        sql: Option<&str>,
        bare: bool,
    ) -> Result<Lent> {
        let Some(mut conn) = self.conn.take() else {
            return Err(self.connection.lost_before_sending(self.operation));
        };
        if !bare && has_no_rows(&mut conn) {
            // The flags are there already: the statement has ended.
            self.connection.status.read(&conn);
        }
        if let Some(permit) = self.permit.take() {
            permit.forget();
        }
        let sql = sql.filter(|sql| crate::session_state::SessionState::concerns(sql)).map(str::to_owned);
        Ok(Lent { connection: Arc::clone(connection), conn: Some(conn), sql, bare })
    }
}

/// Whether the answer that is open, if there is one, begins with no rows.
fn has_no_rows(conn: &mut Conn) -> bool {
    QueryResult::<TextProtocol>::new(conn).columns_ref().is_empty()
}

/// Whether an answer was read to its end.
fn is_read(conn: &mut Conn) -> bool {
    QueryResult::<TextProtocol>::new(conn).is_empty()
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        match (self.conn.take(), self.state) {
            (Some(conn), State::Free) => self.connection.put_back(conn),
            (conn, State::InFlight) => {
                self.connection.status.end();
                self.connection.gone(conn, cancelled());
            }
            // Lost: it was told already. Free and empty: lent, the slot waits for it.
            (Some(conn), State::Lost) => slot::close(*conn),
            (None, _) => {}
        }
    }
}

/// Why a connection is gone whose call was dropped by its caller.
fn cancelled() -> Error {
    Error::new(
        ErrorKind::Network,
        "the connection was given up because a call on it was cancelled before its answer had been read",
    )
    .with_outcome(TransactionOutcome::NotSent)
}

/// The driver's connection outside of a call: an open answer, or a user of the driver's own traits, reads from it.
/// Dropping it gives it back.
pub(crate) struct Lent {
    connection: Arc<MysqlConnection>,
    conn: Option<Box<Conn>>,
    sql: Option<String>,
    /// Nobody knows what was done with it.
    bare: bool,
}

impl Lent {
    /// `None` after [`lose`](Self::lose).
    pub(crate) fn conn(&mut self) -> Option<&mut Conn> {
        self.conn.as_deref_mut()
    }

    /// Whether it will not go back: a request on it was given up in the middle, or it was lost.
    pub(crate) fn is_broken(&self) -> bool {
        self.conn.as_ref().is_none_or(|conn| conn.is_disconnected())
    }

    pub(crate) fn connection(&self) -> &Arc<MysqlConnection> {
        &self.connection
    }

    /// Both at once, to read while the fate is watched.
    pub(crate) fn parts(&mut self) -> Option<(&mut Conn, &Fate)> {
        Some((self.conn.as_deref_mut()?, &self.connection.fate))
    }

    /// The library's error for one that came up while an answer was read; on a loss the connection is given up.
    pub(crate) fn failed(&mut self, error: Option<mysql_async::Error>, operation: &'static str) -> Error {
        // The statement has run; its effects stand or fall with its transaction.
        let lost = match self.connection.status.was_open() {
            true => TransactionOutcome::RolledBack,
            false => TransactionOutcome::MayHaveApplied,
        };
        let mapped = match error {
            Some(error) => map_error(error, lost),
            None => self.connection.lost_before_sending(operation).with_outcome(lost),
        };
        let mapped = mapped.with_operation(operation).with_host(self.connection.host.key.to_string());
        if self.is_broken() || mapped.class() == ErrorClass::Network {
            self.lose(mapped.clone());
        } else {
            self.connection.status.set_stale();
        }
        mapped
    }

    fn lose(&mut self, reason: Error) {
        self.connection.gone(self.conn.take(), reason);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(mut conn) = self.conn.take() {
            if conn.is_disconnected() {
                // Cancelled or broken in the middle of a request.
                self.connection.gone(Some(conn), cancelled());
            } else {
                self.connection.answers.fetch_add(1, Ordering::Relaxed);
                if self.bare || !is_read(&mut conn) || !self.connection.status.read(&conn) {
                    // The next call asks by a ping.
                    self.connection.status.set_stale();
                }
                if let Some(sql) = self.sql.as_ref().filter(|_| conn.last_ok_packet().is_some()) {
                    self.connection.observe_success(sql);
                }
                self.connection.put_back(conn);
            }
        }
        self.connection.status.end();
        self.connection.turn.add_permits(1);
    }
}
