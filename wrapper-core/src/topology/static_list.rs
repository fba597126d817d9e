//! Hosts as they were configured, for servers that do not know one another.

use std::sync::Arc;

use async_trait::async_trait;

use crate::dialect::Dialect;
use crate::driver::DriverConnection;
use crate::env::Deadline;
use crate::error::{Error, Result};
use crate::host::{HostInfo, HostRole};
use crate::topology::{HostListProvider, HostStatus, Topology};

/// The configured hosts; their roles are found by asking each of them.
#[derive(Clone, Debug)]
pub struct StaticListProvider {
    dialect: Arc<dyn Dialect>,
    hosts: Vec<HostInfo>,
}

impl StaticListProvider {
    /// The hosts in the order in which they were configured. A host named twice is kept once; roles are forgotten,
    /// because only the hosts themselves know theirs.
    ///
    /// # Errors
    /// A configuration error when there is no host.
    pub fn new(dialect: Arc<dyn Dialect>, hosts: impl IntoIterator<Item = HostInfo>) -> Result<Self> {
        let mut kept: Vec<HostInfo> = Vec::new();
        for host in hosts {
            if kept.iter().all(|known| known.key != host.key) {
                kept.push(host.with_role(HostRole::Unknown));
            }
        }
        if kept.is_empty() {
            return Err(Error::config(
                "no host is given; name at least one, such as `host=db-1.example.com`",
            ));
        }
        Ok(Self { dialect, hosts: kept })
    }
}

#[async_trait]
impl HostListProvider for StaticListProvider {
    fn initial_hosts(&self) -> &[HostInfo] {
        &self.hosts
    }

    fn is_dynamic(&self) -> bool {
        false
    }

    /// The configured hosts, all of unknown role; the server is not asked.
    async fn refresh(&self, _connection: &dyn DriverConnection, _deadline: Deadline) -> Result<Topology> {
        Ok(Topology::new(self.hosts.clone()))
    }

    async fn status(&self, connection: &dyn DriverConnection, deadline: Deadline) -> Result<HostStatus> {
        super::rds::status_of(&*self.dialect, connection, deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::scripted::{Scripted, table};
    use crate::dialect::{DialectId, dialect_for};
    use crate::error::ErrorKind;
    use std::time::Duration;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5), "auxiliary_query_timeout_sec")
    }

    #[tokio::test]
    async fn hosts_are_as_configured_and_roles_are_asked() {
        let hosts = ["b", "a", "B"].map(|name| HostInfo::new(name, 5432, HostRole::Writer));
        let provider = StaticListProvider::new(dialect_for(DialectId::Pg).unwrap(), hosts).unwrap();
        assert!(!provider.is_dynamic());
        let names: Vec<&str> = provider.initial_hosts().iter().map(HostInfo::host).collect();
        assert_eq!(names, ["b", "a"]);

        let silent = Scripted::new([]);
        let topology = provider.refresh(&silent, soon()).await.unwrap();
        assert_eq!((topology.hosts().len(), topology.writer()), (2, None));
        assert!(silent.asked().is_empty());

        let connection = Scripted::new([Ok(table("in_recovery\n f")), Ok(table("in_recovery\n t"))]);
        for role in [HostRole::Writer, HostRole::Reader] {
            let status = provider.status(&connection, soon()).await.unwrap();
            assert_eq!((status.role(), status.claims_writer, status.id), (role, None, None));
        }
    }

    #[test]
    fn an_empty_list_is_refused() {
        let error = StaticListProvider::new(dialect_for(DialectId::Pg).unwrap(), []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
