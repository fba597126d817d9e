//! The settings files of the servers.

use std::fmt::Write;
use std::net::SocketAddr;

use super::kind::MySqlKind;
use super::options::Options;
use crate::verbs::Flavour;

/// The user of the harness and of replication; on RDS too, `rdsadmin` is the service's own.
pub(crate) const HARNESS: &str = "rdsadmin";

/// The superuser for tests.
pub(crate) const SUPERUSER: &str = "root";

/// The schema in which the harness tries writes.
pub(crate) const HARNESS_SCHEMA: &str = "rds_harness";

/// The version that the fronts of RDS and Aurora give. The servers themselves cannot: a MariaDB replica of a server that
/// calls itself 8.0 takes it for one without MariaDB's GTIDs.
pub(crate) const IMITATED_VERSION: &str = "8.0.39";

/// In which role a server comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Accepts writes; each commit waits for a replica.
    Writer,
    /// Accepts writes that wait for nobody: for the time before there are replicas.
    LoneWriter,
    /// Read-only.
    Reader,
}

/// What a server's settings depend on besides the options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) kind: MySqlKind,
    pub(crate) options: &'a Options,
    pub(crate) address: SocketAddr,
    /// Where clients reach the server: what RDS enters as `report_host`.
    pub(crate) reported: SocketAddr,
    pub(crate) server_id: u32,
    pub(crate) role: Role,
}

impl Settings<'_> {
    pub(crate) fn my_cnf(&self) -> String {
        let mut conf = String::from(BASE);
        conf.push_str(match self.kind {
            MySqlKind::MariaDb => MARIADB,
            MySqlKind::MySql => MYSQL,
        });
        let mut set = |name: &str, value: &str| {
            // A String takes everything.
            let _ = writeln!(conf, "{name}={value}");
        };
        set("bind_address", &self.address.ip().to_string());
        set("port", &self.address.port().to_string());
        set("server_id", &self.server_id.to_string());
        set("max_connections", &self.options.max_connections.to_string());
        set("read_only", if self.role == Role::Reader { "ON" } else { "OFF" });
        set(self.kind.acknowledges(), "ON");
        set(self.kind.waits(), if self.role == Role::Writer { "ON" } else { "OFF" });
        match self.options.flavour {
            Flavour::Plain | Flavour::Aurora => {}
            Flavour::MultiAz => set("report_host", &self.reported.ip().to_string()),
        }
        match (&self.options.tls, self.kind) {
            (Some(_), _) => {
                set("ssl_cert", "server.crt");
                set("ssl_key", "server.key");
            }
            // It would offer TLS with a certificate of its own making.
            (None, MySqlKind::MySql) => set("tls_version", ""),
            (None, MySqlKind::MariaDb) => {}
        }
        for (name, value) in &self.options.server_settings {
            set(name, value);
        }
        conf
    }
}

/// The statements that a server runs before it lets anybody in, one a line: the user of the harness, which replication
/// needs before it has brought anything else.
pub(crate) fn first_statements(kind: MySqlKind, password: &str) -> String {
    format!(
        "SET sql_log_bin=0;\n\
         {};\n\
         GRANT ALL PRIVILEGES ON *.* TO '{HARNESS}'@'%' WITH GRANT OPTION;\n",
        kind.create_harness(password)
    )
}

/// The same on all servers, also where the two families have defaults of their own; paths are relative to the data folder. Durable against a crash of a server, not of the
/// machine: logs are written at each commit, and never synced. All logs are kept: lost nodes are built anew from them.
const BASE: &str = "\
[mysqld]
socket=mysql.sock
pid_file=server.pid
skip_name_resolve=ON
max_connect_errors=1000000000
max_allowed_packet=16M
local_infile=ON
character_set_server=utf8mb4
default_time_zone=+00:00
log_bin=binlog
relay_log=relay
sync_binlog=0
innodb_flush_log_at_trx_commit=2
innodb_flush_method=fsync
innodb_doublewrite=OFF
innodb_buffer_pool_size=32M
innodb_use_native_aio=OFF
performance_schema=ON
performance_schema_instrument='%=OFF'
";

const MARIADB: &str = "\
binlog_format=ROW
expire_logs_days=0
log_slave_updates=ON
gtid_domain_id=0
gtid_strict_mode=ON
skip_slave_start=ON
slave_net_timeout=4
rpl_semi_sync_slave_kill_conn_timeout=1
rpl_semi_sync_master_wait_point=AFTER_SYNC
rpl_semi_sync_master_wait_no_slave=ON
rpl_semi_sync_master_timeout=4000000000
loose_init_rpl_role=MASTER
innodb_log_file_size=8M
";

/// A node that is built anew takes its own old transactions from the logs, too. What it received and had not applied is
/// asked for again: after a crash nobody knows how much of it is whole.
const MYSQL: &str = "\
mysqlx=OFF
auto_generate_certs=OFF
secure_file_priv=NULL
event_scheduler=OFF
binlog_expire_logs_seconds=0
log_replica_updates=ON
gtid_mode=ON
enforce_gtid_consistency=ON
replicate_same_server_id=ON
relay_log_recovery=ON
skip_replica_start=ON
replica_net_timeout=4
replica_parallel_workers=1
plugin_load_add=semisync_source.so
plugin_load_add=semisync_replica.so
rpl_semi_sync_source_wait_point=AFTER_SYNC
rpl_semi_sync_source_wait_no_replica=ON
rpl_semi_sync_source_wait_for_replica_count=1
rpl_semi_sync_source_timeout=4000000000
innodb_redo_log_capacity=8M
";
