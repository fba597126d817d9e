//! The tables of the demo: made before, read back after, dropped where they are a guest's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use wrapper_pg::{Client, Connector, ErrorKind};

use crate::result::Found;

/// One table a client.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) wrapped: String,
    pub(crate) bare: String,
}

impl Tables {
    /// Their names; in a database that is not ours, names that nobody else has.
    pub(crate) fn new(ours: bool) -> Self {
        let suffix = if ours { String::new() } else { format!("_{}", std::process::id()) };
        let name = |client| format!("failover_demo_{client}{suffix}");
        Self { wrapped: name("wrapper"), bare: name("bare") }
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.wrapped, self.bare)
    }
}

/// Makes both tables. Without a unique key: a write that is applied twice shall be seen.
pub(crate) async fn create(connector: &Connector, tables: &Tables) -> Result<(), String> {
    let created = async {
        let client = connector.connect().await?;
        for table in [&tables.wrapped, &tables.bare] {
            client.batch_execute(&format!("CREATE TABLE {table} (id bigint NOT NULL)")).await?;
        }
        Ok(())
    };
    created.await.map_err(|error: wrapper_pg::Error| {
        format!("the tables {tables} could not be made (the user needs CREATE in its schema): {error}")
    })
}

pub(crate) async fn drop_tables(connector: &Connector, tables: &Tables) -> Result<(), String> {
    let dropped = async {
        let client = connector.connect().await?;
        client.batch_execute(&format!("DROP TABLE {}, {}", tables.wrapped, tables.bare)).await
    };
    dropped.await.map_err(|error| error.to_string())
}

/// How many rows each number has.
#[derive(Debug, Default)]
pub(crate) struct Rows(BTreeMap<i64, usize>);

impl Rows {
    /// Against what was acknowledged.
    pub(crate) fn compare(&self, acknowledged: &[i64]) -> Found {
        let acknowledged: BTreeSet<&i64> = acknowledged.iter().collect();
        let lost = acknowledged.iter().filter(|number| !self.0.contains_key(**number)).count();
        Found { lost, doubled: self.0.values().map(|rows| rows - 1).sum() }
    }
}

/// Reads both tables on the writer of this moment.
pub(crate) async fn both(connector: &Connector, tables: &Tables) -> Result<(Rows, Rows), String> {
    let read = async {
        let client = connector.connect().await?;
        Ok((rows(&client, &tables.wrapped).await?, rows(&client, &tables.bare).await?))
    };
    read.await.map_err(|error: wrapper_pg::Error| error.to_string())
}

async fn rows(client: &Client, table: &str) -> Result<Rows, wrapper_pg::Error> {
    let query = format!("SELECT id FROM {table}");
    let answer = match client.query(&query, &[]).await {
        // Reading again does no harm.
        Err(error) if error.kind() == ErrorKind::FailoverSucceeded => client.query(&query, &[]).await,
        answer => answer,
    };
    let mut rows = Rows::default();
    for row in answer? {
        *rows.0.entry(row.get(0)).or_default() += 1;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_doubled_writes_are_found() {
        let rows = Rows(BTreeMap::from([(1, 1), (2, 3), (4, 1)]));
        assert_eq!(rows.compare(&[1, 2, 3]), Found { lost: 1, doubled: 2 });
        assert_eq!(rows.compare(&[]), Found { lost: 0, doubled: 2 });
    }
}
