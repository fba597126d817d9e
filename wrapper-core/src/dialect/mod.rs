//! Dialects: what a kind of database answers, and how it is asked.
//!
//! What lives here: the [`Dialect`] contract, the families of PostgreSQL and MySQL, and [detection](detect). What may not:
//! connections that are kept, clocks, host names; a dialect is SQL text and the reading of answers.
//!
//! Every function and operator in a PostgreSQL statement is qualified with `pg_catalog` (or `rds_tools`), so that nothing in the
//! caller's `search_path` can stand in for it. No statement writes, so all run in a read-only transaction too.

mod aurora_pg;
mod detect;
mod evidence;
mod grants;
mod host_row;
mod multi_az_pg;
mod mysql;
mod mysql_aurora;
mod mysql_codes;
mod mysql_detect;
mod mysql_grants;
mod mysql_multi_az;
#[cfg(test)]
mod mysql_tests;
mod postgres;
#[cfg(test)]
pub(crate) mod scripted;
mod sqlstate;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use crate::driver::{DriverConnection, Rows};
use crate::env::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostRole, HostStatus};

pub use crate::dialect_id::{DialectId, Engine};
pub use detect::{DETECTION_SQL, Detected, Detection, EndpointHint, Question, detect_dialect};
pub use host_row::HostRow;
pub use mysql_codes::{classify_mysql_code, mysql_code};
pub use mysql_detect::{MYSQL_DETECTION_SQL, MysqlDetection, MysqlQuestion, detect_mysql_dialect};
pub use sqlstate::{Phase, classify_io, classify_sqlstate};

/// Finds out which dialect of an engine's family the server speaks, in as few round trips as that takes.
///
/// # Errors
/// - [`ErrorKind::Grant`] when something is missing; the message holds the statement that mends it.
/// - [`ErrorKind::Unsupported`] for a kind of deployment that is not supported, or a server of another family.
/// - The error of the statement: network, time-out.
///
/// # Cancellation
/// Safe: the connection stays usable, and no transaction is left open or failed.
pub async fn detect(
    engine: Engine,
    connection: &dyn DriverConnection,
    hint: EndpointHint,
    deadline: Deadline,
) -> Result<Detected> {
    match engine {
        Engine::Postgres => detect_dialect(connection, hint, deadline).await,
        Engine::Mysql => detect_mysql_dialect(connection, hint, deadline).await,
    }
}

/// One kind of database: the questions the library asks it, and what its answers mean.
///
/// Object-safe, without state and without a connection: hand your own around as `Arc<dyn Dialect>`. Every question is
/// one statement and one round trip; every answer is read by column name, in text form.
pub trait Dialect: Debug + Send + Sync {
    /// Which dialect it is; [`DialectId::Custom`] for one of your own.
    fn id(&self) -> DialectId;

    /// The language family of its statements.
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    /// The port of hosts for which nobody names one.
    fn default_port(&self) -> u16 {
        self.engine().default_port()
    }

    /// The cheapest question for the server's own role.
    ///
    /// # When it is asked
    /// When a connection's role is verified before the connection is handed out, and after an error that smells of a
    /// demotion.
    /// # What is available
    /// Any connection to any host of the cluster, possibly inside a read-only transaction.
    /// # What an error does
    /// The role counts as not verified; the connection is not used.
    /// # What it may change
    /// Nothing on the server.
    fn role_query(&self) -> &str;

    /// Reads the answer to [`role_query`](Self::role_query): what the server's recovery state says, not what a topology says.
    ///
    /// # Errors
    /// [`ErrorKind::Topology`] when the answer is not one.
    fn parse_role(&self, rows: &Rows) -> Result<HostRole> {
        Ok(if postgres::in_recovery(rows)? { HostRole::Reader } else { HostRole::Writer })
    }

    /// The question for recovery state, own id and whether the server's topology names it as the writer.
    ///
    /// # When it is asked
    /// By the probes of the topology monitor, again and again until a writer is found.
    /// # What is available
    /// A monitor's connection.
    /// # What an error does
    /// It passes [`diagnose`](Self::diagnose); the host is not verified.
    /// # What it may change
    /// Nothing on the server.
    fn status_query(&self) -> &str;

    /// Reads the answer to [`status_query`](Self::status_query).
    ///
    /// # Errors
    /// [`ErrorKind::Topology`] when the answer is not one.
    fn parse_status(&self, rows: &Rows) -> Result<HostStatus>;

    /// The question for the list of hosts; `None` where servers do not know one another.
    ///
    /// # When it is asked
    /// By the topology monitor at its refresh rate.
    /// # What is available
    /// A monitor's connection.
    /// # What an error does
    /// It passes [`diagnose`](Self::diagnose); the topology stays as it was.
    /// # What it may change
    /// Nothing on the server.
    fn topology_query(&self) -> Option<&str> {
        None
    }

    /// Reads the answer to [`topology_query`](Self::topology_query). Rows that cannot be read are left out; it does
    /// not judge how many hosts claim to be the writer.
    ///
    /// # Errors
    /// [`ErrorKind::Topology`] when no usable row is left.
    fn parse_topology(&self, rows: &Rows) -> Result<Vec<HostRow>> {
        let _ = rows;
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("servers of the dialect `{}` do not know one another", self.id()),
        ))
    }

    /// Questions whose answer says which host this one replicates from, for servers whose list of hosts does not name
    /// the writer: asked before the list, one after the other until the server understands one. Empty where the list
    /// says it itself.
    ///
    /// # When it is asked
    /// Right before [`topology_query`](Self::topology_query), on the same connection.
    /// # What is available
    /// A monitor's connection.
    /// # What an error does
    /// As for the topology query; a question that the server does not understand (MySQL's error 1064) is passed over.
    /// # What it may change
    /// Nothing on the server.
    fn source_queries(&self) -> &[&'static str] {
        &[]
    }

    /// As [`parse_topology`](Self::parse_topology), with the answer to the first question of
    /// [`source_queries`](Self::source_queries) that the server understood; no rows where there are no questions.
    ///
    /// # Errors
    /// As `parse_topology`.
    fn parse_topology_from(&self, rows: &Rows, source: &Rows) -> Result<Vec<HostRow>> {
        let _ = source;
        self.parse_topology(rows)
    }

    /// A question that finds out why another one failed; asked once, right after the failure.
    fn diagnosis_query(&self) -> Option<&str> {
        None
    }

    /// Makes the error of a failed status or topology query say what is missing and which statement mends it
    /// ([`ErrorKind::Grant`]); an error that is not about rights or absent functions is returned as it is.
    ///
    /// `evidence` is the answer to [`diagnosis_query`](Self::diagnosis_query), where there is one.
    fn diagnose(&self, error: Error, evidence: Option<&Rows>) -> Error {
        let _ = evidence;
        error
    }
}

/// The dialect of this name, for a choice by hand (`wrapper_dialect`).
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a dialect that is known but not supported yet.
pub fn dialect_for(id: DialectId) -> Result<Arc<dyn Dialect>> {
    Ok(match id {
        DialectId::Pg | DialectId::RdsPg => Arc::new(postgres::Postgres(id)),
        DialectId::AuroraPg => Arc::new(aurora_pg::AuroraPg),
        DialectId::RdsMultiAzPgCluster => Arc::new(multi_az_pg::MultiAzPg),
        DialectId::GlobalAuroraPg => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the dialect `global-aurora-pg` (an Aurora Global Database of several regions) is not yet supported; \
                 set `wrapper_dialect=aurora-pg` to work with the cluster of one region as if it were alone",
            ));
        }
        DialectId::Mysql | DialectId::Mariadb | DialectId::RdsMysql => Arc::new(mysql::Mysql(id)),
        DialectId::AuroraMysql => Arc::new(mysql_aurora::AuroraMysql),
        DialectId::RdsMultiAzMysqlCluster => Arc::new(mysql_multi_az::MultiAzMysql),
        DialectId::GlobalAuroraMysql => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the dialect `global-aurora-mysql` (an Aurora Global Database of several regions) is not yet \
                 supported; set `wrapper_dialect=aurora-mysql` to work with the cluster of one region as if it were \
                 alone",
            ));
        }
        DialectId::Custom(name) => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the custom dialect `{name}` is not known by name; give the dialect itself"),
            ));
        }
    })
}
