//! PostgreSQL without a topology of its own: community servers and single RDS instances.

use crate::dialect::host_row::{boolean, required};
use crate::dialect::{Dialect, DialectId};
use crate::driver::Rows;
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostStatus;

/// Whether the server replays another one's log: one row, `in_recovery`.
pub(super) const ROLE_SQL: &str = "SELECT pg_catalog.pg_is_in_recovery() AS in_recovery";

/// A PostgreSQL server that knows nothing of its siblings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Postgres(pub(super) DialectId);

impl Dialect for Postgres {
    fn id(&self) -> DialectId {
        self.0
    }

    fn role_query(&self) -> &str {
        ROLE_SQL
    }

    fn status_query(&self) -> &str {
        ROLE_SQL
    }

    fn parse_status(&self, rows: &Rows) -> Result<HostStatus> {
        Ok(HostStatus { accepts_writes: !in_recovery(rows)?, ..HostStatus::default() })
    }
}

/// The column `in_recovery` of the first row.
pub(super) fn in_recovery(rows: &Rows) -> Result<bool> {
    let told = required(rows, 0, "in_recovery");
    told.as_deref().ok().and_then(boolean).ok_or_else(|| {
        Error::new(
            ErrorKind::Topology,
            format!(
                "the server did not say whether it is in recovery: {} row(s), columns [{}]",
                rows.len(),
                rows.columns().join(", ")
            ),
        )
    })
}
