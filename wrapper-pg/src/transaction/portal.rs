//! Portals, by SQL cursors.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_postgres::Row;
use tokio_postgres::types::{BorrowToSql, ToSql};
use wrapper_core::Result;
use wrapper_core::plugin::Call;

use super::{Transaction, forget};
use crate::client::{Query, RowStream, Runner};
use crate::connection::PgConnection;
use crate::statement::{StatementRef, ToStatement};

/// A query whose rows are fetched in portions; made by [`Transaction::bind`].
///
/// The driver's own portals need its own transaction type, so this is a SQL cursor (`DECLARE … NO SCROLL CURSOR`):
/// the statement must be a query, and the cursor ends with the transaction or when this value is dropped.
#[derive(Debug)]
pub struct Portal {
    name: String,
    connection: Arc<PgConnection>,
}

impl Drop for Portal {
    fn drop(&mut self) {
        forget(&self.connection, &format!("CLOSE {}", self.name));
    }
}

impl Transaction<'_> {
    /// Binds parameters to a query, whose rows are then fetched in portions.
    ///
    /// # Errors
    /// As for any call of a transaction; also when the statement is not a query.
    pub async fn bind<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Portal>
    where
        T: ?Sized + ToStatement,
    {
        let name = self.cursor_name();
        let sql = format!("DECLARE {name} NO SCROLL CURSOR FOR {}", statement.to_statement().sql());
        let operation = crate::client::Execute { statement: StatementRef::Sql(&sql), params };
        self.run_on(&Call::new("bind").sql(&sql), &operation).await?;
        Ok(Portal { name, connection: Arc::clone(&self.pinned.connection) })
    }

    /// Like [`bind`](Self::bind), with any iterator of parameters.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub async fn bind_raw<P, T, I>(&self, statement: &T, params: I) -> Result<Portal>
    where
        T: ?Sized + ToStatement,
        P: BorrowToSql + Send + Sync,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        let name = self.cursor_name();
        let sql = format!("DECLARE {name} NO SCROLL CURSOR FOR {}", statement.to_statement().sql());
        self.execute_raw(&sql, params).await?;
        Ok(Portal { name, connection: Arc::clone(&self.pinned.connection) })
    }

    /// Fetches the next rows, at most `max_rows`, all when it is 0 or less.
    ///
    /// # Errors
    /// As for any call of a transaction.
    pub async fn query_portal(&self, portal: &Portal, max_rows: i32) -> Result<Vec<Row>> {
        let sql = portal.fetch(max_rows);
        self.run_on(
            &Call::new("query_portal").sql(&sql),
            &Query { statement: StatementRef::Sql(&sql), params: &[] },
        )
        .await
    }

    /// Like [`query_portal`](Self::query_portal), with rows as they come in.
    ///
    /// # Errors
    /// As for any call of a transaction.
    pub async fn query_portal_raw(&self, portal: &Portal, max_rows: i32) -> Result<RowStream> {
        // Not `&dyn ToSql`: with a reference in it the future would be `Send` for one lifetime only.
        let none: [i32; 0] = [];
        self.query_raw(&portal.fetch(max_rows), none).await
    }

    fn cursor_name(&self) -> String {
        format!("wrapper_cursor_{}", self.cursors.fetch_add(1, Ordering::Relaxed))
    }
}

impl Portal {
    fn fetch(&self, max_rows: i32) -> String {
        if max_rows > 0 {
            format!("FETCH FORWARD {max_rows} FROM {}", self.name)
        } else {
            format!("FETCH ALL FROM {}", self.name)
        }
    }
}
