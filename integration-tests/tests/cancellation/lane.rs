//! One client behind a gate of its own, and the checks after each drop.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use integration_tests::LocalCluster;
use integration_tests::gate::MessageGate;
use wrapper_pg::{Client, Connector, Error, SimpleQueryMessage, Statement};

use crate::enumerate::{Running, Session, within};

/// An operation on a client; what it writes, it writes as two rows of the id, both or none.
pub(crate) type Operation =
    for<'a> fn(&'a mut Client, &'a Statement, i64) -> LocalBoxFuture<'a, Result<(), Error>>;

pub(crate) struct Lane {
    gate: MessageGate,
    connector: Connector,
    client: Client,
    prepared: Statement,
    next: i64,
}

fn connector(cluster: &LocalCluster, gate: &MessageGate) -> Connector {
    let app = cluster.app();
    // Without topology: the only messages that pass the gate are the session's.
    Connector::builder_at("127.0.0.1", gate.address().port())
        .user(&app.user)
        .password(app.password.clone())
        .dbname(&app.database)
        .set("sslmode", "disable")
        .set("plugins", "efm")
        .build()
        .expect("the configuration is valid")
}

async fn open(connector: &Connector) -> (Client, Statement) {
    let client = within("the connect", connector.connect()).await.expect("connected");
    client.batch_execute("SET application_name = 'lane'").await.expect("set");
    let prepared = client.prepare("SELECT $1::int8 AS id").await.expect("prepared");
    (client, prepared)
}

impl Lane {
    /// A lane whose ids begin at `number` million.
    pub(crate) async fn start(cluster: &LocalCluster, number: i64) -> Self {
        let upstream = cluster.server_address(cluster.writer());
        let gate = MessageGate::start(upstream).await.expect("the gate starts");
        let connector = connector(cluster, &gate);
        let (client, prepared) = open(&connector).await;
        Self { gate, connector, client, prepared, next: number * 1_000_000 }
    }

    /// Drops connects; nothing of what was dropped stays open on the server, but the lane's own client does. Gives the
    /// number of boundaries.
    pub(crate) async fn connects(self, cluster: &LocalCluster) -> usize {
        let observer = cluster.connect_superuser(cluster.writer()).await.expect("connected past the library");
        let boundaries = self.enumerate_connects().await;
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND backend_type = 'client backend'";
        let mut open = 0_i64;
        for _ in 0..500 {
            open = observer.query_one(count, &[]).await.expect("counted").get(0);
            if open == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(open, 1, "connections on the server after all connects were dropped");
        within("a connect", self.connect()).await;
        boundaries
    }
}

impl Session for Lane {
    type Operation = Operation;
    type Error = Error;

    fn gate(&self) -> &MessageGate {
        &self.gate
    }

    fn next_id(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn run(&mut self, operation: Operation, id: i64) -> Running<'_, Error> {
        Running { gate: &self.gate, future: operation(&mut self.client, &self.prepared, id) }
    }

    async fn reopen(&mut self) {
        (self.client, self.prepared) = open(&self.connector).await;
    }

    async fn connect(&self) {
        drop(self.connector.connect().await.expect("connected"));
    }

    async fn check(&mut self, id: i64) -> Result<bool, String> {
        if self.client.is_closed() {
            let error = self.client.check_connection().await.err().ok_or("a closed client answers")?;
            return if error.class() == wrapper_core::ErrorClass::Network {
                Ok(false)
            } else {
                Err(error.to_string())
            };
        }
        let wrong = |what: &str, error: Error| format!("{what} fails for the next user: {error}");
        let row = self.client.query_one(&self.prepared, &[&id]).await;
        let prepared: i64 = row.map_err(|error| wrong("the prepared statement", error))?.get(0);
        if prepared != id {
            return Err(format!("a stale answer: {prepared} instead of {id}"));
        }
        // Three round trips more: every other time.
        if id % 4 < 2 {
            let fresh = self.client.query_one_scalar("SELECT $1::int8 + 1", &[&id]).await;
            let fresh: i64 = fresh.map_err(|error| wrong("a new statement", error))?;
            if fresh != id + 1 {
                return Err(format!("a stale answer: {fresh} instead of {}", id + 1));
            }
        }
        // The start of the transaction is that of the statement only where no transaction was open before it.
        let sql = format!(
            "SELECT now() = statement_timestamp(), current_setting('application_name'), \
             (SELECT count(*) FROM t WHERE id = {id}), (SELECT count(*) FROM pg_cursors)"
        );
        let answer = self.client.simple_query(&sql).await.map_err(|error| wrong("a question", error))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.ok_or("a question without an answer")?;
        match (row.get(0), row.get(1), row.get(2), row.get(3)) {
            (Some("t"), Some("lane"), Some("0" | "2"), Some("0")) => Ok(true),
            (Some("f"), ..) => Err("a transaction is open for the next user".to_owned()),
            (_, name, _, _) if name != Some("lane") => {
                Err(format!("the session's name is {name:?}, was lane"))
            }
            (_, _, rows, cursors) => Err(format!("{rows:?} of two rows are there; cursors: {cursors:?}")),
        }
    }
}
