//! The driver's own traits, for code that is generic over them: `Queryable`, and `ToConnection` for `"…".fetch(&mut conn)`.
//!
//! How far a call goes through the plugins: connecting, sending and the beginning of the answer always do. Where the
//! trait lets the whole answer be read inside the call, that is done. Reading from the driver's own `QueryResult`,
//! `ResultSetStream` and everything of the driver's `Query` trait is the driver's alone: an error there is the driver's
//! error, and the next call finds the connection lost and switches the session.

use futures_util::future::BoxFuture;
use mysql_async::prelude::{AsQuery, FromRow, Protocol, Queryable, StatementLike, ToConnection};
use mysql_async::{
    BinaryProtocol, Connection, DriverError, Params, QueryResult, Statement as Raw, TextProtocol,
    ToConnectionResult,
};
use wrapper_core::Error;

use super::Conn;
use super::calls::{self, seen, typed};
use super::ops::Want;
use crate::error::into_driver;
use crate::statement::StatementRef;
use crate::transaction::Transaction;

type Future<'a, T> = BoxFuture<'a, mysql_async::Result<T>>;

/// The driver's handle on an answer that lies in the connection that was lent.
fn open<P: Protocol>(conn: &mut Conn) -> mysql_async::Result<QueryResult<'_, 'static, P>> {
    match conn.lent.as_mut().and_then(|lent| lent.conn()) {
        Some(raw) => Ok(QueryResult::new(raw)),
        None => Err(DriverError::ConnectionClosed.into()),
    }
}

/// Reads a whole answer in the call where the statement is of a known form, else from the driver's handle.
macro_rules! exec_all {
    ($self:ident, $operation:literal, $want:expr, $stmt:ident, $params:ident, $type:ty, |$rows:ident| $known:expr, |$result:ident| $other:expr) => {{
        let params: Params = $params.into();
        Box::pin(async move {
            let (conn, pinned) = $self.parts();
            if let Some(statement) = seen(&$stmt).map_err(into_driver)? {
                let rows = calls::exec(conn, pinned, $operation, statement, params, $want).await;
                let $rows: Vec<$type> = rows.and_then(|rows| typed(rows, $operation)).map_err(into_driver)?;
                return Ok($known);
            }
            calls::lend_any(conn, pinned, $stmt, params).await.map_err(into_driver)?;
            #[allow(unused_mut, reason = "not every use reads by itself")]
            let mut $result = open::<BinaryProtocol>(conn)?;
            $other
        })
    }};
}

/// Writes the driver's traits for one type that has `parts`.
macro_rules! driver_traits {
    ($target:ty, $($impl:tt)+) => {
        /// Errors are the driver's type. What the server said of a statement is the driver's own error; everything else
        /// travels inside, and [`Error::from_driver`](wrapper_core::Error::from_driver) gets it back. Connecting,
        /// sending and the methods that read whole answers go through the plugins; reading from the driver's
        /// `QueryResult` and streams does not.
        $($impl)+ Queryable for $target {
            fn ping(&mut self) -> Future<'_, ()> {
                Box::pin(async move {
                    let (conn, pinned) = self.parts();
                    calls::ping(conn, pinned).await.map_err(into_driver)
                })
            }

            fn query_iter<'a, Q>(&'a mut self, query: Q) -> Future<'a, QueryResult<'a, 'static, TextProtocol>>
            where
                Q: AsQuery + 'a,
            {
                Box::pin(async move {
                    let (conn, pinned) = self.parts();
                    calls::lend_text(conn, pinned, &query.as_query()).await.map_err(into_driver)?;
                    open(conn)
                })
            }

            /// The statement may be used on this value after a switch, too: it is prepared again by its text.
            fn prep<'a, Q>(&'a mut self, query: Q) -> Future<'a, Raw>
            where
                Q: AsQuery + 'a,
            {
                Box::pin(async move {
                    let (conn, pinned) = self.parts();
                    let statement = calls::prep(conn, pinned, &query.as_query()).await.map_err(into_driver)?;
                    conn.known.add(&statement);
                    Ok(statement.raw())
                })
            }

            fn close(&mut self, stmt: Raw) -> Future<'_, ()> {
                Box::pin(async move {
                    let (conn, pinned) = self.parts();
                    let statement = StatementRef::Driver(std::borrow::Cow::Owned(stmt));
                    calls::close(conn, pinned, statement).await.map_err(into_driver)
                })
            }

            fn exec_iter<'a: 's, 's, Q, P>(
                &'a mut self,
                stmt: Q,
                params: P,
            ) -> Future<'s, QueryResult<'a, 'static, BinaryProtocol>>
            where
                Q: StatementLike + 's,
                P: Into<Params>,
            {
                let params = params.into();
                Box::pin(async move {
                    let (conn, pinned) = self.parts();
                    calls::lend_any(conn, pinned, stmt, params).await.map_err(into_driver)?;
                    open(conn)
                })
            }

            fn exec_batch<'a: 'b, 'b, S, P, I>(&'a mut self, stmt: S, params_iter: I) -> Future<'b, ()>
            where
                S: StatementLike + 'b,
                I: IntoIterator<Item = P> + Send + 'b,
                I::IntoIter: Send,
                P: Into<Params> + Send,
            {
                Box::pin(async move {
                    let params: Vec<Params> = params_iter.into_iter().map(Into::into).collect();
                    let (conn, pinned) = self.parts();
                    if let Some(statement) = seen(&stmt).map_err(into_driver)? {
                        return calls::exec_batch(conn, pinned, statement, params).await.map_err(into_driver);
                    }
                    calls::lend_bare(conn, pinned).await.map_err(into_driver)?;
                    match conn.lent.as_mut().and_then(|lent| lent.conn()) {
                        Some(raw) => raw.exec_batch(stmt, params).await,
                        None => Err(DriverError::ConnectionClosed.into()),
                    }
                })
            }

            fn query<'a, T, Q>(&'a mut self, query: Q) -> Future<'a, Vec<T>>
            where
                Q: AsQuery + 'a,
                T: FromRow + Send + 'static,
            {
                Box::pin(async move { <$target>::query(self, query).await.map_err(into_driver) })
            }

            fn query_first<'a, T, Q>(&'a mut self, query: Q) -> Future<'a, Option<T>>
            where
                Q: AsQuery + 'a,
                T: FromRow + Send + 'static,
            {
                Box::pin(async move { <$target>::query_first(self, query).await.map_err(into_driver) })
            }

            fn query_map<'a, T, F, Q, U>(&'a mut self, query: Q, f: F) -> Future<'a, Vec<U>>
            where
                Q: AsQuery + 'a,
                T: FromRow + Send + 'static,
                F: FnMut(T) -> U + Send + 'a,
                U: Send,
            {
                Box::pin(async move { <$target>::query_map(self, query, f).await.map_err(into_driver) })
            }

            fn query_fold<'a, T, F, Q, U>(&'a mut self, query: Q, init: U, f: F) -> Future<'a, U>
            where
                Q: AsQuery + 'a,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send + 'a,
                U: Send + 'a,
            {
                Box::pin(async move { <$target>::query_fold(self, query, init, f).await.map_err(into_driver) })
            }

            fn query_drop<'a, Q>(&'a mut self, query: Q) -> Future<'a, ()>
            where
                Q: AsQuery + 'a,
            {
                Box::pin(async move { <$target>::query_drop(self, query).await.map_err(into_driver) })
            }

            fn exec<'a: 'b, 'b, T, S, P>(&'a mut self, stmt: S, params: P) -> Future<'b, Vec<T>>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
                T: FromRow + Send + 'static,
            {
                exec_all!(self, "exec", Want::All, stmt, params, T, |rows| rows, |result| {
                    result.collect_and_drop().await
                })
            }

            fn exec_first<'a: 'b, 'b, T, S, P>(&'a mut self, stmt: S, params: P) -> Future<'b, Option<T>>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
                T: FromRow + Send + 'static,
            {
                exec_all!(self, "exec_first", Want::First, stmt, params, T, |rows| rows.into_iter().next(), |result| {
                    let row = if result.is_empty() { None } else { result.next().await? };
                    result.drop_result().await?;
                    Ok(row.map(mysql_async::from_row))
                })
            }

            fn exec_map<'a: 'b, 'b, T, S, P, U, F>(&'a mut self, stmt: S, params: P, mut f: F) -> Future<'b, Vec<U>>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
                T: FromRow + Send + 'static,
                F: FnMut(T) -> U + Send + 'a,
                U: Send + 'a,
            {
                let rows = <Self as Queryable>::exec(self, stmt, params);
                Box::pin(async move { Ok(rows.await?.into_iter().map(&mut f).collect()) })
            }

            fn exec_fold<'a: 'b, 'b, T, S, P, U, F>(
                &'a mut self,
                stmt: S,
                params: P,
                init: U,
                f: F,
            ) -> Future<'b, U>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send + 'a,
                U: Send + 'a,
            {
                let rows = <Self as Queryable>::exec(self, stmt, params);
                Box::pin(async move { Ok(rows.await?.into_iter().fold(init, f)) })
            }

            fn exec_drop<'a: 'b, 'b, S, P>(&'a mut self, stmt: S, params: P) -> Future<'b, ()>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
            {
                exec_all!(
                    self, "exec_drop", Want::Nothing, stmt, params, mysql_async::Row,
                    |_rows| (),
                    |result| result.drop_result().await
                )
            }
        }
    };
}

driver_traits!(Conn, impl);
driver_traits!(Transaction<'_>, impl);

/// Lends the driver's connection for one use by the driver's own traits, such as `"…".fetch(&mut conn)`. A connection
/// that is known to be lost is replaced before; what happens later is not seen by the plugins.
impl<'a> ToConnection<'a, 'static> for &'a mut Conn {
    fn to_connection(self) -> ToConnectionResult<'a, 'static> {
        ToConnectionResult::Mediate(Box::pin(async move {
            calls::lend_bare(self, None).await.map_err(into_driver)?;
            lent(self)
        }))
    }
}

/// As for [`Conn`], on the transaction's connection.
impl<'a> ToConnection<'a, 'static> for &'a mut Transaction<'_> {
    fn to_connection(self) -> ToConnectionResult<'a, 'static> {
        ToConnectionResult::Mediate(Box::pin(async move {
            let (conn, pinned) = self.parts();
            calls::lend_bare(conn, pinned).await.map_err(into_driver)?;
            lent(conn)
        }))
    }
}

fn lent(conn: &mut Conn) -> mysql_async::Result<Connection<'_, 'static>> {
    match conn.lent.as_mut().and_then(|lent| lent.conn()) {
        Some(raw) => Ok(Connection::from(raw)),
        None => Err(into_driver(Error::new(wrapper_core::ErrorKind::Network, "the connection was lost"))),
    }
}
