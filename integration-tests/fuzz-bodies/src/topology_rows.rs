//! Answers to the questions for topology and role.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use wrapper_core::dialect::{Dialect, DialectId, dialect_for};
use wrapper_core::driver::{DriverConnection, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole, InstanceTemplate};
use wrapper_core::topology::{HostListProvider, RdsProvider};
use wrapper_core::{Error, Result};

/// What a server answers, whatever it is asked.
#[derive(Debug)]
struct Server(Rows);

#[async_trait]
impl DriverConnection for Server {
    async fn fetch_text(&self, _: &str, _: Deadline) -> Result<Rows> {
        Ok(self.0.clone())
    }
    async fn ping(&self, _: Deadline) -> Result<()> {
        Ok(())
    }
    fn kill(&self, _: Error) {}
    fn drain(&self) {}
    fn is_closed(&self) -> bool {
        false
    }
    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }
    fn bytes_received(&self) -> u64 {
        0
    }
}

/// Reads an answer of any kind. The first line says which dialect and names the columns, with `,` between them; each
/// later line is a row, with `\N` for NULL.
pub fn topology_rows(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let head = lines.next().unwrap_or_default();
    let (dialect, columns) = head.split_once(':').unwrap_or(("a", head));
    let columns: Vec<String> =
        columns.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let rows = lines.map(|line| {
        let mut cells = line.split(',').map(|cell| (cell != "\\N").then(|| cell.to_owned()));
        columns.iter().map(|_| cells.next().flatten()).collect()
    });
    let rows = Rows::new(columns.clone(), rows.collect());
    let id = match dialect {
        "m" => DialectId::RdsMultiAzPgCluster,
        "A" => DialectId::AuroraMysql,
        "M" => DialectId::RdsMultiAzMysqlCluster,
        _ => DialectId::AuroraPg,
    };
    let dialect = dialect_for(id).expect("there is such a dialect");
    check(&dialect, &rows).expect("what was read holds together");
}

fn check(dialect: &Arc<dyn Dialect>, rows: &Rows) -> std::result::Result<(), Box<dyn StdError>> {
    // A role that cannot be read is an error, never a guess.
    let _ = dialect.parse_role(rows);
    let template = InstanceTemplate::parse("?.xyz.us-east-2.rds.amazonaws.com")?;
    let configured = HostInfo::new("db.cluster-xyz.us-east-2.rds.amazonaws.com", 5432, HostRole::Unknown);
    let provider = RdsProvider::new(Arc::clone(dialect), template, 5432, [configured])?;
    let server = Server(rows.clone());
    let deadline = || Deadline::after(Duration::from_secs(1), "test");
    let status = provider.status(&server, deadline()).now_or_never().ok_or("it waits")?;
    if let Ok(status) = status {
        assert_eq!(status.role() == HostRole::Writer, status.accepts_writes);
        assert!(status.id.as_ref().is_none_or(|id| !id.trim().is_empty()), "{status:?}");
    }
    let topology = provider.refresh(&server, deadline()).now_or_never().ok_or("it waits")?;
    let Ok(topology) = topology else { return Ok(()) };
    let hosts = topology.hosts();
    assert!(!hosts.is_empty() && hosts.len() <= rows.len(), "{topology}");
    assert!(hosts.windows(2).all(|pair| pair[0].key < pair[1].key), "sorted and distinct: {topology}");
    assert!(hosts.iter().filter(|host| host.role == HostRole::Writer).count() <= 1, "{topology}");
    for host in hosts {
        assert!(host.id.as_ref().is_some_and(|id| !id.is_empty()), "{host:?}");
        assert_ne!(host.port(), 0, "{host:?}");
        let name =
            host.host().strip_suffix(".xyz.us-east-2.rds.amazonaws.com").ok_or("outside the pattern")?;
        assert!(!name.is_empty() && !name.contains(['.', ':', '/', ' ', '@']), "{name:?} is no label");
        assert!(host.cpu.is_none_or(|cpu| cpu.is_finite() && cpu >= 0.0), "{host:?}");
    }
    let writer = hosts.last().ok_or("there is a last one")?;
    let followed = topology.with_writer(writer);
    assert_eq!(followed.writer().map(|host| &host.key), Some(&writer.key));
    assert_eq!(followed.hosts().len(), hosts.len());
    Ok(())
}
