//! What the detection statement found out, typed.

use crate::dialect::host_row::{boolean, optional};
use crate::driver::Rows;
use crate::error::{Error, ErrorKind, Result};

/// What can be said of a function without calling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Absent,
    Denied,
    Allowed,
}

/// The answer to the detection statement.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// `server_version_num`, such as 150004.
    pub(super) version: u32,
    pub(super) database: String,
    /// Quoted for SQL by the server.
    pub(super) user: String,
    /// The value of `rds.extensions`; `None` on servers that are not RDS's.
    pub(super) extensions: Option<String>,
    /// Whether the server is RDS's by another sign.
    pub(super) rds_role: bool,
    /// Whether the user has USAGE on the schema `rds_tools`; `None` when there is no such schema.
    pub(super) tools_usage: Option<bool>,
    /// The version of the extension `rds_tools` in this database.
    pub(super) tools_version: Option<String>,
    allowed: Vec<String>,
    denied: Vec<String>,
}

impl Evidence {
    pub(super) fn read(rows: &Rows) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::new(
                ErrorKind::Topology,
                "the server answered the detection statement without a row, as happens in the middle of a failover",
            ));
        }
        let text = |column| optional(rows, 0, column).map(str::to_owned);
        let list = |column| optional(rows, 0, column).map(split).unwrap_or_default();
        let version = optional(rows, 0, "version_num").and_then(|version| version.parse().ok());
        let (Some(version), Some(database), Some(user)) = (version, text("database_name"), text("user_name"))
        else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the server did not answer the detection statement as PostgreSQL does: {} row(s), columns [{}]; \
                     name its kind with `wrapper_dialect`",
                    rows.len(),
                    rows.columns().join(", ")
                ),
            ));
        };
        Ok(Self {
            version,
            database,
            user,
            extensions: text("rds_extensions"),
            rds_role: optional(rows, 0, "rds_roles").is_some_and(|count| count != "0"),
            tools_usage: optional(rows, 0, "tools_usage").and_then(boolean),
            tools_version: text("tools_version"),
            allowed: list("allowed_functions"),
            denied: list("denied_functions"),
        })
    }

    /// What is known of a function, by its qualified name.
    pub(super) fn access(&self, function: &str) -> Access {
        let listed = |names: &[String]| names.iter().any(|name| name == function);
        if listed(&self.allowed) {
            Access::Allowed
        } else if listed(&self.denied) {
            Access::Denied
        } else {
            Access::Absent
        }
    }

    /// Whether RDS offers this extension on the server; `None` when RDS does not say.
    pub(super) fn offers(&self, extension: &str) -> Option<bool> {
        self.extensions.as_deref().map(|list| split(list).iter().any(|name| name == extension))
    }

    /// Whether the server is one of RDS's.
    pub(super) fn is_rds(&self) -> bool {
        self.extensions.is_some() || self.rds_role
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}
