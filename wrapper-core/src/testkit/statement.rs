//! What a client asks a scripted server to do.

use std::sync::Arc;
use std::time::Duration;

use super::connection::FakeConnection;
use super::ledger::Change;
use crate::driver::Rows;
use crate::error::Result;
use crate::session::Operation;

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Opens a transaction.
    Begin,
    /// Ends it, durably.
    Commit,
    /// Ends it, without a trace.
    Rollback,
    /// Changes the store.
    Write(Change),
    /// Answers with the number of changes that are visible on the host.
    Read,
    /// Answers with rows that come in one after the other; see [`FakeClient::rows`](super::FakeClient::rows).
    Rows {
        /// How many.
        count: u32,
        /// The time from one to the next.
        every: Duration,
    },
    /// Sets a value of the session.
    Set {
        /// Its name.
        name: String,
        /// The value.
        value: String,
    },
    /// Answers with a value of the session.
    Show(String),
    /// A question of the library itself.
    Sql(String),
}

/// A statement with a number of its own, by which the servers' log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement {
    /// The number; the caller sees to it that no two statements have the same. 0 stands for the library's own.
    pub number: u64,
    /// What it does.
    pub what: What,
    /// How long the server works on it, beside the round trip.
    pub takes: Duration,
}

impl Statement {
    /// Statement `number`, which does `what`.
    pub fn new(number: u64, what: What) -> Self {
        Self { number, what, takes: Duration::ZERO }
    }

    /// Appends a line.
    pub fn append(number: u64) -> Self {
        Self::new(number, What::Write(Change::Append))
    }

    /// Adds `delta` to `account`.
    pub fn add(number: u64, account: u32, delta: i64) -> Self {
        Self::new(number, What::Write(Change::Add { account, delta }))
    }

    /// Reads.
    pub fn read(number: u64) -> Self {
        Self::new(number, What::Read)
    }

    /// Reads `count` rows, one each `every`.
    pub fn rows(number: u64, count: u32, every: Duration) -> Self {
        Self::new(number, What::Rows { count, every })
    }

    /// Sets a value of the session.
    pub fn set(number: u64, name: &str, value: &str) -> Self {
        Self::new(number, What::Set { name: name.to_owned(), value: value.to_owned() })
    }

    /// Asks for a value of the session.
    pub fn show(number: u64, name: &str) -> Self {
        Self::new(number, What::Show(name.to_owned()))
    }

    /// The same statement, on which the server works for `span`.
    #[must_use]
    pub fn taking(mut self, span: Duration) -> Self {
        self.takes = span;
        self
    }

    /// What kind it is, such as `append`.
    pub fn kind(&self) -> &'static str {
        match &self.what {
            What::Begin => "begin",
            What::Commit => "commit",
            What::Rollback => "rollback",
            What::Write(Change::Append) => "append",
            What::Write(_) => "add",
            What::Read => "read",
            What::Rows { .. } => "rows",
            What::Set { .. } => "set",
            What::Show(_) => "show",
            What::Sql(_) => "sql",
        }
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The number of the statement that it is the answer to.
    pub statement: u64,
    /// The host.
    pub host: Arc<str>,
    /// The value that was asked for.
    pub value: Option<String>,
    /// The rows that the library asked for.
    pub rows: Rows,
}

impl Operation<FakeConnection> for Statement {
    type Out = Answer;

    async fn run(&self, connection: &Arc<FakeConnection>) -> Result<Answer> {
        connection.run(self).await
    }
}

/// Reads `SET name = value; SET name = value`, the text that carries the settings of a session over.
pub(super) fn settings(sql: &str) -> impl Iterator<Item = (&str, &str)> {
    sql.split(';').filter_map(|one| one.trim().strip_prefix("SET ")?.split_once(" = "))
}
