//! The answers to the library's own questions, as Aurora PostgreSQL gives them.

use tokio::time::Instant;

use super::state::State;
use crate::dialect::{DETECTION_SQL, DialectId, dialect_for};
use crate::driver::Rows;
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostRole;

/// Seconds since 1970 at which the scripted cluster was last updated; it never moves, since no decision hangs on it.
const UPDATED: &str = "1795264546.5";

/// Answers `sql` on `host`.
pub(super) fn answer(state: &State, host: usize, now: Instant, sql: &str) -> Result<Rows> {
    if sql == DETECTION_SQL {
        return Ok(detection());
    }
    let dialect = dialect_for(DialectId::AuroraPg)?;
    if dialect.topology_query() == Some(sql) {
        return Ok(topology(state, host, now));
    }
    if sql == dialect.status_query() {
        return Ok(status(state, host, now));
    }
    if sql == dialect.role_query() {
        return Ok(rows(&["in_recovery"], vec![vec![Some(recovery(state, host))]]));
    }
    Err(Error::new(ErrorKind::Statement, format!("the scripted server does not know the statement: {sql}"))
        .with_sqlstate("42601"))
}

fn rows(columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Rows {
    Rows::new(columns.iter().map(|column| (*column).to_owned()).collect(), rows)
}

fn recovery(state: &State, host: usize) -> String {
    let writes = state.hosts[host].role == HostRole::Writer;
    if writes { "f" } else { "t" }.to_owned()
}

fn detection() -> Rows {
    let columns = [
        ("version_num", Some("150004")),
        ("database_name", Some("shop")),
        ("user_name", Some("app")),
        ("rds_extensions", None),
        ("rds_roles", Some("1")),
        ("tools_usage", None),
        ("tools_version", None),
        (
            "allowed_functions",
            Some("pg_catalog.aurora_replica_status,pg_catalog.aurora_db_instance_identifier"),
        ),
        ("denied_functions", None),
    ];
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    rows(&names, vec![columns.iter().map(|(_, value)| value.map(str::to_owned)).collect()])
}

fn status(state: &State, host: usize, now: Instant) -> Rows {
    let here = &state.hosts[host];
    let writer = here.view(now).map(|writer| state.hosts[writer].id.to_string());
    rows(
        &["in_recovery", "own_id", "writer_id", "hosts"],
        vec![vec![
            Some(recovery(state, host)),
            Some(here.id.to_string()),
            writer,
            Some(state.hosts.len().to_string()),
        ]],
    )
}

fn topology(state: &State, host: usize, now: Instant) -> Rows {
    let writer = state.hosts[host].view(now);
    let row = |(index, host): (usize, &super::state::Host)| {
        let is_writer = writer == Some(index);
        let lag = (!is_writer).then(|| host.lag.as_millis().to_string());
        let flag = if is_writer { "t" } else { "f" };
        vec![
            Some(host.id.to_string()),
            Some(flag.to_owned()),
            Some("10".to_owned()),
            lag,
            Some(UPDATED.to_owned()),
        ]
    };
    let list = state.hosts.iter().enumerate().map(row).collect();
    rows(&["server_id", "is_writer", "cpu", "lag_ms", "updated"], list)
}
