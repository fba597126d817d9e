//! Which dialect of the MySQL family a server speaks, found out on the first connection.

use crate::dialect::host_row::optional;
use crate::dialect::{Detected, DialectId, EndpointHint, dialect_for, mysql_grants};
use crate::driver::{DriverConnection, Rows};
use crate::env::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// Tells all that variables tell: rows of name and value, and no error whatever the server lacks. Every user may ask.
pub const MYSQL_DETECTION_SQL: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
                                       ('version', 'version_comment', 'report_host', 'aurora_version')";

/// How many regions a Global Database has: one row, `regions`. Other clusters have no such table.
const REGIONS_SQL: &str = "SELECT COUNT(*) AS regions FROM information_schema.aurora_global_db_status";

/// How many instances a Multi-AZ DB cluster lists: one row, `hosts`.
const HOSTS_SQL: &str = "SELECT COUNT(*) AS hosts FROM mysql.rds_topology";

/// What RDS's servers say of their build, unlike MySQL's and MariaDB's own.
const RDS_COMMENT: &str = "Source distribution";

/// What follows from the answer to [`MYSQL_DETECTION_SQL`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MysqlDetection {
    /// It is certain.
    Found(Detected),
    /// One table has to be read to tell.
    Ask(MysqlQuestion),
}

/// The second question of a detection.
#[derive(Clone, Copy, Debug)]
pub struct MysqlQuestion {
    about: About,
    hint: EndpointHint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Global,
    MultiAz,
}

impl MysqlDetection {
    /// Judges the answer to [`MYSQL_DETECTION_SQL`] in the order Aurora (of one region or several), MariaDB,
    /// Multi-AZ, RDS, MySQL.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the answer is not that of a MySQL-family server.
    pub fn judge(rows: &Rows, hint: EndpointHint) -> Result<Self> {
        let variable = |name: &str| {
            let named = |row: &usize| {
                rows.get(*row, "Variable_name").is_some_and(|found| found.eq_ignore_ascii_case(name))
            };
            (0..rows.len()).find(named).and_then(|row| optional(rows, row, "Value"))
        };
        let Some(version) = variable("version") else {
            return Err(Error::new(
                if rows.is_empty() { ErrorKind::Topology } else { ErrorKind::Unsupported },
                format!(
                    "the server did not answer the detection statement as MySQL does: {} row(s), columns [{}]; name \
                     its kind with `wrapper_dialect`",
                    rows.len(),
                    rows.columns().join(", ")
                ),
            ));
        };
        let ask = |about| Ok(Self::Ask(MysqlQuestion { about, hint }));
        if variable("aurora_version").is_some() {
            return ask(About::Global);
        }
        if version.to_ascii_lowercase().contains("mariadb") {
            return found(DialectId::Mariadb, no_topology(hint, "MariaDB")).map(Self::Found);
        }
        let comment = variable("version_comment").unwrap_or_default();
        if !comment.eq_ignore_ascii_case(RDS_COMMENT) {
            return found(DialectId::Mysql, no_topology(hint, "community MySQL")).map(Self::Found);
        }
        // A cluster endpoint that is not Aurora's is that of a Multi-AZ DB cluster; only its instances report a host.
        if hint == EndpointHint::Cluster || variable("report_host").is_some() {
            return ask(About::MultiAz);
        }
        found(DialectId::RdsMysql, None).map(Self::Found)
    }
}

impl MysqlQuestion {
    /// The statement.
    pub fn sql(&self) -> &'static str {
        match self.about {
            About::Global => REGIONS_SQL,
            About::MultiAz => HOSTS_SQL,
        }
    }

    /// What follows from its answer.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on a Global Database of several regions; [`ErrorKind::Topology`] when the answer is
    /// not one.
    pub fn answer(&self, rows: &Rows) -> Result<Detected> {
        let column = match self.about {
            About::Global => "regions",
            About::MultiAz => "hosts",
        };
        let count = optional(rows, 0, column).and_then(|count| count.parse::<u64>().ok());
        let count = count.ok_or_else(|| {
            Error::new(ErrorKind::Topology, format!("the server did not answer `{}`", self.sql()))
        })?;
        match self.about {
            About::Global if count > 1 => found(DialectId::GlobalAuroraMysql, None),
            About::Global => found(DialectId::AuroraMysql, None),
            About::MultiAz if count > 0 => found(DialectId::RdsMultiAzMysqlCluster, None),
            About::MultiAz => found(DialectId::RdsMysql, no_topology(self.hint, "a single RDS instance")),
        }
    }

    /// What follows when its statement failed: a table that is not there is a "no". Every other failure says nothing
    /// about the server. `user` is the answer to the question for the user's name, where it was asked.
    ///
    /// # Errors
    /// `error` itself, or with the statement that mends it where a right is missing.
    pub fn failed(&self, error: Error, user: Option<&Rows>) -> Result<Detected> {
        match self.about {
            // In `information_schema` a table is there for all or for nobody.
            About::Global if mysql_grants::is_absent(&error) => found(DialectId::AuroraMysql, None),
            About::MultiAz if mysql_grants::is_absent(&error) => {
                found(DialectId::RdsMysql, no_topology(self.hint, "a single RDS instance"))
            }
            About::MultiAz if mysql_grants::is_denied(&error) => {
                Err(mysql_grants::explain_multi_az(error, user))
            }
            _ => Err(error),
        }
    }
}

/// A remark for a host name that promised more.
fn no_topology(hint: EndpointHint, kind: &str) -> Option<String> {
    (hint == EndpointHint::Cluster).then(|| {
        format!(
            "the host name is that of an RDS cluster, but the server shows no sign of one; it is taken for {kind} \
             without a topology"
        )
    })
}

fn found(id: DialectId, note: Option<String>) -> Result<Detected> {
    Ok(Detected { dialect: dialect_for(id)?, note })
}

/// Finds out which dialect of the MySQL family the server speaks: one round trip, and a second one on Aurora and on
/// what may be a Multi-AZ DB cluster.
///
/// # Errors
/// - [`ErrorKind::Grant`] when the user may not read `mysql.rds_topology`; the message holds the GRANT statement.
/// - [`ErrorKind::Unsupported`] on a Global Database of several regions, or on a server of another family.
/// - The error of the statement: network, time-out.
///
/// # Cancellation
/// Safe: the connection stays usable; no statement opens or ends a transaction.
pub async fn detect_mysql_dialect(
    connection: &dyn DriverConnection,
    hint: EndpointHint,
    deadline: Deadline,
) -> Result<Detected> {
    let rows = connection.fetch_text(MYSQL_DETECTION_SQL, deadline).await?;
    let question = match MysqlDetection::judge(&rows, hint)? {
        MysqlDetection::Found(detected) => return Ok(detected),
        MysqlDetection::Ask(question) => question,
    };
    let error = match connection.fetch_text(question.sql(), deadline).await {
        Ok(rows) => return question.answer(&rows),
        Err(error) => error,
    };
    let user = if mysql_grants::is_denied(&error) {
        // For the text alone: without it the text names no user.
        connection.fetch_text(mysql_grants::USER_SQL, deadline).await.ok()
    } else {
        None
    };
    question.failed(error, user.as_ref())
}
