//! One connection behind a gate of its own, and the checks after each drop.

use std::error::Error as StdError;

use futures_util::future::LocalBoxFuture;
use integration_tests::MySqlCluster;
use integration_tests::gate::MessageGate;
use mysql_async::prelude::Queryable;
use mysql_async::{OptsBuilder, Row};
use wrapper_core::ErrorClass;
use wrapper_mysql::{Conn, Connector, Statement};

use crate::enumerate::{Running, Session, within};

/// The library's error, or the driver's.
pub(crate) type Failed = Box<dyn StdError + Send + Sync>;

/// An operation on a connection; what it writes, it writes as two rows of the id, both or none.
pub(crate) type Operation =
    for<'a> fn(&'a mut Conn, &'a Statement, i64) -> LocalBoxFuture<'a, Result<(), Failed>>;

/// What the server says when the next transaction is to be described in the middle of one.
const IN_TRANSACTION: u16 = 1568;

pub(crate) struct Lane {
    gate: MessageGate,
    connector: Connector,
    conn: Conn,
    /// Goes from connection to connection.
    prepared: Statement,
    next: i64,
}

async fn open(connector: &Connector) -> Conn {
    let mut conn = within("the connect", connector.connect()).await.expect("connected");
    conn.query_drop("SET @lane = 'lane'").await.expect("set");
    conn
}

impl Lane {
    /// A lane whose ids begin at `number` million.
    pub(crate) async fn start(cluster: &MySqlCluster, number: i64) -> Self {
        let gate = gate(cluster).await;
        let app = cluster.app();
        // Without topology: the only packets that pass the gate are the session's.
        let connector = Connector::builder_at("127.0.0.1", gate.address().port())
            .user(&app.user)
            .password(app.password.clone())
            .dbname(&app.database)
            .set("ssl_mode", "disabled")
            .set("plugins", "efm")
            .build()
            .expect("the configuration is valid");
        let mut conn = open(&connector).await;
        let prepared = conn.prep("SELECT ? AS id").await.expect("prepared");
        Self { gate, connector, conn, prepared, next: number * 1_000_000 }
    }

    /// Nothing of all that was dropped is left in the library.
    pub(crate) async fn end(self) {
        drop(self.conn);
        let monitors = wrapper_mysql::plugins::efm::EfmMonitors::of(self.connector.cluster().core());
        assert_eq!(monitors.watched(), 0, "a dropped call is watched still");
        within("the shutdown", self.connector.shutdown()).await;
        assert_eq!(self.connector.cluster().task_count(), 0, "a task outlived the shutdown");
    }
}

async fn gate(cluster: &MySqlCluster) -> MessageGate {
    let upstream = cluster.server_address(cluster.writer());
    MessageGate::start_mysql(upstream).await.expect("the gate starts")
}

impl Session for Lane {
    type Operation = Operation;
    type Error = Failed;

    fn gate(&self) -> &MessageGate {
        &self.gate
    }

    fn next_id(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn run(&mut self, operation: Operation, id: i64) -> Running<'_, Failed> {
        Running { gate: &self.gate, future: operation(&mut self.conn, &self.prepared, id) }
    }

    async fn check(&mut self, id: i64) -> Result<bool, String> {
        if self.conn.is_disconnected() {
            let error = self.conn.ping().await.err().ok_or("a discarded connection answers")?;
            return match error.class() {
                ErrorClass::Network => Ok(false),
                _ => Err(format!("a discarded connection says: {error}")),
            };
        }
        look(&mut self.conn, id).await?;
        let prepared: Option<i64> = match self.conn.exec_first(&self.prepared, (id,)).await {
            Ok(answer) => answer,
            Err(error) => return Err(format!("the prepared statement fails for the next user: {error}")),
        };
        if prepared != Some(id) {
            return Err(format!("a stale answer: {prepared:?} instead of {id}"));
        }
        Ok(true)
    }

    async fn reopen(&mut self) {
        self.conn = open(&self.connector).await;
    }

    async fn connect(&self) {
        drop(self.connector.connect().await.expect("connected"));
    }
}

/// The bare driver behind a gate.
pub(crate) struct Bare {
    gate: MessageGate,
    options: OptsBuilder,
    conn: mysql_async::Conn,
    next: i64,
}

impl Bare {
    pub(crate) async fn start(cluster: &MySqlCluster) -> Self {
        let gate = gate(cluster).await;
        let options = cluster.app_config(cluster.writer());
        let options = options.ip_or_hostname("127.0.0.1").tcp_port(gate.address().port());
        let mut conn = mysql_async::Conn::new(options.clone()).await.expect("connected");
        conn.query_drop("SET @lane = 'lane'").await.expect("set");
        Self { gate, options, conn, next: 0 }
    }
}

impl Session for Bare {
    type Operation = fn(&mut mysql_async::Conn) -> LocalBoxFuture<'_, Result<(), Failed>>;
    type Error = Failed;

    fn gate(&self) -> &MessageGate {
        &self.gate
    }

    fn next_id(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn run(&mut self, operation: Self::Operation, _: i64) -> Running<'_, Failed> {
        Running { gate: &self.gate, future: operation(&mut self.conn) }
    }

    async fn check(&mut self, id: i64) -> Result<bool, String> {
        look(&mut self.conn, id).await.map(|()| true)
    }

    async fn reopen(&mut self) {
        self.conn = mysql_async::Conn::new(self.options.clone()).await.expect("connected");
    }

    async fn connect(&self) {
        drop(mysql_async::Conn::new(self.options.clone()).await.expect("connected"));
    }
}

/// Uses a connection as its next user does.
async fn look(conn: &mut impl Queryable, id: i64) -> Result<(), String> {
    let wrong = |what: &'static str| {
        move |error: mysql_async::Error| format!("{what} fails for the next user: {error}")
    };
    let answer = |row: Option<Row>| -> Option<i64> { row?.take_opt::<i64, _>(0)?.ok() };
    let text: Option<Row> = conn.query_first(format!("SELECT {id}")).await.map_err(wrong("a text"))?;
    match answer(text) {
        Some(found) if found == id => {}
        Some(found) => return Err(format!("a stale answer: {found} instead of {id}")),
        None => return Err(format!("a stale answer: none instead of {id}")),
    }
    let bound: Option<Row> = conn.exec_first("SELECT ? + 1", (id,)).await.map_err(wrong("a statement"))?;
    let bound = answer(bound);
    if bound != Some(id + 1) {
        return Err(format!("a stale answer: {bound:?} instead of {}", id + 1));
    }
    match conn.query_drop("SET TRANSACTION READ WRITE").await {
        Ok(()) => {}
        Err(mysql_async::Error::Server(error)) if error.code == IN_TRANSACTION => {
            return Err("a transaction is open for the next user".to_owned());
        }
        Err(error) => return Err(wrong("a question")(error)),
    }
    let sql = format!("SELECT @lane, @@autocommit, (SELECT COUNT(*) FROM t WHERE id = {id})");
    let row: Option<Row> = conn.query_first(sql).await.map_err(wrong("a question"))?;
    let mut row = row.ok_or("a question without an answer")?;
    let name: Option<String> = row.take_opt(0).and_then(Result::ok);
    if name.as_deref() != Some("lane") {
        return Err(format!("the session's name is {name:?}, was lane"));
    }
    if row.take_opt::<i64, _>(1).and_then(Result::ok) != Some(1) {
        return Err("autocommit is off for the next user".to_owned());
    }
    match row.take_opt::<i64, _>(2).and_then(Result::ok) {
        Some(0 | 2) => Ok(()),
        rows => Err(format!("{rows:?} of two rows are there")),
    }
}
