//! What kind of cluster is simulated, and how far its metadata may be read.
//!
//! What may not live here: the answers themselves (`sql/functions.rs`, `sql/catalog.rs`).

/// Which protocol and SQL the simulated servers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// PostgreSQL.
    #[default]
    Postgres,
    /// MySQL.
    Mysql,
}

/// Which product's metadata the simulated servers answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// Community servers, a primary and its replicas; nothing that tells the topology.
    Plain,
    /// Amazon Aurora: `aurora_replica_status()` and its relatives; on MySQL `information_schema.replica_host_status`
    /// and `@@aurora_server_id`.
    #[default]
    Aurora,
    /// An RDS Multi-AZ DB cluster: `rds_tools.show_topology()` and its relatives; on MySQL `mysql.rds_topology` and
    /// `SHOW REPLICA STATUS`.
    MultiAz,
}

/// What a Multi-AZ cluster lets a session do with the extension `rds_tools`. On MySQL, where the table
/// `mysql.rds_topology` takes its place, all but [`Granted`](Self::Granted) and [`Absent`](Self::Absent) mean that the
/// table may not be read (1142).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RdsTools {
    /// Installed in this database, all grants given.
    #[default]
    Granted,
    /// `CREATE EXTENSION rds_tools` was never run in this database.
    Absent,
    /// Installed, but without USAGE on its schema.
    NoUsage,
    /// Installed with USAGE on the schema, but without EXECUTE on the functions.
    NoExecute,
    /// The engine is too old: the extension lacks the Multi-AZ functions.
    OldEngine,
}
