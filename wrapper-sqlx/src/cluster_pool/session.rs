//! A session over the pools: what a statement, an acquired connection and a transaction run on.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use sqlx::{Describe, SqlStr};
use wrapper_core::driver::DriverConnection;
use wrapper_core::host::HostInfo;
use wrapper_core::plugin::Call;
use wrapper_core::session::{Current, Operation, Session, StreamWatch};
use wrapper_core::{Error, Result, TransactionOutcome};

use super::backend::{Backend, Item, Parts};
use super::hosts::closed;
use super::inner::{Inner, told};
use super::leased::{Leased, Original};
use super::operations::{DescribeSql, Execute, FetchAll, FetchOptional, Open, Prepare};
use super::rows::Rows;

/// What a [`ClusterConnection`] and a [`ClusterTransaction`](super::ClusterTransaction) deref to: `&mut` of it is an
/// `Executor` of sqlx, each of whose statements passes the plugins.
pub struct ClusterSession<DB: Backend> {
    session: Arc<Session<Leased<DB>>>,
    pinned: Option<Arc<Current<Leased<DB>>>>,
    inner: Arc<Inner<DB>>,
}

impl<DB: Backend> ClusterSession<DB> {
    pub(super) fn new(session: Arc<Session<Leased<DB>>>, inner: Arc<Inner<DB>>) -> Self {
        Self { session, pinned: None, inner }
    }

    /// The host that it leads to now.
    pub fn host(&self) -> HostInfo {
        match &self.pinned {
            Some(pinned) => pinned.host.clone(),
            None => self.session.load().host.clone(),
        }
    }

    /// The connection, if it still is the one that a call has run on.
    pub(super) fn pin(&mut self, on: &Arc<Leased<DB>>) -> bool {
        let current = self.session.pin();
        let same = Arc::ptr_eq(&current.connection, on);
        if same {
            self.pinned = Some(current);
        }
        same
    }

    /// Takes the present connection, for somebody who uses it without the library.
    pub(super) fn present(&self) -> Arc<Leased<DB>> {
        Arc::clone(&self.session.load().connection)
    }

    /// Runs one call through the chain.
    ///
    /// # Errors
    /// What the plugins made of the driver's error; the pool was closed.
    ///
    /// # Cancellation
    /// Safe: see [`Leased::call`].
    pub(super) async fn run<O: Operation<Leased<DB>>>(
        &self,
        call: Call<'_>,
        operation: &O,
    ) -> Result<O::Out> {
        let call = if self.pinned.is_some() { call.pinned() } else { call };
        let running = async {
            match &self.pinned {
                Some(pinned) => self.session.call_on(pinned, &call, operation).await,
                None => self.session.call(&call, operation).await,
            }
        };
        tokio::select! {
            biased;
            result = running => result,
            outcome = self.abandoned() => Err(closed().with_outcome(outcome)),
        }
    }

    /// Ends when the pool was closed and this call waits for another connection, which it will not get.
    async fn abandoned(&self) -> TransactionOutcome {
        self.inner.hosts.closed().cancelled().await;
        loop {
            let current = self.pinned.as_ref().map_or_else(|| self.session.pin(), Arc::clone);
            let pinned = self.pinned.is_some();
            current.connection.lost().await;
            if pinned || self.session.load().generation == current.generation {
                return match current.connection.outcome_if_lost() {
                    TransactionOutcome::NotSent => TransactionOutcome::MayHaveApplied,
                    outcome => outcome,
                };
            }
        }
    }

    pub(super) async fn execute_parts(&self, query: Parts<DB>) -> sqlx::Result<DB::QueryResult> {
        let original = Original::default();
        let operation = Execute { query: &query, original: &original };
        let result = self.run(Call::new("execute").sql(query.text()), &operation).await;
        result.map_err(|error| told::<DB>(error, &original))
    }

    pub(super) async fn fetch_all_parts(&self, query: Parts<DB>) -> sqlx::Result<Vec<DB::Row>> {
        let original = Original::default();
        let operation = FetchAll { query: &query, original: &original };
        let result = self.run(Call::new("fetch_all").sql(query.text()), &operation).await;
        result.map_err(|error| told::<DB>(error, &original))
    }

    pub(super) async fn fetch_optional_parts(&self, query: Parts<DB>) -> sqlx::Result<Option<DB::Row>> {
        let original = Original::default();
        let operation = FetchOptional { query: &query, original: &original };
        let result = self.run(Call::new("fetch_optional").sql(query.text()), &operation).await;
        result.map_err(|error| told::<DB>(error, &original))
    }

    pub(super) async fn prepare_sql(
        &self,
        sql: SqlStr,
        types: &[DB::TypeInfo],
    ) -> sqlx::Result<DB::Statement> {
        let original = Original::default();
        let operation = Prepare::<DB> { sql: sql.clone(), types, original: &original };
        let result = self.run(Call::new("prepare").sql(sql.as_str()), &operation).await;
        result.map_err(|error| told::<DB>(error, &original))
    }

    pub(super) async fn describe_sql(&self, sql: SqlStr) -> sqlx::Result<Describe<DB>>
    where
        Describe<DB>: Send,
    {
        let original = Original::default();
        let operation = DescribeSql { sql: sql.clone(), original: &original };
        let result = self.run(Call::new("describe").sql(sql.as_str()), &operation).await;
        result.map_err(|error| told::<DB>(error, &original))
    }

    /// Opens a stream, which lives on without this value.
    pub(super) async fn fetch_many_parts(&self, query: Parts<DB>) -> sqlx::Result<RowStream<DB>> {
        let original = Arc::new(Original::default());
        let operation = Open { query: &query, original: &original };
        let opened = self.run(Call::new("fetch_many").sql(query.text()), &operation).await;
        let opened = opened.map_err(|error| told::<DB>(error, &original))?;
        let current = self.pinned.as_ref().map_or_else(|| self.session.pin(), Arc::clone);
        // A plugin may have switched the session behind the call.
        let watch = Arc::ptr_eq(&current.connection, &opened.connection)
            .then(|| StreamWatch::new(Arc::clone(&self.session), current));
        Ok(RowStream { first: opened.first, rest: opened.rest, watch, original })
    }
}

/// A connection of a [`ClusterPool`](super::ClusterPool) for its owner alone; it goes back when it is dropped.
///
/// `&mut *connection` is an `Executor` of sqlx, as with sqlx's own. When it is lost, it is switched to a healthy host and the
/// call ends with an error that says so ([`Error::from_driver`](crate::Error::from_driver)); the connection stays usable. What
/// was set with `SET` is not carried over.
#[derive(Debug)]
pub struct ClusterConnection<DB: Backend>(ClusterSession<DB>);

impl<DB: Backend> From<ClusterSession<DB>> for ClusterConnection<DB> {
    fn from(session: ClusterSession<DB>) -> Self {
        Self(session)
    }
}

impl<DB: Backend> Deref for ClusterConnection<DB> {
    type Target = ClusterSession<DB>;

    fn deref(&self) -> &ClusterSession<DB> {
        &self.0
    }
}

impl<DB: Backend> DerefMut for ClusterConnection<DB> {
    fn deref_mut(&mut self) -> &mut ClusterSession<DB> {
        &mut self.0
    }
}

/// The rows of a statement that was opened inside the chain; watched whenever it waits for the server.
pub(super) struct RowStream<DB: Backend> {
    first: Option<Item<DB>>,
    rest: Rows<Item<DB>, Error>,
    watch: Option<StreamWatch<Leased<DB>>>,
    original: Arc<Original>,
}

impl<DB: Backend> RowStream<DB> {
    /// What `opening` opens.
    pub(super) fn once_open<'e>(
        opening: impl Future<Output = sqlx::Result<Self>> + Send + 'e,
    ) -> BoxStream<'e, sqlx::Result<Item<DB>>> {
        use futures_util::TryStreamExt;
        futures_util::stream::once(opening).try_flatten().boxed()
    }
}

impl<DB: Backend> Unpin for RowStream<DB> {}

impl<DB: Backend> Stream for RowStream<DB> {
    type Item = sqlx::Result<Item<DB>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let polled = self.rest.poll_next_unpin(cx);
        let error = match &polled {
            Poll::Ready(Some(Err(error))) => Some(error),
            _ => None,
        };
        if let Some(watch) = &mut self.watch {
            watch.polled(polled.is_pending(), error);
        }
        Poll::Ready(match ready!(polled) {
            Some(Ok(item)) => Some(Ok(item)),
            Some(Err(error)) => Some(Err(told::<DB>(error, &self.original))),
            None => None,
        })
    }
}

impl<DB: Backend> fmt::Debug for ClusterSession<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSession")
            .field("session", &self.session)
            .field("pinned", &self.pinned.is_some())
            .finish_non_exhaustive()
    }
}
