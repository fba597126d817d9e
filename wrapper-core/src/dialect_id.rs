//! Names of engines and dialects, as settings spell them; users find them in [`dialect`](crate::dialect).
//!
//! What lives here: [`Engine`] and [`DialectId`], which drivers and settings name too. What may not: what a dialect asks.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::host::squash;

/// The language family that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// PostgreSQL and what is compatible with it.
    Postgres,
    /// MySQL and what is compatible with it.
    Mysql,
}

impl Engine {
    /// The port that a server of this engine listens on unless told otherwise.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
        })
    }
}

/// The kinds of database that the library knows by name.
///
/// ```
/// use wrapper_core::dialect::DialectId;
///
/// let id: DialectId = "multi-az-pg".parse()?; // the Python wrapper's code
/// assert_eq!(id.code(), "rds-multi-az-pg-cluster"); // the JDBC wrapper's
/// # Ok::<(), wrapper_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialectId {
    /// Community PostgreSQL.
    Pg,
    /// One RDS instance for PostgreSQL.
    RdsPg,
    /// An Aurora PostgreSQL cluster.
    AuroraPg,
    /// An Aurora PostgreSQL Global Database.
    GlobalAuroraPg,
    /// An RDS Multi-AZ DB cluster for PostgreSQL.
    RdsMultiAzPgCluster,
    /// Community MySQL.
    Mysql,
    /// One RDS instance for MySQL.
    RdsMysql,
    /// An Aurora MySQL cluster.
    AuroraMysql,
    /// An Aurora MySQL Global Database.
    GlobalAuroraMysql,
    /// An RDS Multi-AZ DB cluster for MySQL.
    RdsMultiAzMysqlCluster,
    /// MariaDB.
    Mariadb,
    /// A dialect that the user brought, with the name it gives itself.
    Custom(&'static str),
}

/// Every dialect that has a code, with the code first and its other accepted spellings after it.
const CODES: [(DialectId, &[&str]); 11] = [
    (DialectId::Pg, &["pg"]),
    (DialectId::RdsPg, &["rds-pg"]),
    (DialectId::AuroraPg, &["aurora-pg"]),
    (DialectId::GlobalAuroraPg, &["global-aurora-pg"]),
    (DialectId::RdsMultiAzPgCluster, &["rds-multi-az-pg-cluster", "multi-az-pg"]),
    (DialectId::Mysql, &["mysql"]),
    (DialectId::RdsMysql, &["rds-mysql"]),
    (DialectId::AuroraMysql, &["aurora-mysql"]),
    (DialectId::GlobalAuroraMysql, &["global-aurora-mysql"]),
    (DialectId::RdsMultiAzMysqlCluster, &["rds-multi-az-mysql-cluster", "multi-az-mysql"]),
    (DialectId::Mariadb, &["mariadb"]),
];

impl DialectId {
    /// Every dialect that has a code.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.into_iter().map(|(id, _)| id)
    }

    /// The stable name: the code that the JDBC wrapper uses, or the custom dialect's own.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pg => "pg",
            Self::RdsPg => "rds-pg",
            Self::AuroraPg => "aurora-pg",
            Self::GlobalAuroraPg => "global-aurora-pg",
            Self::RdsMultiAzPgCluster => "rds-multi-az-pg-cluster",
            Self::Mysql => "mysql",
            Self::RdsMysql => "rds-mysql",
            Self::AuroraMysql => "aurora-mysql",
            Self::GlobalAuroraMysql => "global-aurora-mysql",
            Self::RdsMultiAzMysqlCluster => "rds-multi-az-mysql-cluster",
            Self::Mariadb => "mariadb",
            Self::Custom(name) => name,
        }
    }
}

impl fmt::Display for DialectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for DialectId {
    type Err = Error;

    /// Reads a code of the Python or the JDBC wrapper, in any case and with `_` for `-`.
    ///
    /// # Errors
    /// A configuration error that lists the codes.
    fn from_str(text: &str) -> Result<Self> {
        let wanted = squash(text.trim());
        let found = CODES.iter().find(|(_, names)| names.iter().any(|name| squash(name) == wanted));
        found.map(|(id, _)| *id).ok_or_else(|| {
            let codes: Vec<&str> = CODES.iter().map(|(id, _)| id.code()).collect();
            Error::config(format!(
                "`wrapper_dialect={text}` is not a dialect; expected one of {}; a dialect of your own is given as an \
                 object, not by name",
                codes.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_code_reads_back() {
        for (id, names) in CODES {
            assert_eq!(names[0], id.code());
            for name in names {
                assert_eq!(name.parse::<DialectId>().unwrap(), id);
                assert_eq!(name.to_uppercase().parse::<DialectId>().unwrap(), id);
            }
        }
    }

    #[test]
    fn an_unknown_code_names_the_setting_and_the_choices() {
        let error = "postgres".parse::<DialectId>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains("wrapper_dialect=postgres") && text.contains("rds-multi-az-pg-cluster"),
            "{text}"
        );
    }
}
