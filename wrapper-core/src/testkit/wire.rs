//! The wire between a client's connection and its server, and what the client knows of what travels on it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::statement::{Answer, Statement, What, settings};
use super::stream::Sent;
use crate::dialect::Engine;
use crate::driver::{ConnectPurpose, TransactionStatus};
use crate::error::{Error, ErrorKind, Result, TransactionOutcome};

/// A statement on its way to the server.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) statement: Statement,
    /// When it was sent, in the order of everything that happened.
    pub(super) sent: u64,
    pub(super) answer: oneshot::Sender<Result<Answer>>,
    /// For a stream: where its rows go.
    pub(super) rows: Option<mpsc::UnboundedSender<Sent>>,
}

/// Both ends of one connection hold it; either may cut it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) purpose: ConnectPurpose,
    engine: Engine,
    pub(super) killed: CancellationToken,
    pub(super) reset: CancellationToken,
    /// Nothing comes through any more.
    pub(super) stalled: AtomicBool,
    reason: OnceLock<Error>,
    client: Mutex<ClientSide>,
}

/// What the client's driver knows.
#[derive(Debug)]
pub(super) struct ClientSide {
    /// By the answers that have come.
    status: TransactionStatus,
    /// Whether a transaction is open once everything that was sent has been run.
    opens: bool,
    commits_in_flight: u32,
    settings: BTreeMap<String, String>,
    bytes: u64,
}

impl Wire {
    pub(super) fn new(purpose: ConnectPurpose, engine: Engine) -> Self {
        Self {
            purpose,
            engine,
            killed: CancellationToken::new(),
            reset: CancellationToken::new(),
            stalled: AtomicBool::new(false),
            reason: OnceLock::new(),
            client: Mutex::new(ClientSide {
                status: TransactionStatus::Idle,
                opens: false,
                commits_in_flight: 0,
                settings: BTreeMap::new(),
                bytes: 0,
            }),
        }
    }

    fn client(&self) -> MutexGuard<'_, ClientSide> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client closes it.
    pub(super) fn kill(&self, reason: Error) {
        if !self.is_cut() {
            let _ = self.reason.set(reason);
        }
        self.killed.cancel();
    }

    /// The server closes it.
    pub(super) fn reset(&self) {
        if !self.is_cut() {
            let _ = self.reason.set(Error::new(ErrorKind::Network, "connection reset by peer"));
        }
        self.reset.cancel();
    }

    /// Waits until either end has closed it.
    pub(super) async fn cut(&self) {
        tokio::select! {
            biased;
            () = self.reset.cancelled() => {}
            () = self.killed.cancelled() => {}
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.killed.is_cancelled() || self.reset.is_cancelled()
    }

    pub(super) fn reason(&self) -> Error {
        self.reason
            .get()
            .cloned()
            .unwrap_or_else(|| Error::new(ErrorKind::Network, "the connection has ended"))
    }

    pub(super) fn status(&self) -> TransactionStatus {
        self.client().status
    }

    pub(super) fn bytes(&self) -> u64 {
        self.client().bytes
    }

    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        self.client().settings.clone()
    }

    /// Notes bytes that come beside the answer to a statement.
    pub(super) fn received(&self, bytes: u64) {
        self.client().bytes += bytes;
    }

    /// Notes that `statement` is being sent; says whether it runs inside a transaction.
    pub(super) fn sending(&self, statement: &Statement) -> bool {
        let mut client = self.client();
        let inside = client.opens;
        match statement.what {
            What::Begin => {
                client.opens = true;
                client.status = TransactionStatus::Open;
            }
            What::Commit => {
                client.opens = false;
                client.commits_in_flight += 1;
            }
            What::Rollback => client.opens = false,
            _ => {}
        }
        inside
    }

    /// Notes the answer to `statement`, whether or not anybody still waits for it.
    pub(super) fn answered(&self, statement: &Statement, answer: &Result<Answer>) {
        let mut client = self.client();
        client.bytes += 16;
        match (&statement.what, answer) {
            (What::Commit, _) => {
                client.commits_in_flight -= 1;
                client.status = TransactionStatus::Idle;
            }
            (What::Rollback, _) => client.status = TransactionStatus::Idle,
            (What::Set { name, value }, Ok(_)) => {
                client.settings.insert(name.clone(), value.clone());
            }
            (What::Sql(sql), Ok(_)) => {
                client.settings.extend(settings(sql).map(|(name, value)| (name.to_owned(), value.to_owned())))
            }
            // In MySQL the transaction goes on without the statement.
            (_, Err(_)) if self.engine != Engine::Mysql && client.status == TransactionStatus::Open => {
                client.status = TransactionStatus::Failed;
            }
            _ => {}
        }
        if client.opens && client.status == TransactionStatus::Idle {
            client.status = TransactionStatus::Open;
        }
    }

    /// What became of a statement that was sent and not answered.
    pub(super) fn outcome(&self, statement: &Statement, inside: bool) -> TransactionOutcome {
        let commits = self.client().commits_in_flight > 0;
        match statement.what {
            What::Begin | What::Rollback if !commits => TransactionOutcome::RolledBack,
            What::Commit => TransactionOutcome::MayHaveApplied,
            _ if inside && !commits => TransactionOutcome::RolledBack,
            _ => TransactionOutcome::MayHaveApplied,
        }
    }

    /// What becomes of the open transaction when the connection is given up now.
    pub(super) fn outcome_if_lost(&self) -> TransactionOutcome {
        let client = self.client();
        match client.status {
            TransactionStatus::Idle => TransactionOutcome::NotSent,
            _ if client.commits_in_flight > 0 => TransactionOutcome::MayHaveApplied,
            _ => TransactionOutcome::RolledBack,
        }
    }
}
