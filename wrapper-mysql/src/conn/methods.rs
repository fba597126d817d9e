//! The methods that a connection and a transaction share, written once.

use mysql_async::Params;
use mysql_async::prelude::{AsQuery, FromRow};
use mysql_async::{BinaryProtocol, TextProtocol};
use wrapper_core::Result;

use super::calls::{self, typed};
use super::ops::Want;
use super::{Conn, QueryResult};
use crate::statement::{Statement, ToStatement};
use crate::transaction::Transaction;

/// Writes the shared methods for one type that has `parts`.
macro_rules! shared_methods {
    ($($target:tt)+) => {
        impl $($target)+ {
            /// The cheapest round trip.
            ///
            /// # Errors
            /// As for any call.
            pub async fn ping(&mut self) -> Result<()> {
                let (conn, pinned) = self.parts();
                calls::ping(conn, pinned).await
            }

            /// Runs text, and gives the rows of its first result set.
            ///
            /// # Errors
            /// The server's, classified, with its outcome; what the plugins made of it; a row that cannot be read as a
            /// `T` is an error, where the driver panics.
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn query<T, Q>(&mut self, query: Q) -> Result<Vec<T>>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
            {
                let (conn, pinned) = self.parts();
                typed(calls::text(conn, pinned, "query", &query.as_query(), Want::All).await?, "query")
            }

            /// Runs text, and gives the first row of its first result set.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn query_first<T, Q>(&mut self, query: Q) -> Result<Option<T>>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
            {
                let (conn, pinned) = self.parts();
                let rows = calls::text(conn, pinned, "query_first", &query.as_query(), Want::First).await?;
                Ok(typed(rows, "query_first")?.pop())
            }

            /// Runs text, and gives what `f` makes of each row of its first result set, once all have come.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn query_map<T, F, Q, U>(&mut self, query: Q, f: F) -> Result<Vec<U>>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
                F: FnMut(T) -> U + Send,
                U: Send,
            {
                let (conn, pinned) = self.parts();
                let rows = calls::text(conn, pinned, "query_map", &query.as_query(), Want::All).await?;
                Ok(typed(rows, "query_map")?.into_iter().map(f).collect())
            }

            /// Runs text, and folds the rows of its first result set, once all have come.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn query_fold<T, F, Q, U>(&mut self, query: Q, init: U, f: F) -> Result<U>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send,
                U: Send,
            {
                let (conn, pinned) = self.parts();
                let rows = calls::text(conn, pinned, "query_fold", &query.as_query(), Want::All).await?;
                Ok(typed(rows, "query_fold")?.into_iter().fold(init, f))
            }

            /// Runs text without looking at its rows.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn query_drop<Q>(&mut self, query: Q) -> Result<()>
            where
                Q: AsQuery,
            {
                let (conn, pinned) = self.parts();
                calls::text(conn, pinned, "query_drop", &query.as_query(), Want::Nothing).await.map(drop)
            }

            /// Runs text, and gives its result sets to be read one row after the other.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn query_iter<Q>(&mut self, query: Q) -> Result<QueryResult<'_, TextProtocol>>
            where
                Q: AsQuery,
            {
                let (conn, pinned) = self.parts();
                calls::lend_text(conn, pinned, &query.as_query()).await?;
                Ok(QueryResult::new(conn, "query_iter"))
            }

            /// Prepares a statement, which goes on to work after a switch.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn prep<Q>(&mut self, query: Q) -> Result<Statement>
            where
                Q: AsQuery,
            {
                let (conn, pinned) = self.parts();
                calls::prep(conn, pinned, &query.as_query()).await
            }

            /// Closes a statement on the present connection. One of a lost connection is gone already.
            ///
            /// # Errors
            /// As for [`query`](Self::query).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn close<S: ToStatement>(&mut self, statement: S) -> Result<()> {
                let (conn, pinned) = self.parts();
                calls::close(conn, pinned, statement.to_statement()).await
            }

            /// Runs a statement with parameters, and gives the rows of its first result set.
            ///
            /// # Errors
            /// As for [`query`](Self::query); a wrong number of parameters, before anything is sent; a statement of
            /// the driver that is not of this connection
            /// ([`ErrorKind::StaleStatement`](wrapper_core::ErrorKind::StaleStatement)).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn exec<T, S, P>(&mut self, stmt: S, params: P) -> Result<Vec<T>>
            where
                S: ToStatement,
                P: Into<Params> + Send,
                T: FromRow + Send + 'static,
            {
                let params = params.into();
                let (conn, pinned) = self.parts();
                let rows = calls::exec(conn, pinned, "exec", stmt.to_statement(), params, Want::All).await?;
                typed(rows, "exec")
            }

            /// Runs a statement with parameters, and gives the first row of its first result set.
            ///
            /// # Errors
            /// As for [`exec`](Self::exec).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn exec_first<T, S, P>(&mut self, stmt: S, params: P) -> Result<Option<T>>
            where
                S: ToStatement,
                P: Into<Params> + Send,
                T: FromRow + Send + 'static,
            {
                let params = params.into();
                let (conn, pinned) = self.parts();
                let statement = stmt.to_statement();
                let rows = calls::exec(conn, pinned, "exec_first", statement, params, Want::First).await?;
                Ok(typed(rows, "exec_first")?.pop())
            }

            /// Runs a statement with parameters, and gives what `f` makes of each row of its first result set, once all
            /// have come.
            ///
            /// # Errors
            /// As for [`exec`](Self::exec).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn exec_map<T, S, P, U, F>(&mut self, stmt: S, params: P, f: F) -> Result<Vec<U>>
            where
                S: ToStatement,
                P: Into<Params> + Send,
                T: FromRow + Send + 'static,
                F: FnMut(T) -> U + Send,
                U: Send,
            {
                Ok(self.exec(stmt, params).await?.into_iter().map(f).collect())
            }

            /// Runs a statement with parameters, and folds the rows of its first result set, once all have come.
            ///
            /// # Errors
            /// As for [`exec`](Self::exec).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn exec_fold<T, S, P, U, F>(&mut self, stmt: S, params: P, init: U, f: F) -> Result<U>
            where
                S: ToStatement,
                P: Into<Params> + Send,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send,
                U: Send,
            {
                Ok(self.exec(stmt, params).await?.into_iter().fold(init, f))
            }

            /// Runs a statement with parameters, without looking at its rows.
            ///
            /// # Errors
            /// As for [`exec`](Self::exec).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn exec_drop<S, P>(&mut self, stmt: S, params: P) -> Result<()>
            where
                S: ToStatement,
                P: Into<Params> + Send,
            {
                let params = params.into();
                let (conn, pinned) = self.parts();
                let statement = stmt.to_statement();
                calls::exec(conn, pinned, "exec_drop", statement, params, Want::Nothing).await.map(drop)
            }

            /// Runs a statement once for each set of parameters; MariaDB gets them in bulk, as the driver has it.
            ///
            /// # Errors
            /// As for [`exec`](Self::exec). What ran before the error stays, unless a transaction is around.
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn exec_batch<S, P, I>(&mut self, stmt: S, params_iter: I) -> Result<()>
            where
                S: ToStatement,
                I: IntoIterator<Item = P> + Send,
                P: Into<Params> + Send,
            {
                let params: Vec<Params> = params_iter.into_iter().map(Into::into).collect();
                let (conn, pinned) = self.parts();
                calls::exec_batch(conn, pinned, stmt.to_statement(), params).await
            }

            /// Runs a statement with parameters, and gives its result sets to be read one row after the other.
            ///
            /// # Errors
            /// As for [`exec`](Self::exec).
            ///
            /// # Cancellation
            /// See [`Conn`].
            pub async fn exec_iter<S, P>(
                &mut self,
                stmt: S,
                params: P,
            ) -> Result<QueryResult<'_, BinaryProtocol>>
            where
                S: ToStatement,
                P: Into<Params> + Send,
            {
                let params = params.into();
                let (conn, pinned) = self.parts();
                calls::lend_exec(conn, pinned, stmt.to_statement(), params).await?;
                Ok(QueryResult::new(conn, "exec_iter"))
            }
        }
    };
}

shared_methods!(Conn);
shared_methods!(Transaction<'_>);
