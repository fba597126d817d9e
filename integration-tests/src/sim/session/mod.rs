//! One session of a simulated server: its settings, its transaction, and how a statement is run in them.
//!
//! What may not live here: sockets and protocol messages (`connection`, `handlers`), SQL itself (`sql`).

mod control;
mod mysql;
mod transaction;
mod variables;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pgwire::api::Type;
use pgwire::messages::response::TransactionStatus;
use sqlparser::ast::Statement;
use tokio::sync::Notify;

use super::error::SqlError;
use super::flavour::Engine;
use super::node::CommitFate;
use super::sql::bind::Binder;
use super::sql::value::{Value, now_micros};
use super::sql::{Env, Facts, Identity, OutColumn, write};
use super::store::{Inner, Op, Store};
use transaction::Transaction;
pub(crate) use variables::{REPORTED, Variables, unknown_setting};

/// A session: what a backend process is in PostgreSQL.
pub(crate) struct Session {
    facts: Arc<dyn Facts>,
    store: Arc<Store>,
    node: usize,
    pub(crate) identity: Identity,
    pub(crate) vars: Variables,
    transaction: Option<Transaction>,
    /// Channels listened to.
    pub(crate) channels: BTreeSet<String>,
    /// NOTIFYs of committed transactions, to be published by the connection.
    pub(crate) published: Vec<(String, String)>,
    cancel: Arc<Notify>,
    /// Its connection is being reset at a commit; it answers no more.
    vanishing: bool,
    /// MySQL: whether the next transaction alone may only read, where SET TRANSACTION said so.
    next_read_only: Option<bool>,
    /// MySQL: the first number that the last such statement took from an AUTO_INCREMENT column.
    last_insert_id: i64,
}

/// A parsed and bound statement: what Describe tells. Bound again when it runs, as tables may have changed.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) statement: Arc<Statement>,
    pub(crate) params: Vec<Type>,
    /// Empty for a statement that returns no rows.
    pub(crate) columns: Vec<OutColumn>,
}

/// What a statement answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) tag: String,
    pub(crate) rows: Option<(Vec<OutColumn>, Vec<Vec<Value>>)>,
    /// The number that the command tag ends with, where it is not the number of rows returned.
    pub(crate) count: Option<usize>,
    /// MySQL: the first number that the statement took from an AUTO_INCREMENT column; 0 for none.
    pub(crate) insert_id: i64,
}

impl Answer {
    fn done(tag: impl Into<String>) -> Self {
        Answer { tag: tag.into(), rows: None, count: None, insert_id: 0 }
    }
}

impl Session {
    pub(crate) fn new(
        facts: Arc<dyn Facts>,
        store: Arc<Store>,
        node: usize,
        identity: Identity,
        vars: Variables,
    ) -> Self {
        let (channels, published, cancel) = (BTreeSet::new(), Vec::new(), Arc::default());
        Session {
            facts,
            store,
            node,
            identity,
            vars,
            transaction: None,
            channels,
            published,
            cancel,
            vanishing: false,
            next_read_only: None,
            last_insert_id: 0,
        }
    }

    /// Lets this wake a running statement, which then ends with 57014.
    pub(crate) fn cancelled_by(self, cancel: Arc<Notify>) -> Self {
        Session { cancel, ..self }
    }

    /// Notes an error that came up outside of a statement: it fails an open transaction too.
    pub(crate) fn fail(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
    }

    /// The status byte of ReadyForQuery.
    pub(crate) fn status(&self) -> TransactionStatus {
        match &self.transaction {
            None => TransactionStatus::Idle,
            Some(transaction) if transaction.failed => TransactionStatus::Error,
            Some(transaction) if transaction.implicit => TransactionStatus::Idle,
            Some(_) => TransactionStatus::Transaction,
        }
    }

    /// Parses and binds one statement; `None` for empty text.
    ///
    /// # Errors
    /// 42601 for several statements, 25P02 inside a failed transaction, and whatever binding reports.
    pub(crate) fn prepare(
        &mut self,
        sql: &str,
        types: &[Option<Type>],
    ) -> Result<Option<Prepared>, SqlError> {
        let engine = self.facts.engine();
        let mut statements = super::sql::parse(engine, sql)?;
        let statement = match (statements.pop(), statements.is_empty()) {
            (None, _) => return Ok(None),
            (Some(statement), true) => statement,
            (Some(_), false) => {
                return Err(SqlError::new(
                    "42601",
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
        };
        self.refuse_if_failed(&statement)?;
        // An oid of 0 leaves the type open, as an unknown oid does.
        let declared: Vec<_> = types.iter().map(|ty| ty.clone().filter(|ty| *ty != Type::UNKNOWN)).collect();
        let answered = match engine {
            Engine::Postgres => control::columns(&statement),
            Engine::Mysql => mysql::answers(&statement).then(Vec::new),
        };
        let (params, columns) = match answered {
            Some(columns) => (Vec::new(), columns),
            None => {
                let mut inner = self.store.lock();
                let ops = self.transaction.as_ref().map_or(&[][..], |transaction| &transaction.ops);
                let view = inner.view(self.node).with(ops);
                let mut binder = Binder::new(&view, self.facts.as_ref(), declared);
                let plan = binder.statement(&statement)?;
                let params = binder.params.into_iter().map(|ty| ty.unwrap_or(Type::TEXT)).collect();
                (params, plan.columns().unwrap_or_default().to_vec())
            }
        };
        Ok(Some(Prepared { statement: Arc::new(statement), params, columns }))
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// What PostgreSQL would report; an error fails the open transaction.
    ///
    /// # Cancellation
    /// Dropping the future is what a cancel request does: the statement leaves nothing, the transaction fails.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        params: &[Value],
        types: &[Type],
    ) -> Result<Answer, SqlError> {
        if self.facts.engine() == Engine::Mysql {
            return self.execute_mysql(statement, params, types).await;
        }
        self.refuse_if_failed(statement)?;
        if let Some(answer) = control::run(self, statement) {
            if answer.is_err() {
                self.fail();
            }
            self.vanish_if_lost().await;
            return answer;
        }
        // Failed until proven otherwise: also when this future is dropped.
        self.fail();
        let answer = self.run(statement, params, types).await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = false;
        }
        self.vanish_if_lost().await;
        Ok(answer)
    }

    /// Opens the transaction that the statements of one simple query share.
    pub(crate) fn begin_implicit(&mut self) {
        if self.transaction.is_none() {
            self.transaction = Some(Transaction::new(&self.vars, true));
        }
    }

    /// Commits what [`begin_implicit`](Self::begin_implicit) opened, unless BEGIN or COMMIT took over.
    pub(crate) async fn end_implicit(&mut self) -> Result<(), SqlError> {
        let outcome = match self.transaction.take_if(|transaction| transaction.implicit) {
            Some(transaction) => self.commit(transaction),
            None => Ok(()),
        };
        self.vanish_if_lost().await;
        outcome
    }

    /// Says nothing more when the connection is being reset at a commit.
    async fn vanish_if_lost(&self) {
        if self.vanishing {
            std::future::pending::<()>().await;
        }
    }

    /// Rolls back what [`begin_implicit`](Self::begin_implicit) opened.
    pub(crate) fn abort_implicit(&mut self) {
        if let Some(transaction) = self.transaction.take_if(|transaction| transaction.implicit) {
            self.vars = transaction.vars_before;
        }
    }

    fn refuse_if_failed(&self, statement: &Statement) -> Result<(), SqlError> {
        let failed = self.transaction.as_ref().is_some_and(|transaction| transaction.failed);
        match failed && !matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. }) {
            false => Ok(()),
            true => {
                let message =
                    "current transaction is aborted, commands ignored until end of transaction block";
                Err(SqlError::new("25P02", message))
            }
        }
    }

    /// Whether the present transaction may not write, and the server neither.
    fn is_read_only(&self) -> bool {
        let own = match &self.transaction {
            Some(transaction) => transaction.read_only,
            None => self.next_read_only.unwrap_or_else(|| self.vars.is_on("default_transaction_read_only")),
        };
        own || self.facts.in_recovery()
    }

    async fn run(
        &mut self,
        statement: &Statement,
        params: &[Value],
        types: &[Type],
    ) -> Result<Answer, SqlError> {
        let clock = self.transaction.as_ref().map_or_else(now_micros, |transaction| transaction.clock);
        let read_only = self.is_read_only();
        let generated;
        let (outcome, ops, notifications, sleep) = {
            let mut inner = self.store.lock();
            let before = self.transaction.as_ref().map_or(&[][..], |transaction| &transaction.ops);
            let db = inner.view(self.node).with(before);
            let declared = types.iter().cloned().map(Some).collect();
            let mut binder = Binder::new(&db, self.facts.as_ref(), declared);
            let plan = binder.statement(statement)?;
            let locks_only = self.facts.engine() == Engine::Mysql && matches!(plan, write::Plan::Select(_));
            if let (true, Some(command)) = (read_only && !locks_only, plan.write_command()) {
                return Err(SqlError::read_only(&command));
            }
            let mut env = Env {
                facts: self.facts.as_ref(),
                store: &mut inner,
                db,
                vars: &mut self.vars,
                identity: &self.identity,
                params,
                clock,
                ops: Vec::new(),
                sleep: Duration::ZERO,
                notifications: Vec::new(),
                last_insert_id: self.last_insert_id,
                generated: 0,
            };
            let outcome = write::run(&plan, &mut env)?;
            generated = env.generated;
            let (ops, notifications, sleep) = (env.ops, env.notifications, env.sleep);
            // Both hold the tables; a commit copies what others hold.
            drop((plan, env.db));
            if self.transaction.is_none() && sleep.is_zero() {
                self.vanishing |=
                    commit(&mut inner, self.facts.as_ref(), (self.node, self.identity.pid), ops)?;
                (outcome, Vec::new(), notifications, sleep)
            } else {
                (outcome, ops, notifications, sleep)
            }
        };
        self.wait(sleep).await?;
        match &mut self.transaction {
            Some(transaction) => {
                transaction.ops.extend(ops);
                transaction.notifications.extend(notifications);
            }
            None => {
                let mut inner = self.store.lock();
                self.vanishing |=
                    commit(&mut inner, self.facts.as_ref(), (self.node, self.identity.pid), ops)?;
                self.published.extend(notifications);
            }
        }
        if generated != 0 {
            self.last_insert_id = generated;
        }
        Ok(Answer { tag: outcome.tag, rows: outcome.rows, count: outcome.count, insert_id: generated })
    }

    async fn wait(&self, sleep: Duration) -> Result<(), SqlError> {
        if sleep.is_zero() {
            return Ok(());
        }
        let limit = self.vars.statement_timeout().filter(|limit| *limit < sleep);
        let why = tokio::select! {
            biased;
            () = self.cancel.notified() => "user request",
            () = tokio::time::sleep(limit.unwrap_or(sleep)) => "statement timeout",
        };
        match (why, limit) {
            ("statement timeout", None) => Ok(()),
            _ => Err(SqlError::new("57014", format!("canceling statement due to {why}"))),
        }
    }

    fn commit(&mut self, transaction: Transaction) -> Result<(), SqlError> {
        let (who, ops) = ((self.node, self.identity.pid), transaction.ops);
        let result = commit(&mut self.store.lock(), self.facts.as_ref(), who, ops);
        match &result {
            Ok(vanishing) => {
                self.vanishing |= *vanishing;
                self.vars.end_local();
                self.published.extend(transaction.notifications);
            }
            Err(_) => self.vars = transaction.vars_before,
        }
        result.map(drop)
    }
}

/// Commits for a session (node and pid), unless a test wants its commit lost; whether its connection goes.
fn commit(
    store: &mut Inner,
    facts: &dyn Facts,
    (node, pid): (usize, i32),
    ops: Vec<Op>,
) -> Result<bool, SqlError> {
    let fate = if ops.is_empty() { CommitFate::Acknowledged } else { facts.fate_of_commit(pid) };
    if fate != CommitFate::Lost {
        store.commit(node, ops)?;
    }
    Ok(fate != CommitFate::Acknowledged)
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Session { node, identity, transaction, .. } = self;
        f.debug_struct("Session")
            .field("node", node)
            .field("identity", identity)
            .field("transaction", transaction)
            .finish()
    }
}
