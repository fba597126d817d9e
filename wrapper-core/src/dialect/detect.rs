//! Which dialect a server speaks, found out on the first connection.

use std::sync::Arc;

use crate::dialect::evidence::{Access, Evidence};
use crate::dialect::grants::{self, Obstacle, TOOLS};
use crate::dialect::host_row::optional;
use crate::dialect::multi_az_pg;
use crate::dialect::{Dialect, DialectId, dialect_for};
use crate::driver::{DriverConnection, Rows};
use crate::env::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// Tells all that can be told without calling a function that may be absent or denied: one row, no error, whatever is
/// installed and whatever is denied.
///
/// It reads the catalogs: `to_regproc` raises an error for a schema on which the user has no USAGE.
/// `current_setting` instead of `pg_settings`, which leaves out parameters that no library defines.
pub const DETECTION_SQL: &str = "\
SELECT pg_catalog.current_setting('server_version_num') AS version_num, \
pg_catalog.current_database() AS database_name, \
pg_catalog.quote_ident(CURRENT_USER) AS user_name, \
pg_catalog.current_setting('rds.extensions', true) AS rds_extensions, \
(SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles AS r \
WHERE r.rolname OPERATOR(pg_catalog.=) 'rds_superuser') AS rds_roles, \
(SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') FROM pg_catalog.pg_namespace AS n \
WHERE n.nspname OPERATOR(pg_catalog.=) 'rds_tools') AS tools_usage, \
(SELECT e.extversion FROM pg_catalog.pg_extension AS e \
WHERE e.extname OPERATOR(pg_catalog.=) 'rds_tools') AS tools_version, \
f.allowed AS allowed_functions, f.denied AS denied_functions \
FROM (SELECT pg_catalog.string_agg(c.name, ',') FILTER (WHERE c.allowed) AS allowed, \
pg_catalog.string_agg(c.name, ',') FILTER (WHERE NOT c.allowed) AS denied \
FROM (SELECT pg_catalog.concat(n.nspname, '.', p.proname) AS name, \
pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AS allowed \
FROM pg_catalog.pg_proc AS p \
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
WHERE (n.nspname OPERATOR(pg_catalog.=) 'rds_tools' AND p.proname OPERATOR(pg_catalog.=) \
ANY (CAST(ARRAY['show_topology', 'dbi_resource_id', 'multi_az_db_cluster_source_dbi_resource_id'] \
AS pg_catalog.name[]))) \
OR (n.nspname OPERATOR(pg_catalog.=) 'pg_catalog' AND p.proname OPERATOR(pg_catalog.=) \
ANY (CAST(ARRAY['aurora_replica_status', 'aurora_db_instance_identifier', 'aurora_global_db_status', \
'aurora_global_db_instance_status'] AS pg_catalog.name[])))) AS c) AS f";

/// How many regions a Global Database has: one row, `regions`. A Global Database of one region is plain Aurora.
const REGIONS_SQL: &str =
    "SELECT pg_catalog.count(*) AS regions FROM pg_catalog.aurora_global_db_status() AS g";

const AURORA: [&str; 2] = ["pg_catalog.aurora_replica_status", "pg_catalog.aurora_db_instance_identifier"];
const GLOBAL: [&str; 2] =
    ["pg_catalog.aurora_global_db_status", "pg_catalog.aurora_global_db_instance_status"];

/// What the host name says of the kind of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointHint {
    /// The writer, reader or custom endpoint of an RDS cluster: Aurora or a Multi-AZ DB cluster.
    Cluster,
    /// An RDS instance, alone or in a cluster.
    Instance,
    /// Anything else: an IP address, a domain of one's own, a proxy.
    Other,
}

/// The dialect that was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Detected {
    /// The dialect.
    pub dialect: Arc<dyn Dialect>,
    /// What the user may want to know of how it was found; one sentence for the log.
    pub note: Option<String>,
}

/// What follows from the answer to [`DETECTION_SQL`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Detection {
    /// It is certain.
    Found(Detected),
    /// One function has to be called to tell.
    Ask(Question),
}

/// The second question of a detection.
#[derive(Clone, Copy, Debug)]
pub struct Question(About);

#[derive(Clone, Copy, Debug)]
enum About {
    Global,
    MultiAz,
}

impl Question {
    /// The statement, which the user may run.
    pub fn sql(&self) -> &'static str {
        match self.0 {
            About::Global => REGIONS_SQL,
            About::MultiAz => multi_az_pg::STATUS_SQL,
        }
    }

    /// What follows from its answer.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on a Global Database of several regions, or when the answer is not one.
    pub fn answer(&self, rows: &Rows) -> Result<Detected> {
        match self.0 {
            About::Global => {
                let regions = optional(rows, 0, "regions").and_then(|count| count.parse::<u64>().ok());
                let regions = regions.ok_or_else(|| {
                    Error::new(
                        ErrorKind::Topology,
                        "the server did not say how many regions its Global Database has",
                    )
                })?;
                found(if regions > 1 { DialectId::GlobalAuroraPg } else { DialectId::AuroraPg })
            }
            About::MultiAz if optional(rows, 0, "source_id").is_some() => {
                found(DialectId::RdsMultiAzPgCluster)
            }
            About::MultiAz => found(DialectId::RdsPg),
        }
    }

    /// What follows when its statement failed: a function that says that it does not work here is a "no", and the note
    /// says so. Every other failure, a denied one above all, says nothing about the server.
    ///
    /// # Errors
    /// `error` itself, explained where a right is missing.
    pub fn failed(&self, error: Error) -> Result<Detected> {
        let (plain, explained) = match self.0 {
            About::Global => (DialectId::AuroraPg, grants::explain_aurora(error)),
            About::MultiAz => (DialectId::RdsPg, grants::explain_multi_az(error, None)),
        };
        // Feature not supported, object not in the needed state, raised by PL/pgSQL, raised without a code.
        let is_a_no =
            explained.sqlstate().is_some_and(|code| matches!(code.get(..2), Some("0A" | "55" | "P0" | "XX")));
        if explained.kind() != ErrorKind::Statement || !is_a_no {
            return Err(explained);
        }
        let mut detected = found(plain)?;
        detected.note =
            Some(format!("taken for `{plain}`, because the server refused `{}`: {explained}", self.sql()));
        Ok(detected)
    }
}

impl Detection {
    /// Judges the answer to [`DETECTION_SQL`] in the order Global Aurora, Aurora, Multi-AZ, RDS, PostgreSQL.
    ///
    /// # Errors
    /// - [`ErrorKind::Grant`] when the kind of deployment is known, or cannot be told, and the user lacks something that
    ///   is needed; the message holds the statement that mends it.
    /// - [`ErrorKind::Unsupported`] when the answer is not PostgreSQL's.
    pub fn judge(rows: &Rows, hint: EndpointHint) -> Result<Self> {
        let evidence = Evidence::read(rows)?;
        if evidence.access(AURORA[0]) != Access::Absent || evidence.offers("aurora_stat_utils") == Some(true)
        {
            return aurora(&evidence);
        }
        let known = TOOLS.iter().any(|function| evidence.access(function) != Access::Absent);
        let is_rds = evidence.is_rds() || known;
        if !is_rds {
            let mut detected = found(DialectId::Pg)?;
            if hint == EndpointHint::Cluster {
                detected.note = Some(
                    "the host name is that of an RDS cluster, but the server shows no sign of RDS; it is taken for \
                     community PostgreSQL without a topology"
                        .to_owned(),
                );
            }
            return Ok(Self::Found(detected));
        }
        let obstacle = Obstacle::find(&evidence);
        match (hint, obstacle) {
            // A cluster endpoint that is not Aurora's is that of a Multi-AZ DB cluster, whatever can be asked.
            (EndpointHint::Cluster, Some(obstacle)) => Err(obstacle.error(&evidence)),
            (EndpointHint::Cluster, None) => found(DialectId::RdsMultiAzPgCluster).map(Self::Found),
            (_, None) => Ok(Self::Ask(Question(About::MultiAz))),
            (_, Some(obstacle @ (Obstacle::NoUsage | Obstacle::NoExecute))) => Err(Error::new(
                ErrorKind::Grant,
                format!(
                    "cannot tell whether this is an RDS Multi-AZ DB cluster: {}; if it is a single RDS instance, set \
                         `wrapper_dialect=rds-pg` instead",
                    obstacle.describe(&evidence)
                ),
            )),
            (_, Some(obstacle)) => {
                let mut detected = found(DialectId::RdsPg)?;
                detected.note = Some(format!(
                    "taken for a single RDS instance; if it belongs to a Multi-AZ DB cluster: {}",
                    obstacle.describe(&evidence)
                ));
                Ok(Self::Found(detected))
            }
        }
    }
}

fn aurora(evidence: &Evidence) -> Result<Detection> {
    let called = || AURORA.iter().chain(&GLOBAL);
    if let Some(missing) = AURORA.iter().find(|function| evidence.access(function) == Access::Absent) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "this is Aurora PostgreSQL without the function `{missing}`; upgrade the engine, or set \
                 `wrapper_dialect=rds-pg` to go without a topology"
            ),
        ));
    }
    let denied: Vec<String> = called()
        .filter(|function| evidence.access(function) == Access::Denied)
        .map(|function| format!("{function}()"))
        .collect();
    if !denied.is_empty() {
        return Err(Error::new(
            ErrorKind::Grant,
            format!(
                "cannot read the topology of the Aurora cluster: the user {user} may not call {list}; run in the database \
                 `{database}` as an administrator: GRANT EXECUTE ON FUNCTION {list} TO {user}",
                user = evidence.user,
                list = denied.join(", "),
                database = evidence.database,
            ),
        ));
    }
    if GLOBAL.iter().all(|function| evidence.access(function) == Access::Allowed) {
        return Ok(Detection::Ask(Question(About::Global)));
    }
    found(DialectId::AuroraPg).map(Detection::Found)
}

fn found(id: DialectId) -> Result<Detected> {
    Ok(Detected { dialect: dialect_for(id)?, note: None })
}

/// Finds out which dialect the server speaks: one round trip, and a second one only where a function has to be called.
///
/// # Errors
/// - [`ErrorKind::Grant`] when something is missing; the message holds the statement that mends it.
/// - [`ErrorKind::Unsupported`] on a Global Database of several regions, or on a server that is not PostgreSQL.
/// - The error of the statement: network, time-out.
///
/// # Cancellation
/// Safe: the connection stays usable, and no transaction is left open or failed.
pub async fn detect_dialect(
    connection: &dyn DriverConnection,
    hint: EndpointHint,
    deadline: Deadline,
) -> Result<Detected> {
    let rows = connection.fetch_text(DETECTION_SQL, deadline).await.map_err(grants::explain_detection)?;
    match Detection::judge(&rows, hint)? {
        Detection::Found(detected) => Ok(detected),
        Detection::Ask(question) => match connection.fetch_text(question.sql(), deadline).await {
            Ok(rows) => question.answer(&rows),
            Err(error) => question.failed(error),
        },
    }
}
