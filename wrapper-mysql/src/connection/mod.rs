//! One open connection: the driver's, which belongs to one call at a time, with what the driver does not tell beside it.
//!
//! What lives here: [`MysqlConnection`], its identity, its slot. What may not: how it was opened (`driver`), what its
//! errors mean (`error`).

mod lease;
mod slot;
mod status;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tokio::sync::Semaphore;
use wrapper_core::driver::{DriverConnection, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, ErrorKind, Result, TransactionOutcome};

use crate::fate::Fate;
use crate::session_state::SessionState;

pub(crate) use lease::{Doing, Lease, Lent};
use slot::Slot;
use status::Status;

/// The identity of a connection: two statements of one connection point at the same one (R13). Numbers of servers
/// repeat, so no number stands for it.
#[derive(Debug)]
pub(crate) struct ConnId(());

/// One open connection to a MySQL-family server.
///
/// The driver's connection serves one call at a time; a call that finds it in use waits for its turn. A call that is
/// dropped before its answer was read takes the connection with it: nobody reads that answer as the one to another
/// call. Dropping the last handle says goodbye as far as that needs no waiting, and closes the socket.
pub struct MysqlConnection {
    slot: Mutex<Slot>,
    /// One permit: the right to take what is in the slot.
    turn: Semaphore,
    fate: Fate,
    status: Status,
    /// How many answers have come in full.
    answers: AtomicU64,
    /// The server has rolled the session's transaction back by itself, and nobody has ended it since.
    undone: AtomicBool,
    state: Mutex<SessionState>,
    id: Arc<ConnId>,
    host: HostInfo,
    address: String,
    facts: Facts,
}

/// What is known of a connection from its beginning on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) id: u32,
    pub(crate) version: (u16, u16, u16),
    pub(crate) secure: bool,
}

impl MysqlConnection {
    pub(crate) fn new(conn: Conn, host: HostInfo, address: String, secure: bool) -> Self {
        let facts = Facts { id: conn.id(), version: conn.server_version(), secure };
        let status = Status::default();
        status.read(&conn);
        Self {
            slot: Mutex::new(Slot::Idle(Box::new(conn))),
            turn: Semaphore::new(1),
            fate: Fate::default(),
            status,
            answers: AtomicU64::new(0),
            undone: AtomicBool::new(false),
            state: Mutex::default(),
            id: Arc::new(ConnId(())),
            host,
            address,
            facts,
        }
    }

    /// Its identity, for handles that belong to it.
    pub(crate) fn id(&self) -> &Arc<ConnId> {
        &self.id
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts
    }

    /// The number that the server gives this connection, for `KILL`.
    pub fn server_id(&self) -> u32 {
        self.facts.id
    }

    /// The host that it was opened to.
    pub fn host(&self) -> &HostInfo {
        &self.host
    }

    /// The address it was dialled at: an IP address with port, or the file of a Unix socket.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is encrypted.
    pub fn is_secure(&self) -> bool {
        self.facts.secure
    }

    /// Looks at the driver's connection while no call is in flight; `None` when one is, or when it is gone.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Conn) -> T) -> Option<T> {
        match &*self.slot() {
            Slot::Idle(conn) => Some(look(conn)),
            _ => None,
        }
    }

    /// Takes in text that has run without an error, for the session state.
    pub(crate) fn observe_success(&self, sql: &str) {
        if SessionState::concerns(sql) {
            self.state(|state| state.observe(sql));
        }
    }

    pub(crate) fn state<T>(&self, change: impl FnOnce(&mut SessionState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was last seen of the status may not hold any more.
    pub(crate) fn forget_status(&self) {
        self.status.set_stale();
    }

    /// Whether the server has rolled the transaction back by itself: a COMMIT now would be answered as if there had been
    /// one to commit.
    pub(crate) fn is_undone(&self) -> bool {
        self.undone.load(Ordering::Acquire)
    }

    /// Whether nothing is open on it and nothing in flight.
    #[cfg(any(feature = "bb8", feature = "deadpool"))]
    pub(crate) fn is_settled(&self) -> bool {
        matches!(&*self.slot(), Slot::Idle(_)) && self.status.now() == TransactionStatus::Idle
    }

    async fn bounded<T>(
        &self,
        operation: &'static str,
        deadline: Deadline,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        deadline.run(operation, call).await.map_err(|error| match error.host() {
            Some(_) => error,
            None => error.with_operation(operation).with_host(self.host.key.to_string()),
        })
    }

    async fn fetch(&self, sql: &str) -> Result<Rows> {
        let before = self.transaction_status();
        let mut lease = self.lease("query").await?;
        let (conn, fate) = lease.begin(Doing::text("query", sql))?;
        let answered = fate.spare(last_rows(conn, sql)).await;
        let rows = lease.settle(answered).await?;
        if before == TransactionStatus::Idle && !self.status.autocommits() && self.status.now() != before {
            // Without autocommit a question begins a transaction, which nobody asked for.
            let (conn, fate) = lease.begin(Doing::text("query", "ROLLBACK"))?;
            let answered = fate.spare(conn.query_drop("ROLLBACK")).await;
            lease.settle(answered).await?;
        }
        Ok(rows)
    }
}

/// The rows of the last statement of `sql` that answers with rows, as text.
async fn last_rows(conn: &mut Conn, sql: &str) -> mysql_async::Result<Rows> {
    let mut answer = conn.query_iter(sql).await?;
    let mut found = Rows::default();
    while !answer.is_empty() {
        let columns: Vec<String> =
            answer.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
        let rows: Vec<Row> = answer.collect().await?;
        if !columns.is_empty() {
            let rows = rows.into_iter().map(|row| row.unwrap_raw().into_iter().map(text).collect());
            found = Rows::new(columns, rows.collect());
        }
    }
    // An error of a later statement comes out here.
    answer.drop_result().await?;
    Ok(found)
}

fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    }
}

#[async_trait]
impl DriverConnection for MysqlConnection {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        self.bounded("query", deadline, self.fetch(sql)).await
    }

    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        let run = async {
            let mut lease = self.lease("query").await?;
            let (conn, fate) = lease.begin(Doing::text("query", sql))?;
            let answered = fate.spare(conn.query_drop(sql)).await;
            lease.settle(answered).await?;
            self.observe_success(sql);
            Ok(())
        };
        self.bounded("query", deadline, run).await
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        let ping = async {
            let mut lease = self.lease("ping").await?;
            let (conn, fate) = lease.begin(Doing::nothing("ping"))?;
            let answered = fate.spare(conn.ping()).await;
            lease.settle(answered).await
        };
        self.bounded("ping", deadline, ping).await
    }

    fn kill(&self, reason: Error) {
        self.fate.end(reason);
        self.close_if_idle();
    }

    fn drain(&self) {
        self.fate.drain();
        if self.is_idle() {
            self.kill(replaced());
        }
    }

    fn is_closed(&self) -> bool {
        self.fate.has_ended()
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status.now()
    }

    fn outcome_if_lost(&self) -> TransactionOutcome {
        self.status.outcome_if_lost()
    }

    /// How many answers have come in full: the driver shows no bytes. It grows with every sign of life, but not while one
    /// long answer is being read.
    fn bytes_received(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    fn session_state_sql(&self) -> Vec<String> {
        self.state(|state| state.statements())
    }
}

fn replaced() -> Error {
    Error::new(ErrorKind::Network, "the connection was replaced by another one")
        .with_outcome(TransactionOutcome::NotSent)
}

impl fmt::Debug for MysqlConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlConnection")
            .field("host", &self.host)
            .field("address", &self.address)
            .field("facts", &self.facts)
            .field("fate", &self.fate)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
