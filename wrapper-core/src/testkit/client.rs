//! The thinnest adapter over the fake driver: a client and its transactions, with the duties that every adapter has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::connection::FakeConnection;
use super::statement::{Answer, Statement, What};
use super::stream::FakeRows;
use crate::error::Result;
use crate::plugin::Call;
use crate::session::{Current, Operation, Session, StreamWatch};

/// A client on a session. Cheap to clone; clones share the session.
#[derive(Clone, Debug)]
pub struct FakeClient {
    session: Arc<Session<FakeConnection>>,
}

impl FakeClient {
    /// A client on `session`.
    pub fn new(session: Arc<Session<FakeConnection>>) -> Self {
        Self { session }
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session<FakeConnection>> {
        &self.session
    }

    /// Runs a statement outside transactions.
    ///
    /// # Errors
    /// What the plugins made of the driver's error.
    ///
    /// # Cancellation
    /// Safe: the next statement gets its own answer.
    pub async fn run(&self, statement: &Statement) -> Result<Answer> {
        self.session.call(&Call::new(statement.kind()), statement).await
    }

    /// Opens a stream of rows: a statement of [`What::Rows`] outside transactions.
    ///
    /// # Errors
    /// As for [`run`](Self::run). An error after the stream has been opened is the stream's.
    ///
    /// # Cancellation
    /// Safe: rows that still come are nobody's.
    pub async fn rows(&self, statement: &Statement) -> Result<FakeRows> {
        let call = Call::new(statement.kind());
        let rows = self.session.call(&call, &OpenRows(statement)).await?;
        // Switched since: then its connection is going, and nobody has to watch it.
        let current = Some(self.session.pin()).filter(|current| rows.is_on(&current.connection));
        let watch = current.map(|current| StreamWatch::new(Arc::clone(&self.session), current));
        Ok(rows.watched_by(watch))
    }

    /// Opens a transaction by the statement `number`; it is rolled back unless it is committed.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    ///
    /// # Cancellation
    /// Whatever was opened is rolled back.
    pub async fn begin(&self, number: u64) -> Result<FakeTransaction> {
        let current = self.session.pin();
        // The guard is there before anything is sent.
        let mut transaction = FakeTransaction {
            session: Arc::clone(&self.session),
            current,
            open: AtomicBool::new(false),
            abandons: false,
        };
        let begin = Begin { statement: Statement::new(number, What::Begin), open: &transaction.open };
        let call = Call::new("begin").once();
        let begun = self.session.call_on(&transaction.current, &call, &begin).await;
        if begun.is_err() {
            // The server has said no, or the connection is gone: nothing is open.
            transaction.open = AtomicBool::new(false);
        }
        begun.map(|_| transaction)
    }
}

struct OpenRows<'a>(&'a Statement);

impl Operation<FakeConnection> for OpenRows<'_> {
    type Out = FakeRows;

    async fn run(&self, connection: &Arc<FakeConnection>) -> Result<FakeRows> {
        connection.open_rows(self.0).await
    }
}

struct Begin<'a> {
    statement: Statement,
    open: &'a AtomicBool,
}

impl Operation<FakeConnection> for Begin<'_> {
    type Out = Answer;

    async fn run(&self, connection: &Arc<FakeConnection>) -> Result<Answer> {
        self.open.store(true, Ordering::Relaxed);
        connection.run(&self.statement).await
    }
}

/// An open transaction, pinned to its connection; dropping it rolls it back.
#[derive(Debug)]
pub struct FakeTransaction {
    session: Arc<Session<FakeConnection>>,
    current: Arc<Current<FakeConnection>>,
    open: AtomicBool,
    abandons: bool,
}

impl FakeTransaction {
    /// Runs a statement in the transaction.
    ///
    /// # Errors
    /// As for [`FakeClient::run`]; the transaction never moves to another connection.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn run(&self, statement: &Statement) -> Result<Answer> {
        self.session.call_on(&self.current, &Call::new(statement.kind()).pinned(), statement).await
    }

    /// Commits by the statement `number`.
    ///
    /// # Errors
    /// As for [`FakeClient::run`]; [`outcome`](crate::Error::outcome) says what became of the transaction.
    ///
    /// # Cancellation
    /// The transaction is committed or rolled back, never left open.
    pub async fn commit(self, number: u64) -> Result<Answer> {
        let committed = self.run(&Statement::new(number, What::Commit)).await;
        self.open.store(false, Ordering::Relaxed);
        committed
    }

    /// Rolls back by the statement `number`.
    ///
    /// # Errors
    /// As for [`FakeClient::run`].
    ///
    /// # Cancellation
    /// The transaction is rolled back.
    pub async fn rollback(self, number: u64) -> Result<Answer> {
        let rolled_back = self.run(&Statement::new(number, What::Rollback)).await;
        self.open.store(false, Ordering::Relaxed);
        rolled_back
    }

    /// The duty of an adapter that this one neglects when told so: a transaction that is dropped stays open. For tests
    /// that must find an adapter with this mistake.
    #[must_use]
    pub fn left_open_when_dropped(mut self) -> Self {
        self.abandons = true;
        self
    }
}

impl Drop for FakeTransaction {
    fn drop(&mut self) {
        if *self.open.get_mut() && !self.abandons {
            self.current.connection.post(&Statement::new(0, What::Rollback));
        }
    }
}
