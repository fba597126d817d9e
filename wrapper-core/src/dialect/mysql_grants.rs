//! What a MySQL user lacks to be told the topology, and the statement that mends it.

use crate::dialect::host_row::optional;
use crate::driver::Rows;
use crate::error::{Error, ErrorKind};

/// Who is asking, as grants name it: one row, `user_name`.
pub(super) const USER_SQL: &str = "SELECT CURRENT_USER() AS user_name";

/// The server's numbers for what a user may not do: a schema, a table, a column, a privilege.
const DENIED: [u16; 4] = [1044, 1142, 1143, 1227];

/// The server's numbers for a table that is not there; `information_schema` has one of its own.
const ABSENT: [u16; 2] = [1109, 1146];

/// An unknown system variable.
const UNKNOWN_VARIABLE: u16 = 1193;

pub(super) fn is_denied(error: &Error) -> bool {
    error.server_code().is_some_and(|code| DENIED.contains(&code))
}

pub(super) fn is_absent(error: &Error) -> bool {
    error.server_code().is_some_and(|code| ABSENT.contains(&code))
}

/// Keeps the server's error as the cause, and its SQLSTATE and number.
fn caused_by(cause: Error, text: String) -> Error {
    let (sqlstate, code) = (cause.sqlstate().map(str::to_owned), cause.server_code());
    let mut error = Error::new(ErrorKind::Grant, text).with_source(cause);
    if let Some(sqlstate) = sqlstate {
        error = error.with_sqlstate(sqlstate);
    }
    match code {
        Some(code) => error.with_server_code(code),
        None => error,
    }
}

/// The user as it stands in a GRANT: `'app'@'%'`.
fn grantee(evidence: Option<&Rows>) -> String {
    let name =
        evidence.and_then(|rows| optional(rows, 0, "user_name")).and_then(|name| name.rsplit_once('@'));
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    name.map_or("the user".to_owned(), |(user, host)| format!("{}@{}", quoted(user), quoted(host)))
}

/// The failed query of a Multi-AZ DB cluster, with the user's name where it is known.
pub(super) fn explain_multi_az(error: Error, evidence: Option<&Rows>) -> Error {
    let user = grantee(evidence);
    if error.server_code() == Some(1227) {
        let text = format!(
            "cannot tell the writer of the Multi-AZ DB cluster: {user} may not ask for the replica status; run as an \
             administrator: GRANT REPLICATION CLIENT ON *.* TO {user}"
        );
        return caused_by(error, text);
    }
    if is_denied(&error) {
        let text = format!(
            "cannot read the topology of the Multi-AZ DB cluster: {user} may not read its table; run as an \
             administrator: GRANT SELECT ON mysql.rds_topology TO {user}"
        );
        return caused_by(error, text);
    }
    if is_absent(&error) {
        let text = "cannot read the topology: the server has no table `mysql.rds_topology`, so it does not belong to \
                    an RDS Multi-AZ DB cluster for MySQL; leave `wrapper_dialect` out to have the kind of database \
                    detected";
        return caused_by(error, text.to_owned());
    }
    error
}

/// The failed query of an Aurora cluster. Its own users need no grant.
pub(super) fn explain_aurora(error: Error) -> Error {
    if is_absent(&error) || error.server_code() == Some(UNKNOWN_VARIABLE) {
        let text = "cannot read the topology: the server has no table `information_schema.replica_host_status`, or no \
                    variable `aurora_server_id`, so it is not Aurora MySQL; leave `wrapper_dialect` out to have the \
                    kind of database detected";
        return caused_by(error, text.to_owned());
    }
    error
}
