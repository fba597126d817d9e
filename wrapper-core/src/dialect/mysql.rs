//! MySQL and MariaDB without a topology of their own: community servers and single RDS instances.

use crate::dialect::host_row::{boolean, required};
use crate::dialect::{Dialect, DialectId, Engine};
use crate::driver::Rows;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostRole, HostStatus};

/// Whether the server takes writes of ordinary users: one row, `is_read_only`. `super_read_only` implies it.
pub(super) const ROLE_SQL: &str = "SELECT @@GLOBAL.read_only AS is_read_only";

/// A MySQL-family server that knows nothing of its siblings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mysql(pub(super) DialectId);

impl Dialect for Mysql {
    fn id(&self) -> DialectId {
        self.0
    }

    fn engine(&self) -> Engine {
        Engine::Mysql
    }

    fn role_query(&self) -> &str {
        ROLE_SQL
    }

    fn parse_role(&self, rows: &Rows) -> Result<HostRole> {
        role(rows)
    }

    fn status_query(&self) -> &str {
        ROLE_SQL
    }

    fn parse_status(&self, rows: &Rows) -> Result<HostStatus> {
        Ok(HostStatus { accepts_writes: !read_only(rows)?, ..HostStatus::default() })
    }
}

/// The role that follows from the column `is_read_only`.
pub(super) fn role(rows: &Rows) -> Result<HostRole> {
    Ok(if read_only(rows)? { HostRole::Reader } else { HostRole::Writer })
}

/// The column `is_read_only` of the first row.
pub(super) fn read_only(rows: &Rows) -> Result<bool> {
    required(rows, 0, "is_read_only").ok().and_then(switch).ok_or_else(|| {
        Error::new(
            ErrorKind::Topology,
            format!(
                "the server did not say whether it is read-only: {} row(s), columns [{}]",
                rows.len(),
                rows.columns().join(", ")
            ),
        )
    })
}

/// A variable that is on or off, as a number or as a word: newer servers also have words for kinds of "on".
pub(super) fn switch(text: &str) -> Option<bool> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("OFF") {
        return Some(false);
    }
    let on = ["ON", "NO_LOCK", "NO_LOCK_NO_ADMIN"];
    if on.iter().any(|word| word.eq_ignore_ascii_case(text)) { Some(true) } else { boolean(text) }
}
