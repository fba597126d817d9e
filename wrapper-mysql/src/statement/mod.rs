//! Prepared statements that survive a switch (R13).
//!
//! What lives here: [`Statement`], what a call accepts as one ([`ToStatement`]). What may not: running them; telling the
//! driver's statements apart in generic code (`raw`).

mod known;
pub(crate) mod raw;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mysql_async::prelude::Queryable;
use mysql_async::{Column, Statement as Raw};
use wrapper_core::Result;

use crate::connection::{ConnId, Doing, Lease, MysqlConnection};

pub(crate) use known::Known;

/// A prepared statement: its SQL, and a handle on the connection where it was last used.
///
/// After a switch it is prepared again on the new connection when it is used there; a statement of one connection never
/// runs on another under the same number. Cheap to clone, and usable on any [`Conn`](crate::Conn).
#[derive(Clone)]
pub struct Statement(Arc<Inner>);

struct Inner {
    sql: Box<[u8]>,
    /// The identity is shared with the connection: no number can be used twice.
    current: Mutex<(Arc<ConnId>, Raw)>,
}

impl Statement {
    pub(crate) fn new(connection: &MysqlConnection, sql: &[u8], raw: Raw) -> Self {
        let current = Mutex::new((Arc::clone(connection.id()), raw));
        Self(Arc::new(Inner { sql: sql.into(), current }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.sql
    }

    /// The driver's statement where it was prepared last.
    pub(crate) fn raw(&self) -> Raw {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The driver's statement, when it is prepared on `connection` already.
    pub(crate) fn ready_on(&self, connection: &MysqlConnection) -> Option<Raw> {
        let current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::ptr_eq(&current.0, connection.id()).then(|| current.1.clone())
    }

    fn set(&self, connection: &MysqlConnection, raw: &Raw) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = (Arc::clone(connection.id()), raw.clone());
    }

    /// The SQL text; what is not UTF-8 in it is replaced.
    pub fn sql(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.sql)
    }

    /// The columns of the result, as the server gave them when the statement was last prepared.
    pub fn columns(&self) -> Arc<[Column]> {
        self.raw().columns()
    }

    /// The parameters, as the server gave them when the statement was last prepared.
    pub fn params(&self) -> Vec<Column> {
        self.raw().params().to_vec()
    }

    /// The number of the statement on the connection where it was last prepared.
    pub fn id(&self) -> u32 {
        self.raw().id()
    }

    /// The server's number of the connection where it was last prepared.
    pub fn connection_id(&self) -> u32 {
        self.raw().connection_id()
    }

    /// How many parameters it takes.
    pub fn num_params(&self) -> u16 {
        self.raw().num_params()
    }

    /// How many columns it answers with.
    pub fn num_columns(&self) -> u16 {
        self.raw().num_columns()
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("sql", &self.sql()).finish_non_exhaustive()
    }
}

/// What a call runs: SQL text, or a prepared statement.
#[derive(Clone, Debug)]
pub enum StatementRef<'a> {
    /// SQL text; the connection keeps the statements that it prepared last (`stmt_cache_size`).
    Sql(Cow<'a, [u8]>),
    /// A statement of this library.
    Prepared(Cow<'a, Statement>),
    /// A statement of the driver, which the [`Conn`](crate::Conn) that is to run it must have prepared.
    Driver(Cow<'a, mysql_async::Statement>),
}

impl StatementRef<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Sql(sql) => sql,
            Self::Prepared(statement) => statement.bytes(),
            Self::Driver(_) => &[],
        }
    }

    pub(crate) fn sql(&self) -> Option<&str> {
        match self {
            Self::Driver(_) => None,
            other => std::str::from_utf8(other.bytes()).ok(),
        }
    }

    /// The driver's statement on the connection of `lease`; prepared there when it is not yet, or when `again`.
    pub(crate) async fn prepared(
        &self,
        connection: &MysqlConnection,
        lease: &mut Lease<'_>,
        operation: &'static str,
        again: bool,
    ) -> Result<Raw> {
        let own = match self {
            Self::Prepared(statement) => Some(statement),
            _ => None,
        };
        if let Some(raw) = own.filter(|_| !again).and_then(|statement| statement.ready_on(connection)) {
            return Ok(raw);
        }
        if again {
            // The driver keeps the handle by its text: it must forget the one that the server does not know.
            if let Some(old) = own.and_then(|statement| statement.ready_on(connection)) {
                let (conn, fate) = lease.begin(Doing::nothing(operation))?;
                let closed = fate.spare(conn.close(old)).await;
                lease.settle(closed).await?;
            }
        }
        let (conn, fate) = lease.begin(Doing::nothing(operation))?;
        let answered = fate.spare(conn.prep(self.bytes())).await;
        let raw = lease.settle(answered).await?;
        if let Some(statement) = own {
            statement.set(connection, &raw);
        }
        Ok(raw)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// What a call accepts as its statement: SQL text in most forms that text and bytes have, [`Statement`], and statements
/// of the driver that the same [`Conn`](crate::Conn) has prepared.
pub trait ToStatement: sealed::Sealed + Send + Sync {
    /// The statement, borrowed for one call.
    fn to_statement(&self) -> StatementRef<'_>;
}

macro_rules! to_statement {
    ($($type:ty => |$value:ident| $statement:expr;)+) => {
        $(
            impl sealed::Sealed for $type {}
            impl ToStatement for $type {
                fn to_statement(&self) -> StatementRef<'_> {
                    let $value = self;
                    $statement
                }
            }
        )+
    };
}

to_statement! {
    &str => |sql| StatementRef::Sql(Cow::Borrowed(sql.as_bytes()));
    String => |sql| StatementRef::Sql(Cow::Borrowed(sql.as_bytes()));
    &String => |sql| StatementRef::Sql(Cow::Borrowed(sql.as_bytes()));
    Box<str> => |sql| StatementRef::Sql(Cow::Borrowed(sql.as_bytes()));
    Arc<str> => |sql| StatementRef::Sql(Cow::Borrowed(sql.as_bytes()));
    Cow<'_, str> => |sql| StatementRef::Sql(Cow::Borrowed(sql.as_bytes()));
    &[u8] => |sql| StatementRef::Sql(Cow::Borrowed(sql));
    Vec<u8> => |sql| StatementRef::Sql(Cow::Borrowed(sql));
    &Vec<u8> => |sql| StatementRef::Sql(Cow::Borrowed(sql));
    Box<[u8]> => |sql| StatementRef::Sql(Cow::Borrowed(sql));
    Arc<[u8]> => |sql| StatementRef::Sql(Cow::Borrowed(sql));
    Cow<'_, [u8]> => |sql| StatementRef::Sql(Cow::Borrowed(sql));
    Statement => |statement| StatementRef::Prepared(Cow::Borrowed(statement));
    &Statement => |statement| StatementRef::Prepared(Cow::Borrowed(statement));
    mysql_async::Statement => |statement| StatementRef::Driver(Cow::Borrowed(statement));
    &mysql_async::Statement => |statement| StatementRef::Driver(Cow::Borrowed(statement));
}
