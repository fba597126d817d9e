//! The operations: one struct for each way in which a statement is run, which can run again on another connection.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use sqlx::{Describe, Either, SqlStr};
use wrapper_core::driver::{DriverConnection, TransactionStatus};
use wrapper_core::session::Operation;
use wrapper_core::{Error, ErrorKind, Result, RetryAdvice, TransactionOutcome};

use super::backend::{Backend, Item, Parts};
use super::leased::{Effect, Leased, Original};
use super::rows::{Rows, rows};

/// Runs a query to its end; how many rows it has affected.
pub(super) struct Execute<'a, DB: Backend> {
    pub(super) query: &'a Parts<DB>,
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for Execute<'_, DB> {
    type Out = DB::QueryResult;

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<DB::QueryResult> {
        let query = self.query.clone();
        let run = connection.call(
            "execute",
            Some(self.query.text()),
            Effect::OfText,
            self.original,
            move |connection| {
                async move {
                    let mut total = DB::QueryResult::default();
                    let mut items = DB::fetch_many(connection, query);
                    while let Some(item) = items.next().await {
                        if let Either::Left(result) = item? {
                            total.extend(Some(result));
                        }
                    }
                    Ok(total)
                }
                .boxed()
            },
        );
        run.await
    }
}

/// Runs a query to its end; its rows.
pub(super) struct FetchAll<'a, DB: Backend> {
    pub(super) query: &'a Parts<DB>,
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for FetchAll<'_, DB> {
    type Out = Vec<DB::Row>;

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<Vec<DB::Row>> {
        let (query, seen) = (self.query.clone(), Arc::clone(connection.seen()));
        let run = connection.call(
            "fetch_all",
            Some(self.query.text()),
            Effect::OfText,
            self.original,
            move |connection| {
                async move {
                    let mut all = Vec::new();
                    let mut items = DB::fetch_many(connection, query);
                    while let Some(item) = items.next().await {
                        seen.note_received();
                        if let Either::Right(row) = item? {
                            all.push(row);
                        }
                    }
                    Ok(all)
                }
                .boxed()
            },
        );
        run.await
    }
}

/// Runs a query to its end, because an error may come last; its first row.
pub(super) struct FetchOptional<'a, DB: Backend> {
    pub(super) query: &'a Parts<DB>,
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for FetchOptional<'_, DB> {
    type Out = Option<DB::Row>;

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<Option<DB::Row>> {
        let (query, seen) = (self.query.clone(), Arc::clone(connection.seen()));
        let run = connection.call(
            "fetch_optional",
            Some(self.query.text()),
            Effect::OfText,
            self.original,
            move |connection| {
                async move {
                    let mut first = None;
                    let mut items = DB::fetch_many(connection, query);
                    while let Some(item) = items.next().await {
                        seen.note_received();
                        match item? {
                            Either::Right(row) if first.is_none() => first = Some(row),
                            _ => {}
                        }
                    }
                    Ok(first)
                }
                .boxed()
            },
        );
        run.await
    }
}

/// Opens a stream, up to its first item: an error that comes at once goes through the chain.
pub(super) struct Open<'a, DB: Backend> {
    pub(super) query: &'a Parts<DB>,
    pub(super) original: &'a Arc<Original>,
}

/// A stream that was opened.
pub(super) struct Opened<DB: Backend> {
    pub(super) first: Option<Item<DB>>,
    pub(super) rest: Rows<Item<DB>, Error>,
    pub(super) connection: Arc<Leased<DB>>,
}

impl<DB: Backend> Operation<Leased<DB>> for Open<'_, DB> {
    type Out = Opened<DB>;

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<Opened<DB>> {
        let (query, original) = (self.query.clone(), Arc::clone(self.original));
        let on = Arc::clone(connection);
        let mut rest = rows(move |tray| async move {
            let (text, seen) = (query.sql_text(), Arc::clone(on.seen()));
            let run =
                on.call("fetch_many", Some(text.as_str()), Effect::OfText, &original, move |connection| {
                    async move {
                        let mut items = DB::fetch_many(connection, query);
                        while let Some(item) = items.next().await {
                            let item = item?;
                            seen.note_received();
                            tray.put(item).await;
                        }
                        Ok(())
                    }
                    .boxed()
                });
            run.await
        });
        let first = rest.next().await.transpose()?;
        Ok(Opened { first, rest, connection: Arc::clone(connection) })
    }
}

/// Prepares a statement.
pub(super) struct Prepare<'a, DB: Backend> {
    pub(super) sql: SqlStr,
    pub(super) types: &'a [DB::TypeInfo],
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for Prepare<'_, DB> {
    type Out = DB::Statement;

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<DB::Statement> {
        let (sql, types) = (self.sql.clone(), self.types.to_vec());
        let run = connection.call("prepare", None, Effect::OfText, self.original, move |connection| {
            async move { DB::prepare(connection, sql, &types).await }.boxed()
        });
        run.await
    }
}

/// Describes a statement.
pub(super) struct DescribeSql<'a> {
    pub(super) sql: SqlStr,
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for DescribeSql<'_>
where
    Describe<DB>: Send,
{
    type Out = Describe<DB>;

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<Describe<DB>> {
        let sql = self.sql.clone();
        let run = connection.call("describe", None, Effect::OfText, self.original, move |connection| {
            DB::describe(connection, sql)
        });
        run.await
    }
}

/// Begins a transaction; the connection on which it was begun.
pub(super) struct Begin<'a> {
    pub(super) sql: &'static str,
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for Begin<'_> {
    type Out = Arc<Leased<DB>>;

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<Arc<Leased<DB>>> {
        let begun = statement(connection, "begin", self.sql, TransactionStatus::Open, self.original).await;
        // Whatever became of it, it has done nothing.
        begun.map_err(|error| match error.outcome() {
            TransactionOutcome::MayHaveApplied => error.with_outcome(TransactionOutcome::RolledBack),
            _ => error,
        })?;
        Ok(Arc::clone(connection))
    }
}

/// Commits a transaction.
pub(super) struct Commit<'a> {
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for Commit<'_> {
    type Out = ();

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<()> {
        if connection.seen().is_unfinished() {
            // A statement of the transaction was abandoned: afterwards it is known whether it has failed.
            let look = connection
                .call("commit", None, Effect::OfText, self.original, |connection| DB::probe(connection));
            look.await?;
        }
        if connection.transaction_status() != TransactionStatus::Failed {
            return statement(connection, "commit", "COMMIT", TransactionStatus::Idle, self.original).await;
        }
        // The server would answer COMMIT with a rollback, which sqlx takes for success.
        statement(connection, "commit", "ROLLBACK", TransactionStatus::Idle, self.original).await?;
        Err(Error::new(
            ErrorKind::Statement,
            "the transaction was rolled back, not committed: a statement in it had failed",
        )
        .with_sqlstate("25P02")
        .with_advice(RetryAdvice::WholeTransaction)
        .with_outcome(TransactionOutcome::RolledBack)
        .with_operation("commit")
        .with_host(connection.home().key().host()))
    }
}

/// Rolls a transaction back.
pub(super) struct Rollback<'a> {
    pub(super) original: &'a Original,
}

impl<DB: Backend> Operation<Leased<DB>> for Rollback<'_> {
    type Out = ();

    async fn run(&self, connection: &Arc<Leased<DB>>) -> Result<()> {
        statement(connection, "rollback", "ROLLBACK", TransactionStatus::Idle, self.original).await
    }
}

async fn statement<DB: Backend>(
    connection: &Arc<Leased<DB>>,
    operation: &'static str,
    sql: &'static str,
    leads: TransactionStatus,
    original: &Original,
) -> Result<()> {
    let run = connection.call(operation, Some(sql), Effect::Leads(leads), original, move |connection| {
        async move { DB::ask(connection, sql.to_owned()).await.map(drop) }.boxed()
    });
    run.await
}
