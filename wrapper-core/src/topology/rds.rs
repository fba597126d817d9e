//! Hosts as the servers of a cluster list them: Aurora and RDS Multi-AZ DB clusters.

use std::sync::Arc;

use async_trait::async_trait;

use crate::dialect::{Dialect, HostRow};
use crate::driver::{DriverConnection, Rows};
use crate::env::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostInfo, HostRole, InstanceTemplate};
use crate::topology::{HostListProvider, HostStatus, Topology};

/// The hosts that a server of the cluster lists; which question lists them is the dialect's.
#[derive(Clone, Debug)]
pub struct RdsProvider {
    dialect: Arc<dyn Dialect>,
    template: InstanceTemplate,
    default_port: u16,
    hosts: Vec<HostInfo>,
}

impl RdsProvider {
    /// A provider that places instances by `template`.
    ///
    /// The port of an instance is the template's, else the one that the topology gives (Multi-AZ), else `default_port`:
    /// the port of the configured host.
    ///
    /// # Errors
    /// A configuration error when the dialect has no topology, when no host is given, or when the template is a bare
    /// `?`, which would make the instance's name the whole host name.
    pub fn new(
        dialect: Arc<dyn Dialect>,
        template: InstanceTemplate,
        default_port: u16,
        hosts: impl IntoIterator<Item = HostInfo>,
    ) -> Result<Self> {
        if dialect.topology_query().is_none() {
            return Err(Error::config(format!(
                "servers of the dialect `{}` do not list one another; name all hosts, or choose another \
                 `wrapper_dialect`",
                dialect.id()
            )));
        }
        if template.host_for("").is_empty() {
            return Err(Error::config(format!(
                "the host names of the instances do not follow from the configured host: the instance pattern is \
                 `{template}`; set `cluster_instance_host_pattern`, such as `?.xyz.us-east-2.rds.amazonaws.com`"
            )));
        }
        let hosts: Vec<HostInfo> = hosts.into_iter().collect();
        if hosts.is_empty() {
            return Err(Error::config(
                "no host is given; name the cluster's endpoint, such as \
                 `host=db.cluster-xyz.us-east-2.rds.amazonaws.com`",
            ));
        }
        Ok(Self { dialect, template, default_port, hosts })
    }

    fn place(&self, row: HostRow) -> HostInfo {
        let role = if row.is_writer { HostRole::Writer } else { HostRole::Reader };
        let port = row.port.unwrap_or(self.default_port);
        let mut host = self.template.host_info(&row.instance, port, role).with_id(row.id);
        host.lag = row.lag;
        host.cpu = row.cpu;
        host.updated = row.updated;
        host
    }
}

#[async_trait]
impl HostListProvider for RdsProvider {
    fn initial_hosts(&self) -> &[HostInfo] {
        &self.hosts
    }

    fn is_dynamic(&self) -> bool {
        true
    }

    /// One statement, and one before it where the list of hosts does not name the writer. A topology without a writer is a valid answer: a server says so in the middle of a failover.
    async fn refresh(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<Topology> {
        let source = ask_source(&*self.dialect, connection, deadline).await?;
        let rows = ask(&*self.dialect, self.dialect.topology_query(), connection, deadline).await?;
        let hosts = self.dialect.parse_topology_from(&rows, &source)?;
        Ok(Topology::new(hosts.into_iter().map(|row| self.place(row)).collect()))
    }

    async fn status(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostStatus> {
        status_of(&*self.dialect, connection, deadline).await
    }

    async fn role(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostRole> {
        let rows = ask(&*self.dialect, Some(self.dialect.role_query()), connection, deadline).await?;
        self.dialect.parse_role(&rows)
    }
}

/// The server's own id and role, in one round trip.
pub(super) async fn status_of(
    dialect: &dyn Dialect,
    connection: &dyn DriverConnection,
    deadline: Deadline,
) -> Result<HostStatus> {
    let rows = ask(dialect, Some(dialect.status_query()), connection, deadline).await?;
    dialect.parse_status(&rows)
}

/// MySQL's number for a statement that it does not understand.
const SYNTAX_ERROR: u16 = 1064;

/// Which host this one replicates from, where that is a question of its own.
async fn ask_source(
    dialect: &dyn Dialect,
    connection: &dyn DriverConnection,
    deadline: Deadline,
) -> Result<Rows> {
    let mut queries = dialect.source_queries().iter().peekable();
    while let Some(query) = queries.next() {
        match ask(dialect, Some(query), connection, deadline).await {
            Err(error) if error.server_code() == Some(SYNTAX_ERROR) && queries.peek().is_some() => {}
            answered => return answered,
        }
    }
    Ok(Rows::default())
}

/// Asks, and has the dialect explain a failure; a diagnosis takes a second round trip, after a failure only.
async fn ask(
    dialect: &dyn Dialect,
    query: Option<&str>,
    connection: &dyn DriverConnection,
    deadline: Deadline,
) -> Result<Rows> {
    let Some(query) = query else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("servers of the dialect `{}` do not list one another", dialect.id()),
        ));
    };
    let error = match connection.fetch_text(query, deadline).await {
        Ok(rows) => return Ok(rows),
        Err(error) => error,
    };
    let explained = dialect.diagnose(error.clone(), None);
    match dialect.diagnosis_query() {
        // Only an error that is about access is worth another question.
        Some(question) if explained.kind() == ErrorKind::Grant => {
            match connection.fetch_text(question, deadline).await {
                Ok(rows) => Err(dialect.diagnose(error, Some(&rows))),
                Err(_) => Err(explained),
            }
        }
        _ => Err(explained),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::scripted::{Scripted, table};
    use crate::dialect::{DETECTION_SQL, DialectId, dialect_for};
    use std::time::{Duration, SystemTime};

    const MULTI_AZ: &str =
        "id      endpoint                                    port own_id source_id in_recovery
                            db-AAA  instance-1.xyz.us-east-2.rds.amazonaws.com  5432 db-BBB db-AAA    t
                            db-BBB  instance-2.xyz.us-east-2.rds.amazonaws.com. 6432 db-BBB db-AAA    t";

    fn provider(id: DialectId) -> RdsProvider {
        let host = HostInfo::new("db.cluster-xyz.us-east-2.rds.amazonaws.com", 7000, HostRole::Unknown);
        let template = InstanceTemplate::parse("?.xyz.us-east-2.rds.amazonaws.com").unwrap();
        RdsProvider::new(dialect_for(id).unwrap(), template, 7000, [host]).unwrap()
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5), "auxiliary_query_timeout_sec")
    }

    async fn refreshed(id: DialectId, rows: Rows) -> Result<Topology> {
        let connection = Scripted::new([Ok(rows)]);
        let topology = provider(id).refresh(&connection, soon()).await;
        assert_eq!(connection.asked().len(), 1);
        topology
    }

    async fn status(id: DialectId, rows: &str) -> HostStatus {
        provider(id).status(&Scripted::new([Ok(table(rows))]), soon()).await.unwrap()
    }

    #[tokio::test]
    async fn an_aurora_topology_keeps_lag_load_and_time() {
        let rows = table(
            "server_id  is_writer cpu  lag_ms updated
             Instance-1 t         12.5 -      1795264546.261577
             instance-2 f         1.25 18.7   1795264536.5
             instance-3 f         NaN  x      -
             -          f         0    0      1795264536.5
             bad.name   f         0    0      1795264536.5
             instance-4 maybe     0    0      1795264536.5",
        );
        let topology = refreshed(DialectId::AuroraPg, rows).await.unwrap();
        assert_eq!(topology.hosts().len(), 3, "{topology}");
        let writer = topology.writer().unwrap();
        assert_eq!(writer.key.to_string(), "instance-1.xyz.us-east-2.rds.amazonaws.com:7000");
        assert_eq!(writer.id.as_deref(), Some("Instance-1"));
        assert_eq!((writer.lag, writer.cpu), (None, Some(12.5)));
        let reader = topology.find_id("instance-2").unwrap();
        assert_eq!(reader.lag, Some(Duration::from_micros(18_700)));
        assert_eq!(reader.updated, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_264_536_500)));
        let silent = topology.find_id("instance-3").unwrap();
        assert_eq!((silent.lag, silent.cpu, silent.updated), (None, None, None));
    }

    #[tokio::test]
    async fn of_two_aurora_writers_the_newer_stays_and_no_writer_is_an_answer() {
        let two = "server_id is_writer cpu lag_ms updated
                   old       t         0   -      1795264536.5
                   new       t         0   -      1795264546.5";
        let topology = refreshed(DialectId::AuroraPg, table(two)).await.unwrap();
        assert_eq!(topology.writer().and_then(|host| host.id.as_deref()), Some("new"));
        assert_eq!(topology.readers().count(), 1);
        let none = "server_id is_writer cpu lag_ms updated
                    one       f         0   5      1795264536.5";
        assert_eq!(refreshed(DialectId::AuroraPg, table(none)).await.unwrap().writer(), None);
    }

    #[tokio::test]
    async fn a_multi_az_writer_is_found_by_resource_id_and_placed_by_name() {
        let topology = refreshed(DialectId::RdsMultiAzPgCluster, table(MULTI_AZ)).await.unwrap();
        let writer = topology.writer().unwrap();
        assert_eq!(writer.key.to_string(), "instance-1.xyz.us-east-2.rds.amazonaws.com:5432");
        assert_eq!(writer.id.as_deref(), Some("db-AAA"));
        assert_eq!(topology.find_id("db-BBB").map(HostInfo::port), Some(6432));
    }

    #[tokio::test]
    async fn without_a_source_the_multi_az_server_itself_is_the_writer_unless_it_is_in_recovery() {
        for (recovery, writer, claims) in [("f", Some("db-BBB"), Some(true)), ("t", None, None)] {
            let text = MULTI_AZ.replace("db-BBB db-AAA    t", &format!("db-BBB - {recovery}"));
            let topology = refreshed(DialectId::RdsMultiAzPgCluster, table(&text)).await.unwrap();
            assert_eq!(topology.writer().and_then(|host| host.id.as_deref()), writer);
            let row = format!("in_recovery own_id source_id\n {recovery} db-BBB -");
            assert_eq!(status(DialectId::RdsMultiAzPgCluster, &row).await.claims_writer, claims);
        }
    }

    #[tokio::test]
    async fn a_status_tells_recovery_own_id_and_claim() {
        let multi_az = "in_recovery own_id source_id\n t db-BBB db-AAA";
        let told = status(DialectId::RdsMultiAzPgCluster, multi_az).await;
        assert_eq!((told.role(), told.id.as_deref()), (HostRole::Reader, Some("db-BBB")));
        assert_eq!(told.claims_writer, Some(false));
        let aurora = [
            ("t instance-1 instance-1 3", HostRole::Reader, Some(true)),
            ("f instance-1 instance-2 3", HostRole::Writer, Some(false)),
            ("f instance-1 - 3", HostRole::Writer, Some(false)),
            ("f instance-1 - 0", HostRole::Writer, None),
        ];
        for (row, role, claims) in aurora {
            let text = format!("in_recovery own_id writer_id hosts\n {row}");
            let told = status(DialectId::AuroraPg, &text).await;
            assert_eq!((told.role(), told.claims_writer), (role, claims), "{row}");
            assert_eq!(told.id.as_deref(), Some("instance-1"));
        }
        for (text, columns) in
            [("in_recovery", "no row"), ("other\n x", "no column"), ("in_recovery\n maybe", "nonsense")]
        {
            let connection = Scripted::new([Ok(table(text))]);
            let error = provider(DialectId::AuroraPg).status(&connection, soon()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Topology, "{columns}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_usable_row_is_a_typed_error() {
        for id in [DialectId::AuroraPg, DialectId::RdsMultiAzPgCluster] {
            let no_rows = "server_id is_writer id endpoint";
            let unusable = "server_id is_writer id endpoint\n - - - -";
            for (text, why) in [("", "no columns"), (no_rows, "no rows"), (unusable, "no usable row")] {
                let error = refreshed(id, table(text)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Topology);
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_denied_topology_is_diagnosed_on_the_same_connection() {
        let denied = || Error::new(ErrorKind::Statement, "permission denied").with_sqlstate("42501");
        let evidence = table(
            "version_num database_name user_name tools_usage allowed_functions
             150004      shop          app       f           rds_tools.show_topology,rds_tools.dbi_resource_id,rds_tools.multi_az_db_cluster_source_dbi_resource_id",
        );
        let provider = provider(DialectId::RdsMultiAzPgCluster);
        let connection = Scripted::new([Err(denied()), Ok(evidence)]);
        let error = provider.refresh(&connection, soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Grant);
        assert!(error.to_string().ends_with("permission denied [SQLSTATE 42501]"), "{error}");
        assert!(error.to_string().contains("GRANT USAGE ON SCHEMA rds_tools TO app"), "{error}");
        assert_eq!(connection.asked()[1], DETECTION_SQL);

        // The diagnosis may fail as well; the first error still says what to do.
        let connection = Scripted::new([Err(denied()), Err(denied())]);
        let error = provider.status(&connection, soon()).await.unwrap_err();
        assert!(error.to_string().contains("GRANT EXECUTE"), "{error}");

        // A lost connection is not asked again.
        let connection = Scripted::new([Err(Error::new(ErrorKind::Network, "reset"))]);
        assert_eq!(provider.refresh(&connection, soon()).await.unwrap_err().kind(), ErrorKind::Network);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let host = || HostInfo::new("10.0.0.1", 5432, HostRole::Unknown);
        let refused = |id, template, hosts: Vec<HostInfo>| {
            let template = InstanceTemplate::parse(template).unwrap();
            let error = RdsProvider::new(dialect_for(id).unwrap(), template, 5432, hosts).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            error.to_string()
        };
        for bare in ["?", "?:5432"] {
            let text = refused(DialectId::AuroraPg, bare, vec![host()]);
            assert!(text.contains("set `cluster_instance_host_pattern`"), "{text}");
        }
        assert!(refused(DialectId::RdsPg, "?.x", vec![host()]).contains("`rds-pg`"));
        assert!(refused(DialectId::AuroraPg, "?.x", Vec::new()).contains("no host is given"));
    }
}
