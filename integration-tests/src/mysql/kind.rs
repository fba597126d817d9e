//! The two families of servers, and the SQL in which they differ. What is the same for both stands where it is used.

use std::net::SocketAddr;
use std::time::Duration;

use super::conf::HARNESS;

/// The family of a cluster's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MySqlKind {
    /// MariaDB, 10.5 or newer.
    MariaDb,
    /// MySQL, or a build of it such as Percona's, 8.4 or newer.
    MySql,
}

impl MySqlKind {
    /// The family's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        }
    }

    /// Asks for the transactions that a server has, its own and those it replicated: all are in its log.
    pub(crate) fn position(self) -> &'static str {
        match self {
            Self::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
            Self::MySql => "SELECT @@GLOBAL.gtid_executed",
        }
    }

    /// How many transactions a position stands for. Of two positions in one history the later has the larger number.
    pub(crate) fn number(self, position: &str) -> u64 {
        let parts = position.split(',').map(str::trim);
        match self {
            // `0-1131170323-57`; only one domain is in use, and a server goes on with its source's number.
            Self::MariaDb => {
                let last = parts.rev().find(|part| part.starts_with("0-"));
                last.and_then(|part| part.rsplit('-').next()?.parse().ok()).unwrap_or_default()
            }
            // `3E11FA47-…:1-57,4F22…:1-3:5`: each server counts its own.
            Self::MySql => parts.flat_map(|part| part.split(':').skip(1)).map(length).sum(),
        }
    }

    /// The column of the replica status that has the position up to which a replica has received.
    pub(crate) fn received(self) -> &'static str {
        match self {
            Self::MariaDb => "Gtid_IO_Pos",
            Self::MySql => "Retrieved_Gtid_Set",
        }
    }

    /// Asks to wait until a replica has applied a position; answers 0 when it has.
    pub(crate) fn wait_for(self, position: &str, limit: Duration) -> String {
        let function = match self {
            Self::MariaDb => "MASTER_GTID_WAIT",
            Self::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
        };
        // MySQL waits for ever when told 0.
        format!("SELECT {function}('{position}', {:.3})", limit.as_secs_f64().max(0.001))
    }

    /// Makes a stopped replica follow a source from where its own log, which ends at `position`, ends.
    pub(crate) fn change_source(self, source: SocketAddr, secret: &str, position: &str) -> Vec<String> {
        let (host, port) = (source.ip(), source.port());
        match self {
            Self::MariaDb => vec![
                // The position in the table may be another one after a crash, or after a time as the writer.
                format!("SET GLOBAL gtid_slave_pos = '{position}'"),
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, MASTER_USER = '{HARNESS}', \
                     MASTER_PASSWORD = '{secret}', MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1, \
                     MASTER_USE_GTID = slave_pos"
                ),
            ],
            // A server that was killed may be unable to go on from its files (error 1872). Nothing in them is needed:
            // what it has not applied is sent again.
            // A server that was killed may be unable to go on from its files (error 1872). Nothing in them is needed:
            // what it has not applied is sent again.
            Self::MySql => vec![
                "RESET REPLICA ALL".to_owned(),
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}, \
                     SOURCE_USER = '{HARNESS}', SOURCE_PASSWORD = '{secret}', SOURCE_SSL = 0, \
                     GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 0, \
                     SOURCE_HEARTBEAT_PERIOD = 1, SOURCE_AUTO_POSITION = 1"
                ),
            ],
        }
    }

    /// Asks for the ids of the threads that apply, where they have to be killed to be stopped at once.
    ///
    /// MySQL's wait up to a minute for the rest of a transaction of which they have seen a part; it never comes when
    /// nothing is received any more.
    pub(crate) fn appliers(self) -> Option<&'static str> {
        match self {
            Self::MariaDb => None,
            Self::MySql => Some(
                "SELECT GROUP_CONCAT(id ORDER BY id) FROM information_schema.processlist WHERE user = 'system user'",
            ),
        }
    }

    /// The variable by which commits wait for a replica.
    pub(crate) fn waits(self) -> &'static str {
        match self {
            Self::MariaDb => "rpl_semi_sync_master_enabled",
            Self::MySql => "rpl_semi_sync_source_enabled",
        }
    }

    /// The variable by which a replica acknowledges.
    pub(crate) fn acknowledges(self) -> &'static str {
        match self {
            Self::MariaDb => "rpl_semi_sync_slave_enabled",
            Self::MySql => "rpl_semi_sync_replica_enabled",
        }
    }

    /// Asks a writer how many replicas acknowledge.
    pub(crate) fn acknowledging(self) -> &'static str {
        match self {
            Self::MariaDb => {
                "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
                 WHERE VARIABLE_NAME = 'RPL_SEMI_SYNC_MASTER_CLIENTS'"
            }
            Self::MySql => {
                "SELECT VARIABLE_VALUE FROM performance_schema.global_status \
                 WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_clients'"
            }
        }
    }

    /// Ends a writer as an administrator does.
    ///
    /// Commits that wait for a replica while clients are sent away are acknowledged or not. MariaDB's replicas have
    /// them either way; those of MySQL have what was acknowledged, and the rest goes with the old history.
    pub(crate) fn shut_down(self) -> &'static str {
        match self {
            Self::MariaDb => "SHUTDOWN WAIT FOR ALL SLAVES",
            Self::MySql => "SHUTDOWN",
        }
    }

    /// Where the values of variables stand, by scope (`GLOBAL` or `SESSION`).
    pub(crate) fn variables(self, scope: &str) -> String {
        match self {
            Self::MariaDb => format!("information_schema.{scope}_VARIABLES"),
            Self::MySql => format!("performance_schema.{}_variables", scope.to_ascii_lowercase()),
        }
    }

    /// Creates the user of the harness, or leaves it as it is.
    pub(crate) fn create_harness(self, secret: &str) -> String {
        match self {
            Self::MariaDb => format!("CREATE OR REPLACE USER '{HARNESS}'@'%' IDENTIFIED BY '{secret}'"),
            Self::MySql => format!("CREATE USER IF NOT EXISTS '{HARNESS}'@'%' IDENTIFIED BY '{secret}'"),
        }
    }

    /// How the program that makes an empty data folder is called, besides the settings that both families know.
    pub(crate) fn installs(self) -> &'static [&'static str] {
        match self {
            Self::MariaDb => {
                &["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"]
            }
            Self::MySql => &[
                "--initialize-insecure",
                "--skip-log-bin",
                "--auto-generate-certs=OFF",
                "--innodb-redo-log-capacity=8M",
                "--innodb-doublewrite=OFF",
            ],
        }
    }

    /// Removes the anonymous and passwordless users of the installation.
    pub(crate) fn drop_installed_users(self) -> &'static [&'static str] {
        match self {
            Self::MariaDb => &[
                "DELETE FROM mysql.global_priv WHERE User NOT IN ('rdsadmin', 'mariadb.sys')",
                "FLUSH PRIVILEGES",
            ],
            // The others are locked.
            Self::MySql => &["DROP USER 'root'@'localhost'"],
        }
    }

    /// The rights that allow `SHOW REPLICA STATUS` and what MySQL counts to it.
    pub fn replication_rights(self) -> &'static str {
        match self {
            Self::MariaDb => "BINLOG MONITOR, REPLICA MONITOR",
            Self::MySql => "REPLICATION CLIENT",
        }
    }
}

/// How many transactions are in `5` or `1-57`; none in the name of a tag.
fn length(interval: &str) -> u64 {
    let (first, last) = interval.split_once('-').unwrap_or((interval, interval));
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (last + 1).saturating_sub(first),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_a_number() {
        for (kind, position, expected) in [
            (MySqlKind::MariaDb, "0-1131170323-57", 57),
            (MySqlKind::MariaDb, "", 0),
            (MySqlKind::MariaDb, "1-5-9,0-3-8", 8),
            (MySqlKind::MySql, "", 0),
            (MySqlKind::MySql, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-57", 57),
            (
                MySqlKind::MySql,
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7,\n4f22fa47-71ca-11e1-9e33-c80aa9429562:tag:3-4",
                8,
            ),
        ] {
            assert_eq!(kind.number(position), expected, "{kind:?} {position:?}");
        }
    }

    #[test]
    fn a_wait_is_never_without_end() {
        let sql = MySqlKind::MySql.wait_for("a:1", Duration::ZERO);
        assert_eq!(sql, "SELECT WAIT_FOR_EXECUTED_GTID_SET('a:1', 0.001)");
    }
}
