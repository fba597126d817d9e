//! What kind of cluster is simulated, and how far its metadata may be read.
//!
//! What may not live here: the answers themselves (`sql/functions.rs`, `sql/catalog.rs`).

/// Which product's metadata the simulated servers answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// Community PostgreSQL with a primary and hot standbys; no topology function.
    Plain,
    /// Amazon Aurora PostgreSQL: `aurora_replica_status()` and its relatives.
    #[default]
    Aurora,
    /// An RDS Multi-AZ DB cluster: `rds_tools.show_topology()` and its relatives.
    MultiAz,
}

/// What a Multi-AZ cluster lets a session do with the extension `rds_tools`.
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
