//! The client's end of one connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::counts::Socket;
use super::state::Shared;
use super::statement::{Answer, Statement, What};
use super::stream::{FakeRows, Sent};
use super::wire::{Request, Wire};
use crate::driver::{DriverConnection, Rows, TransactionStatus};
use crate::env::Deadline;
use crate::error::{Error, ErrorKind, Result, TransactionOutcome};

/// An open connection to a host of a [`ScriptedCluster`](super::ScriptedCluster).
///
/// Statements are sent in the order in which their futures are first polled, and answered in that order; a future that
/// is dropped later takes nothing back, and its answer goes nowhere.
#[derive(Debug)]
pub struct FakeConnection {
    number: u64,
    host: Arc<str>,
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    requests: Mutex<Option<mpsc::UnboundedSender<Request>>>,
    socket: Mutex<Option<Socket>>,
    panics: AtomicBool,
}

impl FakeConnection {
    pub(super) fn new(
        shared: &Arc<Shared>,
        number: u64,
        host: Arc<str>,
        wire: Arc<Wire>,
        requests: mpsc::UnboundedSender<Request>,
        socket: Socket,
    ) -> Self {
        Self {
            number,
            host,
            shared: Arc::clone(shared),
            wire,
            requests: Mutex::new(Some(requests)),
            socket: Mutex::new(Some(socket)),
            panics: AtomicBool::new(false),
        }
    }

    /// Its number, counted over the whole cluster from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The host that it leads to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The server's error; or the reason for which the connection has ended, with what became of the statement.
    ///
    /// # Cancellation
    /// Safe: the next statement gets its own answer. What was sent is run all the same.
    pub async fn run(&self, statement: &Statement) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        let inside = self.send(statement, answer, None)?;
        match answered.await {
            Ok(result) => result.map_err(|error| error.with_host(&self.host)),
            Err(_) => Err(self.lost(statement, inside)),
        }
    }

    /// Sends a statement of [`What::Rows`] and waits until the server has begun to answer.
    pub(super) async fn open_rows(self: &Arc<Self>, statement: &Statement) -> Result<FakeRows> {
        let (answer, answered) = oneshot::channel();
        let (sender, rows) = mpsc::unbounded_channel();
        let inside = self.send(statement, answer, Some(sender))?;
        match answered.await {
            Ok(Ok(_)) => Ok(FakeRows::new(Arc::clone(self), statement.clone(), inside, rows)),
            Ok(Err(error)) => Err(error.with_host(&self.host)),
            Err(_) => Err(self.lost(statement, inside)),
        }
    }

    /// Why a statement that was sent gets no answer any more.
    pub(super) fn lost(&self, statement: &Statement, inside: bool) -> Error {
        let outcome = self.wire.outcome(statement, inside);
        self.wire.reason().with_outcome(outcome).with_host(&self.host)
    }

    /// Sends a statement whose answer nobody waits for, such as the ROLLBACK of a transaction that was dropped.
    pub fn post(&self, statement: &Statement) {
        let (answer, _) = oneshot::channel();
        let _ = self.send(statement, answer, None);
    }

    /// Nothing comes through on this connection any more, though neither end is told: a path that was lost.
    pub fn stall(&self) {
        self.wire.stalled.store(true, Ordering::Relaxed);
    }

    /// Bytes come in beside the answers, such as notices.
    pub fn receive(&self, bytes: u64) {
        self.wire.received(bytes);
    }

    /// From now on [`kill`](DriverConnection::kill) panics after its work. For tests of what must survive that.
    pub fn panic_when_killed(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    fn send(
        &self,
        statement: &Statement,
        answer: oneshot::Sender<Result<Answer>>,
        rows: Option<mpsc::UnboundedSender<Sent>>,
    ) -> Result<bool> {
        let not_sent =
            || Err(self.wire.reason().with_outcome(self.wire.outcome_if_lost()).with_host(&self.host));
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = requests.as_ref().filter(|_| !self.wire.is_cut()) else { return not_sent() };
        let sent = self.shared.lock().stamp();
        let request = Request { statement: statement.clone(), sent, answer, rows };
        let inside = self.wire.sending(statement);
        if open.send(request).is_err() {
            return not_sent();
        }
        Ok(inside)
    }

    async fn ask(&self, sql: &str, deadline: Deadline) -> Result<Answer> {
        let statement = Statement::new(0, What::Sql(sql.to_owned()));
        deadline.run("the question", self.run(&statement)).await
    }
}

#[async_trait]
impl DriverConnection for FakeConnection {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        self.ask(sql, deadline).await.map(|answer| answer.rows)
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        let statement = Statement::read(0);
        deadline.run("the ping", self.run(&statement)).await.map(|_| ())
    }

    fn kill(&self, reason: Error) {
        self.wire.kill(reason);
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(socket);
        assert!(!self.panics.load(Ordering::Relaxed), "the driver panics in `kill`, as scripted");
    }

    /// What was sent before is answered; then the server ends the session.
    fn drain(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn is_closed(&self) -> bool {
        self.wire.is_cut() || self.requests.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.wire.status()
    }

    fn outcome_if_lost(&self) -> TransactionOutcome {
        self.wire.outcome_if_lost()
    }

    fn bytes_received(&self) -> u64 {
        self.wire.bytes()
    }

    fn session_state_sql(&self) -> Vec<String> {
        self.wire.settings().iter().map(|(name, value)| format!("SET {name} = {value}")).collect()
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        // The socket is closed: what travels back finds nobody.
        self.wire.kill(Error::new(ErrorKind::Closed, "the connection was dropped"));
    }
}
