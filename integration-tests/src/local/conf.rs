//! The settings files of the servers.

use std::fmt::Write;
use std::net::SocketAddr;

use super::options::{Auth, Options};

/// The role of the harness, of replication and of pg_rewind; on RDS too, `rdsadmin` is the service's own. It logs
/// in in the clear: a SCRAM login costs an unoptimised test build nearly 0.1 s, in the middle of a failover.
pub(crate) const HARNESS: &str = "rdsadmin";

/// The superuser for tests.
pub(crate) const SUPERUSER: &str = "postgres";

/// The database of the harness.
pub(crate) const DATABASE: &str = "postgres";

/// What a server's settings depend on besides the options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) options: &'a Options,
    pub(crate) instances: &'a [String],
    pub(crate) instance: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) superuser_password: &'a str,
    /// The server to stream from; none: from nobody.
    pub(crate) upstream: Option<SocketAddr>,
}

impl Settings<'_> {
    pub(crate) fn postgresql_conf(&self) -> String {
        let mut conf = String::from(BASE);
        let mut set = |name: &str, value: &str| {
            // A String takes everything.
            let _ = writeln!(conf, "{name} = '{}'", value.replace('\'', "''"));
        };
        set("listen_addresses", &self.address.ip().to_string());
        set("port", &self.address.port().to_string());
        set("cluster_name", self.instance);
        set("max_connections", &self.options.max_connections.to_string());
        // All three, also itself: it never is its own standby, and nothing changes at a promotion.
        let all: Vec<String> = self.instances.iter().map(|i| format!("\"{i}\"")).collect();
        set("synchronous_standby_names", &format!("ANY 1 ({})", all.join(", ")));
        let upstream = self.upstream.map(|upstream| self.primary_conninfo(upstream));
        set("primary_conninfo", upstream.as_deref().unwrap_or_default());
        if let Some(extensions) = self.options.flavour_extensions() {
            set("rds.extensions", extensions);
        }
        if self.options.tls.is_some() {
            set("ssl", "on");
        }
        for (name, value) in &self.options.server_settings {
            set(name, value);
        }
        conf
    }

    fn primary_conninfo(&self, upstream: SocketAddr) -> String {
        format!(
            "host={} port={} user={HARNESS} password={} application_name={} \
             sslmode=disable gssencmode=disable connect_timeout=2",
            upstream.ip(),
            upstream.port(),
            self.superuser_password,
            self.instance,
        )
    }

    pub(crate) fn pg_hba_conf(&self) -> String {
        let method = match self.options.auth {
            Auth::Scram => "scram-sha-256",
            Auth::Cleartext => "password",
            Auth::Trust => "trust",
        };
        format!(
            "host replication {HARNESS} 127.0.0.0/8 password\n\
             host all {HARNESS} 127.0.0.0/8 password\n\
             host all {SUPERUSER} 127.0.0.0/8 scram-sha-256\n\
             host all all 127.0.0.0/8 {method}\n"
        )
    }
}

/// The same on all servers. Durable against a crash of a server, not of the machine: hence no fsync.
const BASE: &str = "\
unix_socket_directories = ''
fsync = off
synchronous_commit = on
wal_level = replica
wal_log_hints = on
wal_keep_size = 256MB
max_wal_size = 1GB
max_wal_senders = 10
max_replication_slots = 4
max_prepared_transactions = 20
hot_standby = on
hot_standby_feedback = on
recovery_target_timeline = 'latest'
wal_retrieve_retry_interval = 50ms
wal_receiver_timeout = 5s
wal_receiver_status_interval = 1s
wal_sender_timeout = 5s
checkpoint_timeout = 30min
shared_buffers = 16MB
# Files in the data folder go away with it; POSIX shared memory would outlive a killed server.
dynamic_shared_memory_type = mmap
max_logical_replication_workers = 0
autovacuum_naptime = 1h
jit = off
datestyle = 'iso, mdy'
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] '
log_checkpoints = off
password_encryption = 'scram-sha-256'
";
