//! The client with the wrapper: wrapper-pg.

use async_trait::async_trait;
use wrapper_pg::{Connector, Error, RetryAdvice, Statement};

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
    client: wrapper_pg::Client,
    insert: Statement,
    look_up: Statement,
}

impl Wrapped {
    pub(crate) fn new(connector: Connector, table: &str) -> Self {
        Self { connector, table: table.to_owned(), open: None }
    }

    /// The open client; a new one when there is none.
    async fn open(&mut self) -> Result<&Open, Error> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let client = self.connector.connect().await?;
                // Prepared once: the statements survive every switch of the client.
                let insert = client.prepare(&format!("INSERT INTO {} (id) VALUES ($1)", self.table)).await?;
                let look_up =
                    client.prepare(&format!("SELECT count(*) FROM {} WHERE id = $1", self.table)).await?;
                Open { client, insert, look_up }
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
            let open = self.open().await?;
            open.client.execute(&open.insert, &[&number]).await
        };
        written.await.map(drop).map_err(|error| self.note(&error))
    }

    async fn is_there(&mut self, number: i64) -> Result<bool, Failure> {
        let found = async {
            let open = self.open().await?;
            open.client.query_one_scalar::<i64, _>(&open.look_up, &[&number]).await
        };
        found.await.map(|count| count > 0).map_err(|error| self.note(&error))
    }
}
