//! What a user lacks to be told the topology, and the statement that mends it.

use crate::dialect::evidence::{Access, Evidence};
use crate::driver::Rows;
use crate::error::{Error, ErrorKind};

/// The functions of `rds_tools` that the library calls.
pub(super) const TOOLS: [&str; 3] = [
    "rds_tools.show_topology",
    "rds_tools.dbi_resource_id",
    "rds_tools.multi_az_db_cluster_source_dbi_resource_id",
];

/// What stands between the user and the topology of a Multi-AZ DB cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The engine is older than the first one with the functions.
    EngineTooOld,
    /// The extension is not installed in this database.
    NoExtension,
    /// The extension is installed, but an old version of it.
    OldExtension,
    /// No USAGE on the schema.
    NoUsage,
    /// No EXECUTE on a function.
    NoExecute,
}

impl Obstacle {
    /// The first one in the way, in the order in which they have to be mended.
    pub(super) fn find(evidence: &Evidence) -> Option<Self> {
        let access = TOOLS.map(|function| evidence.access(function));
        if access.contains(&Access::Absent) {
            if !engine_has_tools(evidence.version) {
                return Some(Self::EngineTooOld);
            }
            if evidence.tools_version.is_some() || access.iter().any(|access| *access != Access::Absent) {
                return Some(Self::OldExtension);
            }
            return Some(if evidence.offers("rds_tools") == Some(false) {
                Self::EngineTooOld
            } else {
                Self::NoExtension
            });
        }
        if evidence.tools_usage != Some(true) {
            return Some(Self::NoUsage);
        }
        access.contains(&Access::Denied).then_some(Self::NoExecute)
    }

    pub(super) fn error(self, evidence: &Evidence) -> Error {
        let text = self.describe(evidence);
        Error::new(ErrorKind::Grant, format!("cannot read the topology of the Multi-AZ DB cluster: {text}"))
    }

    /// What is missing, and what mends it.
    pub(super) fn describe(self, evidence: &Evidence) -> String {
        let Evidence { user, database, .. } = evidence;
        let usage = format!("GRANT USAGE ON SCHEMA rds_tools TO {user}");
        let execute = format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools TO {user}");
        let denied = TOOLS.iter().any(|function| evidence.access(function) == Access::Denied);
        let (why, mend) = match self {
            Self::EngineTooOld => (
                format!(
                    "the engine, version {}, has no extension `rds_tools` with the functions for it",
                    version_text(evidence.version)
                ),
                "upgrade the engine to at least 13.12, 14.9 or 15.4".to_owned(),
            ),
            Self::NoExtension => (
                format!("the extension `rds_tools` is not installed in the database `{database}`"),
                format!(
                    "run in this database as an administrator: CREATE EXTENSION rds_tools; {usage}; {execute}"
                ),
            ),
            Self::OldExtension => (
                format!(
                    "the extension `rds_tools` in the database `{database}`, version {}, lacks a function for it",
                    evidence.tools_version.as_deref().unwrap_or("unknown")
                ),
                "run in this database as an administrator: ALTER EXTENSION rds_tools UPDATE".to_owned(),
            ),
            Self::NoUsage => (
                format!(
                    "the user {user} has no USAGE on the schema `rds_tools` of the database `{database}`"
                ),
                if denied {
                    format!("run in this database as an administrator: {usage}; {execute}")
                } else {
                    format!("run in this database as an administrator: {usage}")
                },
            ),
            Self::NoExecute => (
                format!(
                    "the user {user} has no EXECUTE on functions of the schema `rds_tools` of the database `{database}`"
                ),
                format!("run in this database as an administrator: {execute}"),
            ),
        };
        format!("{why}; {mend}")
    }
}

/// The first engine versions whose `rds_tools` has the functions: 13.12, 14.9, 15.4, and all of 16 and later.
fn engine_has_tools(version: u32) -> bool {
    match version / 10_000 {
        13 => version >= 130_012,
        14 => version >= 140_009,
        15 => version >= 150_004,
        major => major > 15,
    }
}

fn version_text(version: u32) -> String {
    format!("{}.{}", version / 10_000, version % 10_000)
}

/// Whether a query failed for want of a right, of a function or of a schema, and not for another reason.
fn is_about_access(error: &Error) -> bool {
    is_denied(error) || matches!(error.sqlstate(), Some("42883" | "3F000"))
}

fn is_denied(error: &Error) -> bool {
    error.sqlstate() == Some("42501")
}

/// Keeps the server's error as the cause and its SQLSTATE as the SQLSTATE.
fn caused_by(cause: Error, error: Error) -> Error {
    let sqlstate = cause.sqlstate().map(str::to_owned);
    let error = error.with_source(cause);
    match sqlstate {
        Some(sqlstate) => error.with_sqlstate(sqlstate),
        None => error,
    }
}

/// The failed query of a Multi-AZ DB cluster, explained by the evidence where there is some.
pub(super) fn explain_multi_az(error: Error, evidence: Option<&Rows>) -> Error {
    if !is_about_access(&error) {
        return error;
    }
    let found = evidence.and_then(|rows| Evidence::read(rows).ok());
    let named = found.as_ref().and_then(|evidence| Some(Obstacle::find(evidence)?.error(evidence)));
    let explained = named.unwrap_or_else(|| {
        let text = if is_denied(&error) {
            "cannot read the topology of the Multi-AZ DB cluster: the user lacks a right on the schema `rds_tools` or \
             on its functions; run in this database as an administrator: GRANT USAGE ON SCHEMA rds_tools TO the user; \
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools TO the user"
        } else {
            "cannot read the topology of the Multi-AZ DB cluster: the extension `rds_tools` is absent from this \
             database, or old; run in this database as an administrator: CREATE EXTENSION rds_tools, or ALTER \
             EXTENSION rds_tools UPDATE"
        };
        Error::new(ErrorKind::Grant, text)
    });
    caused_by(error, explained)
}

/// The failed query of an Aurora cluster.
pub(super) fn explain_aurora(error: Error) -> Error {
    if is_denied(&error) {
        let explained = Error::new(
            ErrorKind::Grant,
            "cannot read the topology of the Aurora cluster: the user may not call its functions; run in this database \
             as an administrator: GRANT EXECUTE ON FUNCTION pg_catalog.aurora_replica_status(), \
             pg_catalog.aurora_db_instance_identifier() TO the user",
        );
        return caused_by(error, explained);
    }
    if is_about_access(&error) {
        let explained = Error::new(
            ErrorKind::Grant,
            "cannot read the topology: the server has no function `aurora_replica_status`, so it is not Aurora \
             PostgreSQL; leave `wrapper_dialect` out to have the kind of database detected",
        );
        return caused_by(error, explained);
    }
    error
}

/// The detection statement itself was refused: somebody took away what every user may read.
pub(super) fn explain_detection(error: Error) -> Error {
    if !is_denied(&error) {
        return error;
    }
    let explained = Error::new(
        ErrorKind::Grant,
        "cannot detect the kind of database: the user may not read the catalogs or the parameter `rds.extensions`; grant \
         SELECT on pg_proc, pg_namespace, pg_roles and pg_extension in the schema pg_catalog, or name the kind with \
         `wrapper_dialect`",
    );
    caused_by(error, explained)
}
