//! Transactions: pinned to the connection on which they were begun (R14).
//!
//! What lives here: [`Transaction`], and how it begins and ends. What may not: any way to move a transaction to another
//! connection.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use mysql_async::TxOpts;
use mysql_async::prelude::Queryable;
use wrapper_core::plugin::Call;
use wrapper_core::session::Operation;
use wrapper_core::{Error, ErrorKind, Result, TransactionOutcome};

use crate::conn::{Conn, Pinned};
use crate::connection::{Doing, MysqlConnection};

/// A transaction, with the methods of [`Conn`]; it is rolled back when it is dropped before [`commit`](Self::commit).
///
/// It stays on the connection on which it was begun. When that is lost, the session is switched and every call of the
/// transaction ends with [`ErrorKind::TransactionStateUnknown`](wrapper_core::ErrorKind::TransactionStateUnknown);
/// [`outcome`](wrapper_core::Error::outcome) is *rolled back* unless something that can commit was on its way. A
/// deadlock rolls the whole transaction back; a [`commit`](Self::commit) after it is an error.
#[derive(Debug)]
#[must_use = "a transaction is rolled back when it is dropped"]
pub struct Transaction<'a> {
    conn: &'a mut Conn,
    pinned: Pinned,
    done: bool,
}

impl Conn {
    /// Begins a transaction. One that is open by a statement of yours is committed by the server.
    ///
    /// # Errors
    /// As for any call.
    ///
    /// # Cancellation
    /// Dropping the future leaves no transaction open; see [`Conn`].
    pub async fn start_transaction(&mut self, options: TxOpts) -> Result<Transaction<'_>> {
        let sql = begin_sql(&options);
        let begin = Begin { sql: &sql, sent_on: Mutex::new(None) };
        let guard = Unbegin(&begin);
        let on = self.run(None, Call::new("start_transaction").sql(&sql), &begin).await?;
        let pinned = self.session().pin();
        if !Arc::ptr_eq(&pinned.connection, &on) {
            // The guard rolls back what was begun on the connection that has been replaced.
            return Err(Error::new(
                ErrorKind::TransactionStateUnknown,
                "the session was switched while the transaction began; begin it again",
            )
            .with_outcome(TransactionOutcome::RolledBack));
        }
        std::mem::forget(guard);
        Ok(Transaction { conn: self, pinned, done: false })
    }
}

/// One text, one round trip.
fn begin_sql(options: &TxOpts) -> String {
    let mut sql = String::new();
    if let Some(level) = options.isolation_level() {
        sql.push_str(&format!("SET TRANSACTION ISOLATION LEVEL {level}; "));
    }
    sql.push_str("START TRANSACTION");
    let mut modes = Vec::new();
    if options.consistent_snapshot() {
        modes.push("WITH CONSISTENT SNAPSHOT");
    }
    match options.readonly() {
        Some(true) => modes.push("READ ONLY"),
        Some(false) => modes.push("READ WRITE"),
        None => {}
    }
    for (index, mode) in modes.iter().enumerate() {
        sql.push_str(if index == 0 { " " } else { ", " });
        sql.push_str(mode);
    }
    sql
}

/// START TRANSACTION, and the connection to which it was given: set before it is sent.
struct Begin<'a> {
    sql: &'a str,
    sent_on: Mutex<Option<Arc<MysqlConnection>>>,
}

impl Operation<MysqlConnection> for Begin<'_> {
    type Out = Arc<MysqlConnection>;

    async fn run(&self, connection: &Arc<MysqlConnection>) -> Result<Arc<MysqlConnection>> {
        let mut lease = connection.lease("start_transaction").await?;
        *self.sent_on.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(connection));
        let (conn, fate) = lease.begin(Doing::text("start_transaction", "START TRANSACTION"))?;
        let answered = fate.spare(conn.query_drop(self.sql)).await;
        lease.settle(answered).await?;
        Ok(Arc::clone(connection))
    }
}

/// Rolls back a transaction whose future was dropped, or failed, after it was begun. A call that was in flight has taken
/// its connection with it.
struct Unbegin<'a, 'b>(&'a Begin<'b>);

impl Drop for Unbegin<'_, '_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.sent_on.lock().unwrap_or_else(PoisonError::into_inner).take() {
            connection.roll_back();
        }
    }
}

impl Transaction<'_> {
    pub(crate) fn parts(&mut self) -> (&mut Conn, Option<&Pinned>) {
        (self.conn, Some(&self.pinned))
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// [`TransactionStateUnknown`](wrapper_core::ErrorKind::TransactionStateUnknown) when the connection was lost, with
    /// the outcome; an error with the outcome *rolled back* when the server had rolled the transaction back already.
    ///
    /// # Cancellation
    /// Dropping the future after it has sent COMMIT leaves the outcome open; before, the transaction is rolled back.
    pub async fn commit(mut self) -> Result<()> {
        self.end("commit", "COMMIT").await
    }

    /// Rolls the transaction back.
    ///
    /// # Errors
    /// What became of the session when the connection was lost; the transaction is rolled back all the same.
    ///
    /// # Cancellation
    /// Dropping the future leaves the transaction rolled back.
    pub async fn rollback(mut self) -> Result<()> {
        self.end("rollback", "ROLLBACK").await
    }

    async fn end(&mut self, method: &'static str, sql: &'static str) -> Result<()> {
        let (conn, pinned) = (&mut *self.conn, &self.pinned);
        let ended = conn.run(Some(pinned), Call::new(method).sql(sql), &End { method, sql }).await;
        // After an error the guard has its turn: it does nothing on a connection that is lost.
        self.done = ended.is_ok();
        ended
    }

    /// How many rows the last statement has changed; 0 when it has failed.
    pub fn affected_rows(&self) -> u64 {
        self.conn.affected_rows()
    }

    /// What the last statement has put into a column with `AUTO_INCREMENT`; `None` when it has not, or has failed.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.conn.last_insert_id()
    }

    /// What the server said of the last statement; mostly empty.
    pub fn info(&self) -> Cow<'_, str> {
        self.conn.info()
    }

    /// How many warnings the last statement has left.
    pub fn get_warnings(&self) -> u16 {
        self.conn.get_warnings()
    }

    /// The server's number of the transaction's connection, for `KILL`.
    pub fn id(&self) -> u32 {
        self.pinned.connection.server_id()
    }
}

struct End {
    method: &'static str,
    sql: &'static str,
}

impl Operation<MysqlConnection> for End {
    type Out = ();

    async fn run(&self, connection: &Arc<MysqlConnection>) -> Result<()> {
        let mut lease = connection.lease(self.method).await?;
        let (conn, fate) = lease.begin(Doing::text(self.method, self.sql))?;
        let answered = fate.spare(conn.query_drop(self.sql)).await;
        lease.settle(answered).await
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.conn.reclaim();
            self.pinned.connection.roll_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_async::IsolationLevel;

    #[test]
    fn the_options_stand_in_the_text_that_begins() {
        let mut options = TxOpts::new();
        assert_eq!(begin_sql(&options), "START TRANSACTION");
        options.with_readonly(true).with_consistent_snapshot(true);
        options.with_isolation_level(IsolationLevel::ReadCommitted);
        assert_eq!(
            begin_sql(&options),
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
        );
    }
}
