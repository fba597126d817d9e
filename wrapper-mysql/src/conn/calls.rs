//! The calls that the methods of a connection, of a transaction and of the driver's traits are made of.

use std::sync::Mutex;

use mysql_async::prelude::{FromRow, StatementLike};
use mysql_async::{Params, Row};
use wrapper_core::plugin::Call;
use wrapper_core::{Error, ErrorKind, Result, TransactionOutcome};

use super::ops::{self, Want};
use super::{Conn, Pinned};
use crate::statement::raw::{Seen, look};
use crate::statement::{Statement, StatementRef};

fn call<'a>(conn: &Conn, method: &'static str, sql: Option<&'a str>) -> Call<'a> {
    let call = match sql {
        Some(sql) => Call::new(method).sql(sql),
        None => Call::new(method),
    };
    // A handler for LOAD DATA LOCAL may be consumed by the first run.
    if conn.infile().is_set() { call.once() } else { call }
}

pub(crate) async fn text(
    conn: &mut Conn,
    pinned: Option<&Pinned>,
    operation: &'static str,
    bytes: &[u8],
    want: Want,
) -> Result<Vec<Row>> {
    let infile = conn.infile().clone();
    let request = ops::Text { operation, bytes, want, infile: &infile };
    let call = call(conn, operation, std::str::from_utf8(bytes).ok());
    conn.run(pinned, call, &request).await
}

pub(crate) async fn exec(
    conn: &mut Conn,
    pinned: Option<&Pinned>,
    operation: &'static str,
    statement: StatementRef<'_>,
    params: Params,
    want: Want,
) -> Result<Vec<Row>> {
    let statement = conn.known.translate(statement)?;
    let infile = conn.infile().clone();
    let request = ops::Exec { operation, statement: &statement, params: &params, want, infile: &infile };
    let call = call(conn, operation, statement.sql());
    conn.run(pinned, call, &request).await
}

pub(crate) async fn exec_batch(
    conn: &mut Conn,
    pinned: Option<&Pinned>,
    statement: StatementRef<'_>,
    params: Vec<Params>,
) -> Result<()> {
    let statement = conn.known.translate(statement)?;
    let call = call(conn, "exec_batch", statement.sql());
    conn.run(pinned, call, &ops::ExecBatch { statement: &statement, params: &params }).await
}

pub(crate) async fn prep(conn: &mut Conn, pinned: Option<&Pinned>, bytes: &[u8]) -> Result<Statement> {
    let call = call(conn, "prep", std::str::from_utf8(bytes).ok());
    conn.run(pinned, call, &ops::Prepare(bytes)).await
}

/// Closes a statement on the present connection. One of another connection went with that.
pub(crate) async fn close(
    conn: &mut Conn,
    pinned: Option<&Pinned>,
    statement: StatementRef<'_>,
) -> Result<()> {
    let StatementRef::Prepared(statement) = conn.known.translate(statement)? else { return Ok(()) };
    conn.known.remove(&statement.raw());
    let call = call(conn, "close", None);
    conn.run(pinned, call, &ops::Close(&statement)).await
}

pub(crate) async fn ping(conn: &mut Conn, pinned: Option<&Pinned>) -> Result<()> {
    conn.run(pinned, Call::new("ping"), &ops::Ping).await
}

/// Leaves the answer in the driver's connection, and that with `conn`.
pub(crate) async fn lend_text(conn: &mut Conn, pinned: Option<&Pinned>, bytes: &[u8]) -> Result<()> {
    let infile = conn.infile().clone();
    let call = call(conn, "query_iter", std::str::from_utf8(bytes).ok());
    let lent = conn.run(pinned, call, &ops::LendText { bytes, infile: &infile }).await?;
    conn.lent = Some(lent);
    Ok(())
}

/// As [`lend_text`].
pub(crate) async fn lend_exec(
    conn: &mut Conn,
    pinned: Option<&Pinned>,
    statement: StatementRef<'_>,
    params: Params,
) -> Result<()> {
    let statement = conn.known.translate(statement)?;
    let infile = conn.infile().clone();
    let call = call(conn, "exec_iter", statement.sql());
    let request = ops::LendExec { statement: &statement, params: &params, infile: &infile };
    let lent = conn.run(pinned, call, &request).await?;
    conn.lent = Some(lent);
    Ok(())
}

/// As [`lend_text`], for whatever the driver takes as a statement.
pub(crate) async fn lend_any<S: StatementLike>(
    conn: &mut Conn,
    pinned: Option<&Pinned>,
    statement: S,
    params: Params,
) -> Result<()> {
    if let Some(seen) = seen(&statement)? {
        return lend_exec(conn, pinned, seen, params).await;
    }
    let request = ops::LendUnknown(Mutex::new(Some((statement, params))));
    let lent = conn.run(pinned, Call::new("exec_iter").once(), &request).await?;
    conn.lent = Some(lent);
    Ok(())
}

/// What a statement of the driver's generic code is; `None` for text of a form that is not looked into.
///
/// # Errors
/// It may be a statement of the driver behind more references than anybody looks through: it is not sent.
pub(crate) fn seen<S>(statement: &S) -> Result<Option<StatementRef<'static>>> {
    match look(statement) {
        Seen::Statement(raw) => Ok(Some(StatementRef::Driver(std::borrow::Cow::Owned(raw.clone())))),
        Seen::Sql(sql) => Ok(Some(StatementRef::Sql(sql.as_bytes().to_vec().into()))),
        Seen::Unknown if std::any::type_name::<S>().contains("Statement") => Err(Error::new(
            ErrorKind::StaleStatement,
            "a statement of the driver was given behind several references; give `&Statement` or `Statement`",
        )),
        Seen::Unknown => Ok(None),
    }
}

/// Lends the driver's connection as it is.
pub(crate) async fn lend_bare(conn: &mut Conn, pinned: Option<&Pinned>) -> Result<()> {
    let infile = conn.infile().clone();
    let lent = conn.run(pinned, Call::new("to_connection").once(), &ops::LendBare(&infile)).await?;
    conn.lent = Some(lent);
    Ok(())
}

/// Rows as the type that the caller wants.
pub(crate) fn typed<T: FromRow>(rows: Vec<Row>, operation: &'static str) -> Result<Vec<T>> {
    rows.into_iter().map(|row| typed_row(row, operation)).collect()
}

pub(crate) fn typed_row<T: FromRow>(row: Row, operation: &'static str) -> Result<T> {
    let columns = row.columns();
    // The driver's error holds the row's values, which are nobody's business in a log.
    mysql_async::from_row_opt(row).map_err(|_| {
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {:?}", column.name_str(), column.column_type()))
            .collect();
        Error::new(
            ErrorKind::Driver,
            format!(
                "a row could not be read as `{}`; its columns: {}",
                std::any::type_name::<T>(),
                columns.join(", ")
            ),
        )
        .with_outcome(TransactionOutcome::MayHaveApplied)
        .with_operation(operation)
    })
}
