//! The kinds of cluster that a scripted one can be.

use crate::dialect::{DialectId, Engine};

/// What a scripted cluster answers as; Aurora PostgreSQL unless told otherwise.
///
/// Beside the answers to the library's questions it decides the port, how a starting server refuses connects, how a
/// write is refused on a reader, and whether a refused statement fails the transaction around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavour {
    /// An Aurora PostgreSQL cluster.
    #[default]
    AuroraPostgres,
    /// An RDS Multi-AZ DB cluster for PostgreSQL.
    MultiAzPostgres,
    /// An Aurora MySQL cluster.
    AuroraMysql,
    /// An RDS Multi-AZ DB cluster for MySQL.
    MultiAzMysql,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::AuroraPostgres, Self::MultiAzPostgres, Self::AuroraMysql, Self::MultiAzMysql];

    /// The dialect that its servers speak.
    pub fn dialect(self) -> DialectId {
        match self {
            Self::AuroraPostgres => DialectId::AuroraPg,
            Self::MultiAzPostgres => DialectId::RdsMultiAzPgCluster,
            Self::AuroraMysql => DialectId::AuroraMysql,
            Self::MultiAzMysql => DialectId::RdsMultiAzMysqlCluster,
        }
    }

    /// The language family of its servers.
    pub fn engine(self) -> Engine {
        match self {
            Self::AuroraPostgres | Self::MultiAzPostgres => Engine::Postgres,
            Self::AuroraMysql | Self::MultiAzMysql => Engine::Mysql,
        }
    }

    /// Whether it is a Multi-AZ DB cluster: a commit waits for a replica there, so that an old writer that knows of no
    /// other can acknowledge nothing.
    pub fn is_multi_az(self) -> bool {
        matches!(self, Self::MultiAzPostgres | Self::MultiAzMysql)
    }

    /// The port that its hosts listen on.
    pub fn port(self) -> u16 {
        self.engine().default_port()
    }

    /// The id that the topology knows a host by: on a Multi-AZ DB cluster it is not the instance's name.
    pub(super) fn host_id(self, index: usize) -> String {
        match self {
            Self::AuroraPostgres | Self::AuroraMysql => super::names::instance_id(index),
            Self::MultiAzPostgres => format!("db-RESOURCE{}", index + 1),
            Self::MultiAzMysql => (1_001 + index).to_string(),
        }
    }
}
