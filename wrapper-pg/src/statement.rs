//! Prepared statements that survive a switch (R13).
//!
//! What lives here: [`Statement`] and what a call accepts as one ([`ToStatement`]). What may not: a cache of
//! statements; a session keeps none.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::OnceCell;
use tokio_postgres::types::Type;
use tokio_postgres::{Column, Statement as Raw};
use wrapper_core::Result;

use crate::client::send;
use crate::connection::{ConnId, PgConnection};
use crate::tap::Effect;

/// A prepared statement: SQL and parameter types, and a handle on the connection where it was last used.
///
/// After a switch it is prepared again on the new connection, once for all its concurrent users; a statement of one
/// connection never runs on another under the same name. Cheap to clone, and usable on any [`Client`](crate::Client).
#[derive(Clone)]
pub struct Statement(Arc<Inner>);

struct Inner {
    sql: String,
    types: Vec<Type>,
    /// Whether running it may begin a transaction.
    may_begin: bool,
    /// Whether running it may change the session's state.
    may_change_state: bool,
    /// Where it was prepared first, and the driver's statement there: nearly every call needs no more.
    first: (Arc<ConnId>, Raw),
    current: ArcSwap<Handle>,
}

/// The statement on one connection. The identity is shared with the connection: no number can be used twice.
struct Handle {
    of: Arc<ConnId>,
    cell: OnceCell<Raw>,
}

impl Statement {
    pub(crate) async fn prepare(connection: &Arc<PgConnection>, sql: &str, types: &[Type]) -> Result<Self> {
        let client = connection.client();
        let raw = send(connection, "prepare", None, client.prepare_typed(sql, types)).await?;
        let first = (Arc::clone(connection.id()), raw.clone());
        let handle = Handle { of: Arc::clone(connection.id()), cell: OnceCell::new_with(Some(raw)) };
        Ok(Self(Arc::new(Inner {
            sql: sql.to_owned(),
            types: types.to_vec(),
            may_begin: Effect::of(sql).opens(),
            may_change_state: PgConnection::concerns_state(sql),
            first,
            current: ArcSwap::from_pointee(handle),
        })))
    }

    /// Its text, when running it may begin a transaction; it is looked at once, when it is prepared.
    pub(crate) fn announced(&self) -> Option<&str> {
        self.0.may_begin.then_some(&self.0.sql)
    }

    /// Its text, when running it may change the session's state.
    pub(crate) fn observed(&self) -> Option<&str> {
        self.0.may_change_state.then_some(&self.0.sql)
    }

    /// The driver's statement, when it is prepared on `connection` already: the case of nearly every call.
    pub(crate) fn ready_on(&self, connection: &Arc<PgConnection>) -> Option<Raw> {
        let (first, raw) = &self.0.first;
        if Arc::ptr_eq(first, connection.id()) {
            return Some(raw.clone());
        }
        let handle = self.0.current.load();
        if Arc::ptr_eq(&handle.of, connection.id()) { handle.cell.get().cloned() } else { None }
    }

    /// The driver's statement on `connection`; prepared there when it is not yet.
    pub(crate) async fn on(&self, connection: &Arc<PgConnection>) -> Result<Raw> {
        let mut handle = self.0.current.load_full();
        if !Arc::ptr_eq(&handle.of, connection.id()) {
            let fresh = Arc::new(Handle { of: Arc::clone(connection.id()), cell: OnceCell::new() });
            let seen = self.0.current.compare_and_swap(&handle, Arc::clone(&fresh));
            // Whoever came first has put its handle there; everybody else waits in its cell.
            handle = if Arc::ptr_eq(&seen, &handle) || !Arc::ptr_eq(&seen.of, connection.id()) {
                fresh
            } else {
                Arc::clone(&seen)
            };
        }
        if let Some(raw) = handle.cell.get() {
            return Ok(raw.clone());
        }
        let prepare = || async {
            let client = connection.client();
            send(connection, "prepare", None, client.prepare_typed(&self.0.sql, &self.0.types)).await
        };
        handle.cell.get_or_try_init(prepare).await.cloned()
    }

    /// The SQL text.
    pub fn sql(&self) -> &str {
        &self.0.sql
    }

    /// The types of the parameters, as the server gave them when the statement was last prepared.
    pub fn params(&self) -> Vec<Type> {
        self.raw().map_or_else(|| self.0.types.clone(), |raw| raw.params().to_vec())
    }

    /// The columns of the result, as the server gave them when the statement was last prepared; `None` while it is
    /// being prepared again after a switch.
    pub fn with_columns<T>(&self, read: impl FnOnce(&[Column]) -> T) -> Option<T> {
        self.raw().map(|raw| read(raw.columns()))
    }

    fn raw(&self) -> Option<Raw> {
        self.0.current.load().cell.get().cloned()
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("sql", &self.0.sql).finish_non_exhaustive()
    }
}

/// A statement or SQL text, borrowed for one call.
#[derive(Clone, Copy, Debug)]
pub enum StatementRef<'a> {
    /// SQL text.
    Sql(&'a str),
    /// A prepared statement.
    Prepared(&'a Statement),
}

impl<'a> StatementRef<'a> {
    pub(crate) fn sql(self) -> &'a str {
        match self {
            Self::Sql(sql) => sql,
            Self::Prepared(statement) => statement.sql(),
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::Statement {}
}

/// What a call accepts as its statement: `&str`, `&String`, [`Statement`].
///
/// A raw `tokio_postgres::Statement` is not one: it carries no SQL and could not survive a switch.
pub trait ToStatement: sealed::Sealed + Sync {
    /// The statement, borrowed.
    fn to_statement(&self) -> StatementRef<'_>;
}

impl ToStatement for str {
    fn to_statement(&self) -> StatementRef<'_> {
        StatementRef::Sql(self)
    }
}

impl ToStatement for String {
    fn to_statement(&self) -> StatementRef<'_> {
        StatementRef::Sql(self)
    }
}

impl ToStatement for Statement {
    fn to_statement(&self) -> StatementRef<'_> {
        StatementRef::Prepared(self)
    }
}
