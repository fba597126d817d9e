//! The operations: one struct per request, which can run again on another connection.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use mysql_async::prelude::{Queryable, StatementLike};
use mysql_async::{Params, Row};
use wrapper_core::session::Operation;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use crate::connection::{Doing, Lent, MysqlConnection};
use crate::infile::Infile;
use crate::statement::{Statement, StatementRef};

type Connection = Arc<MysqlConnection>;

/// How much of an answer is wanted; the rest is read all the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// All rows of the first result set.
    All,
    /// Its first row.
    First,
    Nothing,
}

/// Text, by the text protocol.
pub(crate) struct Text<'a> {
    pub(crate) operation: &'static str,
    pub(crate) bytes: &'a [u8],
    pub(crate) want: Want,
    pub(crate) infile: &'a Infile,
}

impl Text<'_> {
    fn sql(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes).ok()
    }
}

impl Operation<MysqlConnection> for Text<'_> {
    type Out = Vec<Row>;

    async fn run(&self, connection: &Connection) -> Result<Vec<Row>> {
        let mut lease = connection.lease(self.operation).await?;
        let (conn, fate) = lease.begin(Doing::maybe_text(self.operation, self.sql()))?;
        self.infile.arm(conn);
        let answered = match self.want {
            Want::All => fate.spare(conn.query(self.bytes)).await,
            Want::First => first(fate.spare(conn.query_first(self.bytes)).await),
            Want::Nothing => nothing(fate.spare(conn.query_drop(self.bytes)).await),
        };
        let rows = lease.settle(answered).await?;
        if let Some(sql) = self.sql() {
            connection.observe_success(sql);
        }
        Ok(rows)
    }
}

type Answered<T> = Option<mysql_async::Result<T>>;

fn first(answered: Answered<Option<Row>>) -> Answered<Vec<Row>> {
    answered.map(|result| result.map(|row| row.into_iter().collect()))
}

fn nothing(answered: Answered<()>) -> Answered<Vec<Row>> {
    answered.map(|result| result.map(|()| Vec::new()))
}

/// A statement with parameters, by the binary protocol.
pub(crate) struct Exec<'a> {
    pub(crate) operation: &'static str,
    pub(crate) statement: &'a StatementRef<'a>,
    pub(crate) params: &'a Params,
    pub(crate) want: Want,
    pub(crate) infile: &'a Infile,
}

impl Exec<'_> {
    async fn once(&self, connection: &Connection, again: bool) -> Result<Vec<Row>> {
        let mut lease = connection.lease(self.operation).await?;
        let raw = self.statement.prepared(connection, &mut lease, self.operation, again).await?;
        check(&raw, self.params, self.operation)?;
        let (conn, fate) = lease.begin(Doing::maybe_text(self.operation, self.statement.sql()))?;
        self.infile.arm(conn);
        let params = self.params.clone();
        let answered = match self.want {
            Want::All => fate.spare(conn.exec(&raw, params)).await,
            Want::First => first(fate.spare(conn.exec_first(&raw, params)).await),
            Want::Nothing => nothing(fate.spare(conn.exec_drop(&raw, params)).await),
        };
        lease.settle(answered).await
    }
}

impl Operation<MysqlConnection> for Exec<'_> {
    type Out = Vec<Row>;

    async fn run(&self, connection: &Connection) -> Result<Vec<Row>> {
        let rows = anew(self.statement, |again| self.once(connection, again)).await?;
        observe(connection, self.statement, self.params);
        Ok(rows)
    }
}

/// Runs `once`, and again with the statement prepared anew when the server did not know its number: the driver closes
/// statements that were not used for long, and a reset of the session closes all.
async fn anew<T, F>(statement: &StatementRef<'_>, once: impl Fn(bool) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    match once(false).await {
        Err(error)
            if error.class() == ErrorClass::WrongStatement
                && matches!(statement, StatementRef::Prepared(_)) =>
        {
            once(true).await
        }
        result => result,
    }
}

/// What a text without parameters sets is known.
fn observe(connection: &Connection, statement: &StatementRef<'_>, params: &Params) {
    if let (Some(sql), Params::Empty) = (statement.sql(), params) {
        connection.observe_success(sql);
    }
}

/// The driver closes its connection behind a wrong number of parameters; so it is found out before.
fn check(raw: &mysql_async::Statement, params: &Params, operation: &'static str) -> Result<()> {
    let given = match params {
        Params::Empty => 0,
        Params::Positional(values) => values.len(),
        Params::Named(_) => return Ok(()),
    };
    if given == usize::from(raw.num_params()) {
        return Ok(());
    }
    let takes = raw.num_params();
    Err(Error::new(
        ErrorKind::Driver,
        format!("the statement takes {takes} parameters and was given {given}"),
    )
    .with_operation(operation))
}

/// One statement with many sets of parameters.
pub(crate) struct ExecBatch<'a> {
    pub(crate) statement: &'a StatementRef<'a>,
    pub(crate) params: &'a [Params],
}

impl ExecBatch<'_> {
    async fn once(&self, connection: &Connection, again: bool) -> Result<()> {
        let mut lease = connection.lease("exec_batch").await?;
        let raw = self.statement.prepared(connection, &mut lease, "exec_batch", again).await?;
        self.params.iter().try_for_each(|params| check(&raw, params, "exec_batch"))?;
        let (conn, fate) = lease.begin(Doing::maybe_text("exec_batch", self.statement.sql()))?;
        let answered = fate.spare(conn.exec_batch(&raw, self.params.to_vec())).await;
        lease.settle(answered).await
    }
}

impl Operation<MysqlConnection> for ExecBatch<'_> {
    type Out = ();

    async fn run(&self, connection: &Connection) -> Result<()> {
        anew(self.statement, |again| self.once(connection, again)).await
    }
}

pub(crate) struct Prepare<'a>(pub(crate) &'a [u8]);

impl Operation<MysqlConnection> for Prepare<'_> {
    type Out = Statement;

    async fn run(&self, connection: &Connection) -> Result<Statement> {
        let mut lease = connection.lease("prep").await?;
        let (conn, fate) = lease.begin(Doing::nothing("prep"))?;
        let answered = fate.spare(conn.prep(self.0)).await;
        let raw = lease.settle(answered).await?;
        Ok(Statement::new(connection, self.0, raw))
    }
}

pub(crate) struct Close<'a>(pub(crate) &'a Statement);

impl Operation<MysqlConnection> for Close<'_> {
    type Out = ();

    async fn run(&self, connection: &Connection) -> Result<()> {
        // On another connection it does not exist.
        let Some(raw) = self.0.ready_on(connection) else { return Ok(()) };
        let mut lease = connection.lease("close").await?;
        let (conn, fate) = lease.begin(Doing::nothing("close"))?;
        let answered = fate.spare(conn.close(raw)).await;
        lease.settle(answered).await
    }
}

pub(crate) struct Ping;

impl Operation<MysqlConnection> for Ping {
    type Out = ();

    async fn run(&self, connection: &Connection) -> Result<()> {
        let mut lease = connection.lease("ping").await?;
        let (conn, fate) = lease.begin(Doing::nothing("ping"))?;
        let answered = fate.spare(conn.ping()).await;
        lease.settle(answered).await
    }
}

pub(crate) struct Reset;

impl Operation<MysqlConnection> for Reset {
    type Out = bool;

    async fn run(&self, connection: &Connection) -> Result<bool> {
        let mut lease = connection.lease("reset").await?;
        let (conn, fate) = lease.begin(Doing::nothing("reset"))?;
        let answered = fate.spare(conn.reset()).await;
        let done = lease.settle(answered).await?;
        if done {
            connection.state(|state| state.reset());
        }
        Ok(done)
    }
}

pub(crate) struct WithRaw<F>(pub(crate) F);

impl<T, F> Operation<MysqlConnection> for WithRaw<F>
where
    T: Send + 'static,
    F: for<'c> Fn(&'c mut mysql_async::Conn) -> BoxFuture<'c, mysql_async::Result<T>> + Send + Sync,
{
    type Out = T;

    async fn run(&self, connection: &Connection) -> Result<T> {
        let mut lease = connection.lease("with_raw").await?;
        let (conn, fate) = lease.begin(Doing::maybe_text("with_raw", None))?;
        let answered = fate.spare((self.0)(conn)).await;
        lease.settle(answered).await
    }
}

/// Text whose answer is read outside of the call.
pub(crate) struct LendText<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) infile: &'a Infile,
}

impl Operation<MysqlConnection> for LendText<'_> {
    type Out = Lent;

    async fn run(&self, connection: &Connection) -> Result<Lent> {
        let sql = std::str::from_utf8(self.bytes).ok();
        let mut lease = connection.lease("query_iter").await?;
        let (conn, fate) = lease.begin(Doing::maybe_text("query_iter", sql))?;
        self.infile.arm(conn);
        // The handle on the answer is dropped; the answer itself stays with the connection.
        let answered = fate.spare(async { conn.query_iter(self.bytes).await.map(drop) }).await;
        lease.settle(answered).await?;
        lease.lend(connection, sql)
    }
}

/// A statement whose answer is read outside of the call.
pub(crate) struct LendExec<'a> {
    pub(crate) statement: &'a StatementRef<'a>,
    pub(crate) params: &'a Params,
    pub(crate) infile: &'a Infile,
}

impl LendExec<'_> {
    async fn once(&self, connection: &Connection, again: bool) -> Result<Lent> {
        let mut lease = connection.lease("exec_iter").await?;
        let raw = self.statement.prepared(connection, &mut lease, "exec_iter", again).await?;
        check(&raw, self.params, "exec_iter")?;
        let (conn, fate) = lease.begin(Doing::maybe_text("exec_iter", self.statement.sql()))?;
        self.infile.arm(conn);
        let params = self.params.clone();
        let answered = fate.spare(async { conn.exec_iter(&raw, params).await.map(drop) }).await;
        lease.settle(answered).await?;
        let sql = self.statement.sql().filter(|_| matches!(self.params, Params::Empty));
        lease.lend(connection, sql)
    }
}

impl Operation<MysqlConnection> for LendExec<'_> {
    type Out = Lent;

    async fn run(&self, connection: &Connection) -> Result<Lent> {
        anew(self.statement, |again| self.once(connection, again)).await
    }
}

/// A statement of a type that shows nothing of itself; it is consumed.
pub(crate) struct LendUnknown<S>(pub(crate) Mutex<Option<(S, Params)>>);

impl<S: StatementLike> Operation<MysqlConnection> for LendUnknown<S> {
    type Out = Lent;

    async fn run(&self, connection: &Connection) -> Result<Lent> {
        let mut lease = connection.lease("exec_iter").await?;
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((statement, params)) = taken else {
            return Err(Error::new(ErrorKind::NotRerunnable, "the statement was consumed by the first run"));
        };
        let (conn, fate) = lease.begin(Doing::maybe_text("exec_iter", None))?;
        let answered = fate.spare(async { conn.exec_iter(statement, params).await.map(drop) }).await;
        lease.settle(answered).await?;
        lease.lend(connection, None)
    }
}

/// The driver's connection for a user of the driver's own traits.
pub(crate) struct LendBare<'a>(pub(crate) &'a Infile);

impl Operation<MysqlConnection> for LendBare<'_> {
    type Out = Lent;

    async fn run(&self, connection: &Connection) -> Result<Lent> {
        let mut lease = connection.lease("to_connection").await?;
        let (conn, _) = lease.begin(Doing::nothing("to_connection"))?;
        self.0.arm(conn);
        lease.nothing_sent();
        lease.lend(connection, None)
    }
}
