//! The tables of the demo: made before, read back after, dropped where they are a guest's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::drivers::Drivers;
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
pub(crate) async fn create(drivers: &dyn Drivers, tables: &Tables) -> Result<(), String> {
    let create =
        [&tables.wrapped, &tables.bare].map(|table| format!("CREATE TABLE {table} (id bigint NOT NULL)"));
    drivers.run(&create).await.map_err(|error| {
        format!("the tables {tables} could not be made (the user needs CREATE in its schema): {error}")
    })
}

pub(crate) async fn drop_tables(drivers: &dyn Drivers, tables: &Tables) -> Result<(), String> {
    drivers.run(&[format!("DROP TABLE {}, {}", tables.wrapped, tables.bare)]).await
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
pub(crate) async fn both(drivers: &dyn Drivers, tables: &Tables) -> Result<(Rows, Rows), String> {
    Ok((rows(drivers, &tables.wrapped).await?, rows(drivers, &tables.bare).await?))
}

async fn rows(drivers: &dyn Drivers, table: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    for number in drivers.numbers(table).await? {
        *rows.0.entry(number).or_default() += 1;
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
