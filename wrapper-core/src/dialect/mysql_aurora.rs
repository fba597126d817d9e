//! Aurora MySQL: instances know one another through `information_schema.replica_host_status`.

use crate::dialect::host_row::{
    boolean, convert_rows, epoch_seconds, label, milliseconds, optional, percent, required,
};
use crate::dialect::mysql::{read_only, role};
use crate::dialect::{Dialect, DialectId, Engine, HostRow, mysql_grants};
use crate::driver::Rows;
use crate::error::{Error, Result};
use crate::host::{HostRole, HostStatus};

/// On a reader the storage engine takes no writes, whatever `read_only` says.
const ROLE_SQL: &str = "SELECT @@innodb_read_only AS is_read_only";

/// Rows of instances that are gone stay for a while: one that has not been updated for 300 s is left out, except the
/// writer's and rows without a time.
const TOPOLOGY_SQL: &str = "\
SELECT s.SERVER_ID AS server_id, \
COALESCE(s.SESSION_ID = 'MASTER_SESSION_ID', 0) AS is_writer, \
s.CPU AS cpu, \
s.REPLICA_LAG_IN_MILLISECONDS AS lag_ms, \
UNIX_TIMESTAMP(s.LAST_UPDATE_TIMESTAMP) AS updated \
FROM information_schema.replica_host_status AS s \
WHERE s.SESSION_ID = 'MASTER_SESSION_ID' \
OR s.LAST_UPDATE_TIMESTAMP IS NULL \
OR TIMESTAMPDIFF(SECOND, s.LAST_UPDATE_TIMESTAMP, NOW()) <= 300";

/// Of several rows that claim the writer the most recently updated one counts, as in `Topology::new`.
const STATUS_SQL: &str = "\
SELECT @@innodb_read_only AS is_read_only, \
@@aurora_server_id AS own_id, \
(SELECT s.SERVER_ID FROM information_schema.replica_host_status AS s \
WHERE s.SESSION_ID = 'MASTER_SESSION_ID' \
ORDER BY s.LAST_UPDATE_TIMESTAMP DESC, s.SERVER_ID LIMIT 1) AS writer_id, \
(SELECT COUNT(*) FROM information_schema.replica_host_status AS h) AS hosts";

/// Aurora MySQL.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuroraMysql;

impl Dialect for AuroraMysql {
    fn id(&self) -> DialectId {
        DialectId::AuroraMysql
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
        STATUS_SQL
    }

    fn parse_status(&self, rows: &Rows) -> Result<HostStatus> {
        let own = optional(rows, 0, "own_id");
        let knows_hosts = optional(rows, 0, "hosts").is_some_and(|count| count != "0");
        let claims_writer = match own {
            Some(own) if knows_hosts => {
                Some(optional(rows, 0, "writer_id").is_some_and(|writer| writer.eq_ignore_ascii_case(own)))
            }
            _ => None,
        };
        Ok(HostStatus { id: own.map(Into::into), accepts_writes: !read_only(rows)?, claims_writer })
    }

    fn topology_query(&self) -> Option<&str> {
        Some(TOPOLOGY_SQL)
    }

    fn parse_topology(&self, rows: &Rows) -> Result<Vec<HostRow>> {
        convert_rows(rows, |row| {
            let id = label(required(rows, row, "server_id")?)?;
            let is_writer = boolean(required(rows, row, "is_writer")?)
                .ok_or_else(|| format!("`is_writer` is not a boolean in row {}", row + 1))?;
            let mut host = HostRow::new(id, id, is_writer);
            host.lag = optional(rows, row, "lag_ms").and_then(milliseconds);
            host.cpu = optional(rows, row, "cpu").and_then(percent);
            host.updated = optional(rows, row, "updated").and_then(epoch_seconds);
            Ok(host)
        })
    }

    fn diagnose(&self, error: Error, _evidence: Option<&Rows>) -> Error {
        mysql_grants::explain_aurora(error)
    }
}
