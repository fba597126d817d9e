//! The answers to the library's own questions, as each flavour gives them.

use tokio::time::Instant;

use super::flavour::Flavour;
use super::state::{Host, State};
use crate::dialect::{DETECTION_SQL, EndpointHint, Engine, MYSQL_DETECTION_SQL, MysqlDetection, dialect_for};
use crate::driver::Rows;
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostRole;

/// Seconds since 1970 at which the scripted cluster was last updated; it never moves, since no decision hangs on it.
const UPDATED: &str = "1795264546.5";

/// Answers `sql` on `host`.
pub(super) fn answer(state: &State, flavour: Flavour, host: usize, now: Instant, sql: &str) -> Result<Rows> {
    let server = Server { state, flavour, host: &state.hosts[host], now };
    let dialect = dialect_for(flavour.dialect())?;
    // Before the detection's: a question for the status may be its second one.
    if dialect.topology_query() == Some(sql) {
        return Ok(server.topology());
    }
    if sql == dialect.status_query() {
        return Ok(server.status());
    }
    if sql == dialect.role_query() {
        return Ok(one(vec![server.own_role()]));
    }
    if dialect.source_queries().first() == Some(&sql) {
        return Ok(server.source());
    }
    let first = match flavour.engine() {
        Engine::Mysql => MYSQL_DETECTION_SQL,
        _ => DETECTION_SQL,
    };
    if sql == first {
        return Ok(server.detection());
    }
    if let Some(answer) = server.second_question(sql) {
        return answer;
    }
    let unknown = format!("the scripted server does not know the statement: {sql}");
    Err(match flavour.engine() {
        Engine::Mysql => {
            Error::new(ErrorKind::Statement, unknown).with_sqlstate("42000").with_server_code(1064)
        }
        _ => Error::new(ErrorKind::Statement, unknown).with_sqlstate("42601"),
    })
}

/// A column and its value.
type Cell<'a> = (&'a str, Option<String>);

fn some<'a>(name: &'a str, value: impl ToString) -> Cell<'a> {
    (name, Some(value.to_string()))
}

/// An answer of one row.
fn one(cells: Vec<Cell<'_>>) -> Rows {
    table(vec![cells])
}

/// An answer whose rows have all the same columns.
fn table(rows: Vec<Vec<Cell<'_>>>) -> Rows {
    let columns = rows.first().map(|row| row.iter().map(|(name, _)| (*name).to_owned()).collect());
    let values = rows.into_iter().map(|row| row.into_iter().map(|(_, value)| value).collect());
    Rows::new(columns.unwrap_or_default(), values.collect())
}

/// A server that is asked.
struct Server<'a> {
    state: &'a State,
    flavour: Flavour,
    host: &'a Host,
    now: Instant,
}

impl Server<'_> {
    fn writes(&self) -> bool {
        self.host.role == HostRole::Writer
    }

    fn boolean(&self, value: bool) -> &'static str {
        match (self.flavour.engine(), value) {
            (Engine::Mysql, true) => "1",
            (Engine::Mysql, false) => "0",
            (_, true) => "t",
            (_, false) => "f",
        }
    }

    /// What its own state says, which needs no topology.
    fn own_role(&self) -> Cell<'static> {
        let column = match self.flavour.engine() {
            Engine::Mysql => "is_read_only",
            _ => "in_recovery",
        };
        some(column, self.boolean(!self.writes()))
    }

    /// The id of the host that it holds for the writer.
    fn writer_id(&self) -> Option<String> {
        self.host.view(self.now).map(|writer| self.state.hosts[writer].id.to_string())
    }

    /// The id of the host that it replicates from, if it does: that is all that a host of a Multi-AZ DB cluster holds.
    fn source_id(&self) -> Option<String> {
        if self.writes() { None } else { self.writer_id() }
    }

    fn status(&self) -> Rows {
        let own = some("own_id", &self.host.id);
        one(match self.flavour {
            Flavour::AuroraPostgres | Flavour::AuroraMysql => vec![
                self.own_role(),
                own,
                ("writer_id", self.writer_id()),
                some("hosts", self.host.view(self.now).map_or(0, |_| self.state.hosts.len())),
            ],
            Flavour::MultiAzPostgres => vec![self.own_role(), own, ("source_id", self.source_id())],
            Flavour::MultiAzMysql => vec![self.own_role(), own],
        })
    }

    fn topology(&self) -> Rows {
        let writer = self.host.view(self.now);
        let aurora = |index: usize, host: &Host| {
            let is_writer = writer == Some(index);
            let lag = (!is_writer).then(|| host.lag.as_millis().to_string());
            vec![
                some("server_id", &host.id),
                some("is_writer", self.boolean(is_writer)),
                some("cpu", 10),
                ("lag_ms", lag),
                some("updated", UPDATED),
            ]
        };
        let multi_az = |host: &Host| {
            let mut row = vec![
                some("id", &host.id),
                some("endpoint", &host.name),
                some("port", self.flavour.port()),
                some("own_id", &self.host.id),
                self.own_role(),
            ];
            if self.flavour == Flavour::MultiAzPostgres {
                row.push(("source_id", self.source_id()));
            }
            row
        };
        if writer.is_none() && !self.flavour.is_multi_az() {
            return Rows::default();
        }
        let hosts = self.state.hosts.iter().enumerate();
        table(
            hosts
                .map(
                    |(index, host)| {
                        if self.flavour.is_multi_az() { multi_az(host) } else { aurora(index, host) }
                    },
                )
                .collect(),
        )
    }

    /// The replica's status: no row on a host that replicates from nobody.
    fn source(&self) -> Rows {
        self.source_id().map_or_else(Rows::default, |id| one(vec![("Source_Server_Id", Some(id))]))
    }

    fn detection(&self) -> Rows {
        if self.flavour.engine() == Engine::Mysql {
            let mut variables = vec![("version", "8.0.39"), ("version_comment", "Source distribution")];
            variables.push(match self.flavour {
                Flavour::AuroraMysql => ("aurora_version", "3.08.0"),
                _ => ("report_host", &*self.host.name),
            });
            let row = |(name, value): (&str, &str)| vec![some("Variable_name", name), some("Value", value)];
            return table(variables.into_iter().map(row).collect());
        }
        let multi_az = self.flavour.is_multi_az();
        let functions = if multi_az {
            "rds_tools.show_topology,rds_tools.dbi_resource_id,rds_tools.multi_az_db_cluster_source_dbi_resource_id"
        } else {
            "pg_catalog.aurora_replica_status,pg_catalog.aurora_db_instance_identifier"
        };
        one(vec![
            some("version_num", "150004"),
            some("database_name", "shop"),
            some("user_name", "app"),
            ("rds_extensions", None),
            some("rds_roles", 1),
            ("tools_usage", multi_az.then(|| "t".to_owned())),
            ("tools_version", multi_az.then(|| "1.4".to_owned())),
            some("allowed_functions", functions),
            ("denied_functions", None),
        ])
    }

    /// What a server of the MySQL family is asked when its variables leave something open.
    fn second_question(&self, sql: &str) -> Option<Result<Rows>> {
        if self.flavour.engine() != Engine::Mysql {
            return None;
        }
        match MysqlDetection::judge(&self.detection(), EndpointHint::Cluster) {
            Ok(MysqlDetection::Ask(question)) if question.sql() == sql => {}
            _ => return None,
        }
        Some(if self.flavour.is_multi_az() {
            Ok(one(vec![some("hosts", self.state.hosts.len())]))
        } else {
            // The table of a Global Database, which this is not.
            let absent = "Unknown table 'AURORA_GLOBAL_DB_STATUS' in information_schema";
            Err(Error::new(ErrorKind::Statement, absent).with_sqlstate("42S02").with_server_code(1109))
        })
    }
}
