//! The server's end of one connection: runs the statements in order, answers, ends when the wire is cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::ledger::{Change, Executed};
use super::metadata;
use super::state::Shared;
use super::statement::{Answer, Statement, What, settings};
use super::stream::{FakeRow, Sent};
use super::wire::{Request, Wire};
use crate::dialect::Engine;
use crate::driver::Rows;
use crate::error::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};
use crate::host::HostRole;

/// One session on a server.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) shared: Arc<Shared>,
    pub(super) host: usize,
    pub(super) connection: u64,
    /// When the login was done.
    pub(super) opened: u64,
    pub(super) wire: Arc<Wire>,
    pub(super) transaction: Option<Transaction>,
    pub(super) settings: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(super) struct Transaction {
    changes: Vec<(u64, Change)>,
    failed: bool,
}

impl Backend {
    /// Serves until either end cuts the wire, or the client's connection is dropped.
    pub(super) async fn serve(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let wire = Arc::clone(&self.wire);
        loop {
            let request = tokio::select! {
                biased;
                () = wire.reset.cancelled() => return,
                () = wire.killed.cancelled() => return,
                request = requests.recv() => request,
            };
            let Some(Request { statement, sent, answer, rows }) = request else { return };
            if wire.stalled.load(Ordering::Relaxed) {
                wire.cut().await;
                return;
            }
            let mut answer = Some(answer);
            let mut working = std::pin::pin!(work(&self.shared, self.host, statement.takes));
            let orphaned = tokio::select! {
                biased;
                () = wire.reset.cancelled() => return,
                () = wire.killed.cancelled() => true,
                () = &mut working => false,
            };
            if orphaned {
                // A server does not look at its client while it works: what has arrived is run to its end.
                answer = None;
                requests.close();
                while requests.try_recv().is_ok() {}
                tokio::select! {
                    biased;
                    () = wire.reset.cancelled() => return,
                    () = working => {}
                }
            }
            let result = self.execute(&statement, sent);
            let Some(answer) = answer else { return };
            let back = work(&self.shared, self.host, Duration::ZERO);
            tokio::select! {
                biased;
                () = wire.reset.cancelled() => return,
                () = wire.killed.cancelled() => return,
                () = back => {}
            }
            wire.answered(&statement, &result);
            let streams = result.is_ok();
            let _ = answer.send(result);
            if let (Some(rows), true) = (rows, streams) {
                tokio::select! {
                    biased;
                    () = wire.reset.cancelled() => return,
                    () = wire.killed.cancelled() => return,
                    () = self.send_rows(&statement, &rows) => {}
                }
            }
        }
    }

    /// The rows travel one behind the other: only the first has waited for the way.
    async fn send_rows(&self, statement: &Statement, rows: &mpsc::UnboundedSender<Sent>) {
        let What::Rows { count, every } = statement.what else { return };
        for index in 0..count {
            pause(&self.shared, self.host, every).await;
            self.wire.received(16);
            let _ = rows.send(Sent::Row(FakeRow { statement: statement.number, index }));
        }
        let _ = rows.send(Sent::End);
    }

    fn execute(&mut self, statement: &Statement, sent: u64) -> Result<Answer> {
        let in_transaction = self.transaction.is_some();
        let result = self.run(statement);
        if statement.number != 0 {
            let mut state = self.shared.lock();
            let host = Arc::clone(&state.hosts[self.host].name);
            state.executed.push(Executed {
                statement: statement.number,
                kind: statement.kind(),
                is_write: matches!(statement.what, What::Write(_)),
                host,
                connection: self.connection,
                in_transaction,
                accepted: result.is_ok(),
                opened: self.opened,
                sent,
                at: self.shared.clock.now(),
            });
        }
        result
    }

    fn run(&mut self, statement: &Statement) -> Result<Answer> {
        if self.transaction.as_ref().is_some_and(|transaction| transaction.failed)
            && !matches!(statement.what, What::Commit | What::Rollback)
        {
            return Err(Error::new(ErrorKind::Statement, "the transaction has failed").with_sqlstate("25P02"));
        }
        let engine = self.shared.flavour.engine();
        let now = self.shared.clock.now();
        let mut state = self.shared.lock();
        let writes = state.hosts[self.host].role == HostRole::Writer;
        let mut value = None;
        let mut rows = Rows::default();
        match &statement.what {
            What::Rows { .. } => {}
            What::Begin => {
                self.transaction.get_or_insert_default();
            }
            What::Rollback => self.transaction = None,
            What::Commit => {
                let Transaction { changes, failed } = self.transaction.take().unwrap_or_default();
                if failed {
                    return Err(Error::new(ErrorKind::Statement, "the transaction had failed")
                        .with_outcome(TransactionOutcome::RolledBack));
                }
                if !changes.is_empty() && !writes {
                    return Err(read_only(engine));
                }
                state.write(self.host, now, &changes);
            }
            What::Write(change) => match &mut self.transaction {
                _ if !writes => {
                    if let Some(transaction) = &mut self.transaction {
                        // In MySQL it goes on without the statement.
                        transaction.failed = engine != Engine::Mysql;
                    }
                    return Err(read_only(engine));
                }
                Some(transaction) => transaction.changes.push((statement.number, *change)),
                None => state.write(self.host, now, &[(statement.number, *change)]),
            },
            What::Read => {
                let lag = if writes { Duration::ZERO } else { state.hosts[self.host].lag };
                let visible = state.log.iter().filter(|written| written.at + lag <= now).count();
                value = Some(visible.to_string());
                state.hosts[self.host].pings += u64::from(statement.number == 0);
            }
            What::Set { name, value } => {
                self.settings.insert(name.clone(), value.clone());
            }
            What::Show(name) => value = self.settings.get(name).cloned(),
            What::Sql(sql) => {
                *state.asked.entry(sql.clone()).or_default() += 1;
                if sql.starts_with("SET ") {
                    let set = settings(sql).map(|(name, value)| (name.to_owned(), value.to_owned()));
                    self.settings.extend(set);
                } else {
                    rows = metadata::answer(&state, self.shared.flavour, self.host, now, sql)?;
                }
            }
        }
        let host = Arc::clone(&state.hosts[self.host].name);
        Ok(Answer { statement: statement.number, host, value, rows })
    }
}

/// Half a round trip to `host`, and `takes` beside; a frozen host gets no further.
fn work(shared: &Arc<Shared>, host: usize, takes: Duration) -> impl Future<Output = ()> + use<> {
    let shared = Arc::clone(shared);
    async move {
        let way = shared.lock().hosts[host].latency / 2;
        pause(&shared, host, way + takes).await;
    }
}

/// `span` of the time of `host`, which stands still while it is frozen.
async fn pause(shared: &Shared, host: usize, span: Duration) {
    let mut frozen = shared.lock().hosts[host].frozen.subscribe();
    shared.clock.sleep(span).await;
    let _ = frozen.wait_for(|frozen| !frozen).await;
}

fn read_only(engine: Engine) -> Error {
    let refused = match engine {
        Engine::Mysql => {
            let text =
                "The MySQL server is running with the --read-only option so it cannot execute this statement";
            Error::new(ErrorKind::Statement, text).with_sqlstate("HY000").with_server_code(1290)
        }
        _ => Error::new(ErrorKind::Statement, "cannot execute this in a read-only transaction")
            .with_sqlstate("25006"),
    };
    refused.with_class(ErrorClass::ReadOnly).with_outcome(TransactionOutcome::RolledBack)
}
