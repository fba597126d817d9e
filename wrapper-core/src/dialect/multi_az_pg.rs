//! RDS Multi-AZ DB cluster for PostgreSQL: the extension `rds_tools` knows the three instances.

use crate::dialect::host_row::{convert_rows, label, optional, required};
use crate::dialect::postgres::{ROLE_SQL, in_recovery};
use crate::dialect::{DETECTION_SQL, Dialect, DialectId, HostRow, grants};
use crate::driver::Rows;
use crate::error::{Error, Result};
use crate::host::HostStatus;

/// The text that RDS counts its clients by.
macro_rules! client_tag {
    () => {
        concat!("'aws_rust_wrapper-", env!("CARGO_PKG_VERSION"), "'")
    };
}

/// Topology, own id and the writer's id in one statement: asked one after the other they contradict each other when a
/// switch-over falls between them.
const TOPOLOGY_SQL: &str = concat!(
    "SELECT t.id AS id, t.endpoint AS endpoint, t.port AS port, ",
    "(SELECT o.id FROM rds_tools.dbi_resource_id() AS o(id) LIMIT 1) AS own_id, ",
    "(SELECT w.id FROM rds_tools.multi_az_db_cluster_source_dbi_resource_id() AS w(id) LIMIT 1) AS source_id, ",
    "pg_catalog.pg_is_in_recovery() AS in_recovery ",
    "FROM rds_tools.show_topology(",
    client_tag!(),
    ") AS t"
);

/// As [`TOPOLOGY_SQL`] without the list of hosts.
pub(super) const STATUS_SQL: &str = "\
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery, \
(SELECT o.id FROM rds_tools.dbi_resource_id() AS o(id) LIMIT 1) AS own_id, \
(SELECT w.id FROM rds_tools.multi_az_db_cluster_source_dbi_resource_id() AS w(id) LIMIT 1) AS source_id";

/// RDS Multi-AZ DB cluster for PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub(super) struct MultiAzPg;

impl Dialect for MultiAzPg {
    fn id(&self) -> DialectId {
        DialectId::RdsMultiAzPgCluster
    }

    fn role_query(&self) -> &str {
        ROLE_SQL
    }

    fn status_query(&self) -> &str {
        STATUS_SQL
    }

    fn parse_status(&self, rows: &Rows) -> Result<HostStatus> {
        let accepts_writes = !in_recovery(rows)?;
        let own = optional(rows, 0, "own_id");
        let claims_writer = match (own, writer_id(rows, 0)) {
            (Some(own), Some(writer)) => Some(own == writer),
            _ => None,
        };
        Ok(HostStatus { id: own.map(Into::into), accepts_writes, claims_writer })
    }

    fn topology_query(&self) -> Option<&str> {
        Some(TOPOLOGY_SQL)
    }

    fn parse_topology(&self, rows: &Rows) -> Result<Vec<HostRow>> {
        convert_rows(rows, |row| {
            let id = required(rows, row, "id")?;
            let endpoint = required(rows, row, "endpoint")?;
            let instance = label(endpoint.split('.').next().unwrap_or(endpoint))?;
            let mut host = HostRow::new(id, instance, writer_id(rows, row) == Some(id));
            host.endpoint = Some(endpoint.trim_end_matches('.').to_ascii_lowercase());
            host.port =
                optional(rows, row, "port").and_then(|port| port.parse().ok()).filter(|port| *port != 0);
            Ok(host)
        })
    }

    fn diagnosis_query(&self) -> Option<&str> {
        Some(DETECTION_SQL)
    }

    fn diagnose(&self, error: Error, evidence: Option<&Rows>) -> Error {
        grants::explain_multi_az(error, evidence)
    }
}

/// The resource id of the writer: the replication source; on the writer there is none, or it is the writer itself.
///
/// A server in recovery that names no source (cut off, or just being promoted) is not taken for the writer.
fn writer_id(rows: &Rows, row: usize) -> Option<&str> {
    optional(rows, row, "source_id").or_else(|| {
        let replays = optional(rows, row, "in_recovery").and_then(super::host_row::boolean).unwrap_or(true);
        if replays { None } else { optional(rows, row, "own_id") }
    })
}
