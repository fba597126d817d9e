//! The tables and views of MySQL's own schemas, and what SHOW answers.
//!
//! What may not live here: tables of the user (`store`), system variables (`variables.rs`).

use pgwire::api::Type;

use crate::sim::error::SqlError;
use crate::sim::flavour::{Flavour, RdsTools};
use crate::sim::sql::value::{Value, now_micros};
use crate::sim::sql::{Env, Facts, Member, OutColumn};

/// A table or view that the server has by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MysqlView {
    /// `information_schema.replica_host_status` of Aurora.
    ReplicaHostStatus,
    /// `mysql.rds_topology` of a Multi-AZ DB cluster.
    RdsTopology,
    Tables,
    Processlist,
    Variables,
    ReplicaStatus,
    /// The same with the names of MySQL 5.7.
    SlaveStatus,
    ShowTables,
    Warnings,
}

impl MysqlView {
    /// Finds a view by its name in lower case.
    ///
    /// # Errors
    /// 1109 for a name that `information_schema` does not have, 1142 for a table that may not be read.
    pub(crate) fn find(facts: &dyn Facts, name: &str) -> Result<Option<Self>, SqlError> {
        Ok(Some(match name {
            "information_schema.replica_host_status" if facts.flavour() == Flavour::Aurora => {
                Self::ReplicaHostStatus
            }
            "mysql.rds_topology" if facts.flavour() == Flavour::MultiAz => match facts.rds_tools() {
                RdsTools::Granted => Self::RdsTopology,
                RdsTools::Absent => return Ok(None),
                _ => {
                    let message = "SELECT command denied to user for table 'rds_topology'";
                    return Err(SqlError::mysql(1142, "42000", message));
                }
            },
            "information_schema.tables" => Self::Tables,
            "information_schema.processlist" | "information_schema.show_processlist" => Self::Processlist,
            "information_schema.show_variables" => Self::Variables,
            "information_schema.show_replica_status" => Self::ReplicaStatus,
            "information_schema.show_slave_status" => Self::SlaveStatus,
            "information_schema.show_tables" => Self::ShowTables,
            "information_schema.show_warnings" => Self::Warnings,
            other => match other.strip_prefix("information_schema.") {
                Some(bare) => {
                    let message = format!("Unknown table '{bare}' in information_schema");
                    return Err(SqlError::mysql(1109, "42S02", message));
                }
                None => return Ok(None),
            },
        }))
    }

    /// Names and types of the columns.
    pub(crate) fn columns(self) -> Vec<OutColumn> {
        use Type as T;
        let of = |columns: &[(&str, Type)]| {
            columns.iter().map(|(name, ty)| OutColumn::new(name, ty.clone())).collect::<Vec<_>>()
        };
        match self {
            Self::ReplicaHostStatus => of(&[
                ("SERVER_ID", T::VARCHAR),
                ("SESSION_ID", T::VARCHAR),
                ("IOPS", T::INT4),
                ("READ_IOS", T::INT8),
                ("PENDING_READ_IOS", T::INT4),
                ("CPU", T::FLOAT8),
                ("DURABLE_LSN", T::INT8),
                ("REPLICA_LAG_IN_MILLISECONDS", T::FLOAT8),
                ("LAST_UPDATE_TIMESTAMP", T::TIMESTAMP),
                ("IS_CURRENT", T::INT2),
            ]),
            Self::RdsTopology => of(&[("id", T::VARCHAR), ("endpoint", T::VARCHAR), ("port", T::INT4)]),
            Self::Tables => of(&[("TABLE_SCHEMA", T::VARCHAR), ("TABLE_NAME", T::VARCHAR)]),
            Self::Processlist => of(&[
                ("ID", T::INT8),
                ("USER", T::VARCHAR),
                ("HOST", T::VARCHAR),
                ("DB", T::VARCHAR),
                ("COMMAND", T::VARCHAR),
            ]),
            Self::Variables => of(&[("Variable_name", T::VARCHAR), ("Value", T::VARCHAR)]),
            Self::ReplicaStatus | Self::SlaveStatus => {
                let (replica, source) = self.names();
                of(&[
                    (&format!("{replica}_IO_State"), T::VARCHAR),
                    (&format!("{source}_Host"), T::VARCHAR),
                    (&format!("{source}_Port"), T::INT4),
                    (&format!("{replica}_IO_Running"), T::VARCHAR),
                    (&format!("{replica}_SQL_Running"), T::VARCHAR),
                    (&format!("Seconds_Behind_{source}"), T::INT8),
                    (&format!("{source}_Server_Id"), T::INT8),
                ])
            }
            Self::ShowTables => of(&[("Tables_in_database", T::VARCHAR)]),
            Self::Warnings => of(&[("Level", T::VARCHAR), ("Code", T::INT4), ("Message", T::VARCHAR)]),
        }
    }

    fn names(self) -> (&'static str, &'static str) {
        if self == Self::SlaveStatus { ("Slave", "Master") } else { ("Replica", "Source") }
    }

    /// The rows, as this server sees them now.
    pub(crate) fn rows(self, env: &mut Env<'_>) -> Vec<Vec<Value>> {
        let text = |text: &str| Value::text(text);
        match self {
            Self::ReplicaHostStatus => env.facts.topology().iter().map(replica_host_status).collect(),
            Self::RdsTopology => {
                let row = |member: Member| {
                    vec![
                        text(&member.server_id.to_string()),
                        text(&member.endpoint),
                        Value::Int(member.port.into()),
                    ]
                };
                env.facts.topology().into_iter().map(row).collect()
            }
            Self::Tables => {
                let schema = text(&env.identity.database);
                let mut rows: Vec<_> =
                    env.db.tables().map(|table| vec![schema.clone(), text(&table.name)]).collect();
                let own = |schema: &str, name: &str| vec![text(schema), text(name)];
                match env.facts.flavour() {
                    Flavour::Plain => {}
                    Flavour::Aurora => rows.push(own("information_schema", "REPLICA_HOST_STATUS")),
                    // The view shows only what the session may read.
                    Flavour::MultiAz if env.facts.rds_tools() == RdsTools::Granted => {
                        rows.push(own("mysql", "rds_topology"));
                    }
                    Flavour::MultiAz => {}
                }
                rows
            }
            Self::Processlist => {
                let row = |session: crate::sim::sql::Activity| {
                    vec![
                        Value::Int(session.pid.into()),
                        text(&session.user),
                        text(&session.client.to_string()),
                        text(&session.database),
                        text("Sleep"),
                    ]
                };
                env.facts.sessions().into_iter().map(row).collect()
            }
            Self::Variables => {
                let all = super::variables::all(env.vars, env.facts);
                all.into_iter().map(|(name, value)| vec![text(&name), text(&value)]).collect()
            }
            Self::ReplicaStatus | Self::SlaveStatus => replica_status(env.facts),
            Self::ShowTables => env.db.tables().map(|table| vec![text(&table.name)]).collect(),
            Self::Warnings => Vec::new(),
        }
    }
}

fn replica_host_status(member: &Member) -> Vec<Value> {
    let age = member.updated.elapsed().unwrap_or_default();
    let zero = Value::Int(0);
    vec![
        Value::text(&member.instance),
        Value::text(if member.writer { "MASTER_SESSION_ID" } else { &member.session_id }),
        zero.clone(),
        zero.clone(),
        zero,
        Value::Float(member.cpu),
        Value::Int(1_000_000),
        Value::Float(if member.writer { 0.0 } else { member.lag.as_secs_f64() * 1e3 }),
        Value::Time(now_micros() - age.as_micros() as i64),
        Value::Int(1),
    ]
}

/// One row on a replica, none on the writer; the instances of Aurora share their storage and do not replicate.
fn replica_status(facts: &dyn Facts) -> Vec<Vec<Value>> {
    let topology = facts.topology();
    let Some(writer) = topology.iter().find(|member| member.writer) else { return Vec::new() };
    if facts.flavour() == Flavour::Aurora || !facts.in_recovery() || writer.server_id == facts.server_id() {
        return Vec::new();
    }
    let lag = topology
        .iter()
        .find(|member| member.server_id == facts.server_id())
        .map_or(0, |own| own.lag.as_secs() as i64);
    vec![vec![
        Value::text("Waiting for source to send event"),
        Value::text(&writer.endpoint),
        Value::Int(writer.port.into()),
        Value::text("Yes"),
        Value::text("Yes"),
        Value::Int(lag),
        Value::Int(writer.server_id as i64),
    ]]
}
