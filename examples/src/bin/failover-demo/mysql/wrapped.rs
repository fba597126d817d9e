//! The client with the wrapper: wrapper-mysql.

use async_trait::async_trait;
use wrapper_mysql::{Conn, Connector, Error, RetryAdvice, Statement};

use crate::tally::Failure;
use crate::wrapped::failure;
use crate::writer::Client;

/// Writes with the wrapper; what a failover leaves to the application is in [`failure`].
pub(crate) struct Wrapped {
    connector: Connector,
    table: String,
    open: Option<Open>,
}

struct Open {
    conn: Conn,
    insert: Statement,
    look_up: Statement,
}

impl Wrapped {
    pub(crate) fn new(connector: Connector, table: &str) -> Self {
        Self { connector, table: table.to_owned(), open: None }
    }

    /// The open connection; a new one when there is none.
    async fn open(&mut self) -> Result<&mut Open, Error> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let mut conn = self.connector.connect().await?;
                // Prepared once: the statements survive every switch of the connection.
                let insert = conn.prep(format!("INSERT INTO {} (id) VALUES (?)", self.table)).await?;
                let look_up = conn.prep(format!("SELECT COUNT(*) FROM {} WHERE id = ?", self.table)).await?;
                Open { conn, insert, look_up }
            }
        };
        Ok(self.open.insert(open))
    }

    fn note(&mut self, error: &Error) -> Failure {
        if matches!(error.retry_advice(), RetryAdvice::NewConnection) {
            self.open = None;
        }
        failure(error)
    }
}

#[async_trait]
impl Client for Wrapped {
    async fn insert(&mut self, number: i64) -> Result<(), Failure> {
        let written = async {
            let Open { conn, insert, .. } = self.open().await?;
            conn.exec_drop(&*insert, (number,)).await
        };
        written.await.map_err(|error| self.note(&error))
    }

    async fn is_there(&mut self, number: i64) -> Result<bool, Failure> {
        let found = async {
            let Open { conn, look_up, .. } = self.open().await?;
            conn.exec_first::<i64, _, _>(&*look_up, (number,)).await
        };
        found.await.map(|count| count.is_some_and(|count| count > 0)).map_err(|error| self.note(&error))
    }
}
