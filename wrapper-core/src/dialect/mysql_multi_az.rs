//! RDS Multi-AZ DB cluster for MySQL: the table `mysql.rds_topology` lists the three instances, and each replica's
//! status names the one that it replicates from.

use crate::dialect::host_row::{convert_rows, label, optional, required};
use crate::dialect::mysql::{read_only, role, switch};
use crate::dialect::{Dialect, DialectId, Engine, HostRow, mysql, mysql_grants};
use crate::driver::Rows;
use crate::error::{Error, Result};
use crate::host::{HostRole, HostStatus};

/// The hosts, and at the same moment who is asked and whether it takes writes.
const TOPOLOGY_SQL: &str = "\
SELECT t.id AS id, t.endpoint AS endpoint, t.port AS port, \
@@GLOBAL.server_id AS own_id, @@GLOBAL.read_only AS is_read_only \
FROM mysql.rds_topology AS t";

const STATUS_SQL: &str = "SELECT @@GLOBAL.read_only AS is_read_only, @@GLOBAL.server_id AS own_id";

/// MySQL 8.0.22 and later; MySQL 5.7 and earlier.
const SOURCE_SQL: [&str; 2] = ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"];

/// What the writer's id is called in the answers to [`SOURCE_SQL`].
const SOURCE_COLUMNS: [&str; 2] = ["Source_Server_Id", "Master_Server_Id"];

/// RDS Multi-AZ DB cluster for MySQL.
#[derive(Clone, Copy, Debug)]
pub(super) struct MultiAzMysql;

impl Dialect for MultiAzMysql {
    fn id(&self) -> DialectId {
        DialectId::RdsMultiAzMysqlCluster
    }

    fn engine(&self) -> Engine {
        Engine::Mysql
    }

    fn role_query(&self) -> &str {
        mysql::ROLE_SQL
    }

    fn parse_role(&self, rows: &Rows) -> Result<HostRole> {
        role(rows)
    }

    fn status_query(&self) -> &str {
        STATUS_SQL
    }

    /// A server's own view of the writer is whether it replicates, which on these clusters is whether it is read-only:
    /// nothing is left that could contradict.
    fn parse_status(&self, rows: &Rows) -> Result<HostStatus> {
        let id = optional(rows, 0, "own_id").map(Into::into);
        Ok(HostStatus { id, accepts_writes: !read_only(rows)?, claims_writer: None })
    }

    fn source_queries(&self) -> &[&'static str] {
        &SOURCE_SQL
    }

    fn topology_query(&self) -> Option<&str> {
        Some(TOPOLOGY_SQL)
    }

    /// Without the replica's status only a server that takes writes knows the writer: itself.
    fn parse_topology(&self, rows: &Rows) -> Result<Vec<HostRow>> {
        self.parse_topology_from(rows, &Rows::default())
    }

    fn parse_topology_from(&self, rows: &Rows, source: &Rows) -> Result<Vec<HostRow>> {
        let writer = writer_id(rows, source);
        convert_rows(rows, |row| {
            let id = required(rows, row, "id")?;
            let endpoint = required(rows, row, "endpoint")?;
            let instance = label(endpoint.split('.').next().unwrap_or(endpoint))?;
            let mut host = HostRow::new(id, instance, writer == Some(id));
            host.endpoint = Some(endpoint.trim_end_matches('.').to_ascii_lowercase());
            host.port =
                optional(rows, row, "port").and_then(|port| port.parse().ok()).filter(|port| *port != 0);
            Ok(host)
        })
    }

    fn diagnosis_query(&self) -> Option<&str> {
        Some(mysql_grants::USER_SQL)
    }

    fn diagnose(&self, error: Error, evidence: Option<&Rows>) -> Error {
        mysql_grants::explain_multi_az(error, evidence)
    }
}

/// The id of the writer: the own one on a server that takes writes, else the source's.
///
/// The own state was asked later than the status: a replica that was promoted in between is the writer. A read-only
/// server without a source (just stopped, just being promoted) names nobody; a source that it never reached is 0.
fn writer_id<'r>(rows: &'r Rows, source: &'r Rows) -> Option<&'r str> {
    match optional(rows, 0, "is_read_only").and_then(switch) {
        Some(false) => optional(rows, 0, "own_id"),
        _ => SOURCE_COLUMNS.iter().find_map(|column| optional(source, 0, column)).filter(|id| *id != "0"),
    }
}
