//! One open connection: the driver's client with what the driver does not tell beside it.
//!
//! What lives here: [`PgConnection`] and its identity. What may not: how it was opened (`driver`), what its errors
//! mean (`error`).

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio_postgres::{Client, SimpleQueryMessage};
use wrapper_core::driver::{DriverConnection, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, Result, TransactionOutcome};

use crate::cancel::CancelToken;
use crate::driver::{Address, Shared};
use crate::error::map_error;
use crate::link::{Hold, Link, MessageHandler};
use crate::session_state::SessionState;
use crate::tap::{Mark, Probe};

/// The identity of a connection: two statements of one connection point at the same one (R13).
#[derive(Debug)]
pub(crate) struct ConnId(());

/// The wait for the answer to a text. Dropped before [`over`](Self::over), it sees to it that what the text has done to
/// the session is known all the same.
#[must_use]
pub(crate) struct Unheard<'a> {
    connection: &'a PgConnection,
    sql: Option<&'a str>,
}

impl Unheard<'_> {
    /// The answer has come, or will not.
    #[inline]
    pub(crate) fn over(mut self) {
        self.sql = None;
    }
}

impl Drop for Unheard<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(sql) = self.sql {
            self.connection.doubt(sql);
        }
    }
}

/// One open connection to a PostgreSQL server.
///
/// Dropping the last handle says goodbye to the server within a bounded time and closes the socket.
pub struct PgConnection {
    // Dropped before the client: the connection's task knows then that the end is wanted.
    link: Hold,
    client: Client,
    probe: Arc<Probe>,
    id: Arc<ConnId>,
    state: Mutex<SessionState>,
    host: HostInfo,
    address: Address,
    shared: Arc<Shared>,
}

impl PgConnection {
    pub(crate) fn new(
        client: Client,
        link: Arc<Link>,
        probe: Arc<Probe>,
        host: HostInfo,
        address: Address,
        shared: Arc<Shared>,
    ) -> Self {
        let (id, state) = (Arc::new(ConnId(())), Mutex::default());
        Self { link: Hold::new(link), client, probe, id, state, host, address, shared }
    }

    /// The driver's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Gives `call` the driver's own client. What it does bypasses failover and plugins, and its errors are the
    /// driver's; the transaction status is followed nevertheless, session state only where the server reports it.
    pub fn with_raw<'a, T>(&'a self, call: impl FnOnce(&'a Client) -> T) -> T {
        call(&self.client)
    }

    /// Its identity, for handles that belong to it.
    pub(crate) fn id(&self) -> &Arc<ConnId> {
        &self.id
    }

    /// The host that it was opened to.
    pub fn host(&self) -> &HostInfo {
        &self.host
    }

    /// The address it was dialled at: an IP address with port, or the file of a Unix socket.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Whether it is encrypted.
    pub fn is_secure(&self) -> bool {
        self.probe.is_encrypted()
    }

    /// Whether the session began read-only, where the server reports it by itself (from PostgreSQL 14 on).
    pub(crate) fn reported_read_only(&self) -> Option<bool> {
        let standby = self.probe.first_value("in_hot_standby")?;
        let default = self.probe.first_value("default_transaction_read_only")?;
        Some(standby == "on" || default == "on")
    }

    /// Where it stands before a call; to be taken in the poll that sends.
    pub(crate) fn mark(&self) -> Mark {
        self.probe.mark()
    }

    /// To be called in the poll that queues text which may begin a transaction.
    pub(crate) fn announce(&self, sql: &str) {
        self.probe.announce(sql);
    }

    /// Whether the server has confirmed a commit since `mark`: what a COMMIT must be checked with, because one of
    /// a failed transaction is answered without an error.
    pub(crate) fn committed_since(&self, mark: &Mark) -> bool {
        self.probe.committed_since(mark)
    }

    /// Takes in text that has run without an error, for the session state. To be called with every text that runs,
    /// after its answer; what cannot matter is passed over cheaply.
    pub(crate) fn observe_success(&self, sql: &str) {
        if SessionState::concerns(sql) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).observe(sql, &self.probe);
        }
    }

    /// To be held from the poll that queues `sql` until its answer is there; see [`Unheard`].
    pub(crate) fn unheard<'a>(&'a self, sql: Option<&'a str>) -> Unheard<'a> {
        Unheard { connection: self, sql }
    }

    /// Asks the server what `sql`, which was sent, has done to the session; nobody waits for it.
    #[cold]
    fn doubt(&self, sql: &str) {
        if !SessionState::concerns(sql) || self.is_closed() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = state.doubt(sql, &self.probe) {
            // The driver queues it at once; its answer is read when somebody wants to know.
            if let Some(Ok(rows)) = self.client.simple_query_raw(&question).now_or_never() {
                state.asked(rows);
            }
        }
    }

    /// The statements that listen to the channels of this session.
    pub(crate) fn listens(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).listens(&self.probe)
    }

    /// Takes in statements that were left out here, for the connection after this one.
    pub(crate) fn remember(&self, sql: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).remember(sql);
    }

    /// Whether [`observe_success`](Self::observe_success) would find anything in `sql`.
    pub(crate) fn concerns_state(sql: &str) -> bool {
        SessionState::concerns(sql)
    }

    /// How many bytes were written to the server, encryption included.
    pub fn bytes_written(&self) -> u64 {
        self.link.written()
    }

    /// Sends notices and notifications to `handler`, on the connection's task; it must not block.
    pub(crate) fn set_message_handler(&self, handler: MessageHandler) {
        self.link.set_handler(handler);
    }

    /// A token that cancels what runs on this connection, over a connection of its own to the same address.
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken::new(
            self.client.cancel_token(),
            self.host.clone(),
            self.address.clone(),
            Arc::clone(&self.shared),
        )
    }

    /// The library's error for one of the driver's; `mark` was taken before the call sent anything.
    pub(crate) fn map_error(
        &self,
        error: tokio_postgres::Error,
        operation: &'static str,
        mark: &Mark,
    ) -> Error {
        map_error(error, &self.link, &self.probe, mark)
            .with_operation(operation)
            .with_host(self.host.key.to_string())
    }

    async fn bounded<T>(
        &self,
        operation: &'static str,
        deadline: Deadline,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let mark = self.mark();
        let mapped = async { call.await.map_err(|error| self.map_error(error, operation, &mark)) };
        deadline.run(operation, mapped).await.map_err(|error| match error.host() {
            Some(_) => error,
            None => error.with_operation(operation).with_host(self.host.key.to_string()),
        })
    }
}

/// For pools.
#[cfg(any(feature = "bb8", feature = "deadpool", feature = "raw-client"))]
impl PgConnection {
    /// Whether nothing is open on it and nothing in flight.
    #[cfg(any(feature = "bb8", feature = "deadpool"))]
    pub(crate) fn is_settled(&self) -> bool {
        self.probe.outstanding() == 0
            && self.probe.status() == TransactionStatus::Idle
            && !self.probe.is_copying_in()
    }

    /// The driver's client alone, and what keeps its connection open.
    #[cfg(feature = "raw-client")]
    pub(crate) fn into_raw(self) -> (Client, Hold) {
        (self.client, self.link)
    }
}

#[async_trait]
impl DriverConnection for PgConnection {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        let messages = self.bounded("query", deadline, self.client.simple_query(sql)).await?;
        let mut columns = Vec::new();
        let mut rows = Vec::new();
        for message in &messages {
            match message {
                // The last statement that answers with rows is the one that was asked for.
                SimpleQueryMessage::RowDescription(described) => {
                    columns = described.iter().map(|column| column.name().to_owned()).collect();
                    rows.clear();
                }
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect());
                }
                _ => {}
            }
        }
        Ok(Rows::new(columns, rows))
    }

    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        self.announce(sql);
        self.bounded("batch_execute", deadline, self.client.batch_execute(sql)).await?;
        self.observe_success(sql);
        Ok(())
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        self.bounded("ping", deadline, self.client.check_connection()).await
    }

    fn kill(&self, reason: Error) {
        self.link.kill(reason);
    }

    fn drain(&self) {
        self.link.drain();
    }

    fn is_closed(&self) -> bool {
        self.link.is_killed() || self.link.has_ended() || self.client.is_closed()
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.probe.status()
    }

    fn outcome_if_lost(&self) -> TransactionOutcome {
        self.probe.outcome_of_loss(&self.probe.mark())
    }

    fn bytes_received(&self) -> u64 {
        self.link.received()
    }

    fn session_state_sql(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).statements(&self.probe)
    }
}

impl fmt::Debug for PgConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgConnection")
            .field("host", &self.host)
            .field("address", &self.address)
            .field("secure", &self.is_secure())
            .field("link", &*self.link)
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}
