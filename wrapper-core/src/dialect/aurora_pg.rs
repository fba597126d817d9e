//! Aurora PostgreSQL: instances know one another through `aurora_replica_status()`.

use crate::dialect::host_row::{
    boolean, convert_rows, epoch_seconds, label, milliseconds, optional, percent, required,
};
use crate::dialect::postgres::{ROLE_SQL, in_recovery};
use crate::dialect::{Dialect, DialectId, HostRow, grants};
use crate::driver::Rows;
use crate::error::{Error, Result};
use crate::host::HostStatus;

/// Rows of instances that are gone stay for a while: one that has not been updated for 300 s is left out, except the
/// writer's and rows without a time. `clock_timestamp()`, because `now()` stands still in a long transaction.
const TOPOLOGY_SQL: &str = "\
SELECT s.server_id AS server_id, \
COALESCE(s.session_id OPERATOR(pg_catalog.=) 'MASTER_SESSION_ID', false) AS is_writer, \
s.cpu AS cpu, \
s.replica_lag_in_msec AS lag_ms, \
EXTRACT(EPOCH FROM s.last_update_timestamp) AS updated \
FROM pg_catalog.aurora_replica_status() AS s \
WHERE s.session_id OPERATOR(pg_catalog.=) 'MASTER_SESSION_ID' \
OR s.last_update_timestamp IS NULL \
OR s.last_update_timestamp OPERATOR(pg_catalog.>=) \
(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) INTERVAL '300 seconds')";

/// Of several rows that claim the writer the most recently updated one counts, as in `Topology::new`.
const STATUS_SQL: &str = "\
WITH s AS (SELECT r.server_id, r.session_id, r.last_update_timestamp \
FROM pg_catalog.aurora_replica_status() AS r) \
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery, \
pg_catalog.aurora_db_instance_identifier() AS own_id, \
(SELECT s.server_id FROM s WHERE s.session_id OPERATOR(pg_catalog.=) 'MASTER_SESSION_ID' \
ORDER BY s.last_update_timestamp DESC NULLS LAST, s.server_id LIMIT 1) AS writer_id, \
(SELECT pg_catalog.count(*) FROM s) AS hosts";

/// Aurora PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuroraPg;

impl Dialect for AuroraPg {
    fn id(&self) -> DialectId {
        DialectId::AuroraPg
    }

    fn role_query(&self) -> &str {
        ROLE_SQL
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
        Ok(HostStatus { id: own.map(Into::into), accepts_writes: !in_recovery(rows)?, claims_writer })
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
        grants::explain_aurora(error)
    }
}
