//! The thinnest adapter over the fake driver: a client and its transactions, with the duties that every adapter has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::connection::FakeConnection;
use super::statement::{Answer, Statement, What};
use crate::error::Result;
use crate::plugin::Call;
use crate::session::{Current, Operation, Session};

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
