//! The statements of MariaDB's replication: follow, stop, position, promote.

use std::time::{Duration, Instant};

use mysql_async::Row;

use super::Error;
use super::cluster::Inner;
use super::conf::HARNESS;
use super::control::Control;
use super::server::TICK;
use crate::verbs::NodeId;

/// The transactions that a server has, its own and those it replicated: all are in its log.
pub(crate) const POSITION: &str = "SELECT @@GLOBAL.gtid_binlog_pos";

impl Control {
    /// The number of the last transaction in the server's log; 0 when it is empty.
    pub(crate) async fn position(&mut self) -> Result<u64, Error> {
        Ok(number(&self.text("position", POSITION).await?.unwrap_or_default()))
    }

    /// Lets a server replicate from another, from where its own log ends.
    pub(crate) async fn follow(&mut self, source: std::net::SocketAddr, secret: &str) -> Result<(), Error> {
        let what = "follow the writer";
        self.run(what, "STOP SLAVE").await?;
        self.run(what, "SET GLOBAL rpl_semi_sync_master_enabled = OFF, rpl_semi_sync_slave_enabled = ON")
            .await?;
        // The position in the table may be another one after a crash, or after a time as the writer.
        let position = self.text(what, POSITION).await?.unwrap_or_default();
        self.run(what, &format!("SET GLOBAL gtid_slave_pos = '{position}'")).await?;
        let sql = format!(
            "CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = '{HARNESS}', \
             MASTER_PASSWORD = '{secret}', MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1, \
             MASTER_USE_GTID = slave_pos",
            source.ip(),
            source.port(),
        );
        self.run(what, &sql).await?;
        self.run(what, "START SLAVE").await
    }

    /// Takes a replica off its source, so that the source gets no acknowledgement from it any more, lets it apply all
    /// that it received, and gives the number of the last transaction that it has.
    pub(crate) async fn stop_receiving(&mut self, limit: Duration) -> Result<u64, Error> {
        let what = "stop receiving";
        self.allow(limit + Duration::from_secs(1));
        // Otherwise the stop first asks the source to let go: a source that is frozen costs its time limit.
        self.run(what, "SET GLOBAL rpl_semi_sync_slave_enabled = OFF").await?;
        self.run(what, "STOP SLAVE IO_THREAD").await?;
        let status = self.replica_status().await?;
        let received = status.and_then(|row| field(&row, "Gtid_IO_Pos")).unwrap_or_default();
        if number(&received) > 0 {
            self.wait_for(&received, limit).await?;
        }
        self.position().await
    }

    /// Waits until a replica has applied the transactions up to a position.
    pub(crate) async fn wait_for(&mut self, position: &str, limit: Duration) -> Result<(), Error> {
        self.allow(limit + Duration::from_secs(1));
        let sql = format!("SELECT MASTER_GTID_WAIT('{position}', {})", limit.as_secs_f64());
        match self.text("apply what was received", &sql).await?.as_deref() {
            Some("0") => Ok(()),
            _ => {
                let status = self.replica_status().await?.map(|row| trouble(&row)).unwrap_or_default();
                Err(Error::Deadline { what: format!("a replica applies up to {position}; {status}"), limit })
            }
        }
    }

    pub(crate) async fn replica_status(&mut self) -> Result<Option<Row>, Error> {
        self.row("replica status", "SHOW SLAVE STATUS").await
    }

    /// What keeps the server from replicating from the one at this address; none when it does.
    pub(crate) async fn does_not_follow(
        &mut self,
        source: std::net::SocketAddr,
    ) -> Result<Option<String>, Error> {
        let Some(row) = self.replica_status().await? else { return Ok(Some("it follows nobody".to_owned())) };
        let wanted = [
            ("Slave_IO_Running", "Yes".to_owned()),
            ("Slave_SQL_Running", "Yes".to_owned()),
            ("Master_Host", source.ip().to_string()),
            ("Master_Port", source.port().to_string()),
        ];
        let other = wanted.iter().find_map(|(name, wanted)| {
            let value = field(&row, name).unwrap_or_default();
            (value != *wanted).then(|| format!("{name} is {value:?}; {}", trouble(&row)))
        });
        Ok(other)
    }

    /// Makes a writer of a replica, and gives the number of the last transaction from before.
    pub(crate) async fn promote(&mut self) -> Result<u64, Error> {
        let what = "promote";
        self.run(what, "STOP SLAVE").await?;
        self.run(what, "RESET SLAVE ALL").await?;
        let position = self.position().await?;
        // In this order: no write of a client may slip through that waits for nobody.
        self.run(what, "SET GLOBAL rpl_semi_sync_master_enabled = ON").await?;
        self.run(what, "SET GLOBAL read_only = OFF").await?;
        Ok(position)
    }
}

impl Inner {
    /// Waits until a node receives and applies what the writer had at the beginning.
    pub(crate) async fn until_streaming(
        &self,
        node: NodeId,
        control: &mut Control,
        position: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let end = Instant::now() + limit;
        loop {
            let status = control.replica_status().await?;
            let yes =
                |name| status.as_ref().and_then(|row| field(row, name)).is_some_and(|value| value == "Yes");
            if yes("Slave_IO_Running") && yes("Slave_SQL_Running") {
                break;
            }
            let failed = status.as_ref().is_some_and(|row| !yes("Slave_SQL_Running") || refused(row));
            if failed || Instant::now() >= end {
                let why = status.as_ref().map(trouble).unwrap_or_default();
                let what = format!("{node} replicates; {why}");
                return Err(Error::Deadline { what, limit });
            }
            tokio::time::sleep(TICK).await;
        }
        if number(position) == 0 {
            return Ok(());
        }
        control.wait_for(position, end.saturating_duration_since(Instant::now())).await
    }
}

/// Whether the source has refused the replica: its log has another history.
fn refused(row: &Row) -> bool {
    field(row, "Last_IO_Errno").is_some_and(|code| code == "1236")
}

/// What a replica complains of.
fn trouble(row: &Row) -> String {
    let errors = ["Last_IO_Error", "Last_SQL_Error"].map(|name| field(row, name).unwrap_or_default());
    format!("it says: {}", errors.join(" "))
}

/// A column by name, as text.
pub(crate) fn field(row: &Row, name: &str) -> Option<String> {
    let index = row.columns_ref().iter().position(|column| column.name_str().eq_ignore_ascii_case(name))?;
    row.get_opt::<Option<String>, _>(index)?.ok()?
}

/// The running number in a position such as `0-1131170323-57`; 0 for none. Only one domain is in use.
pub(crate) fn number(position: &str) -> u64 {
    let last = position.split(',').rfind(|part| part.trim().starts_with("0-"));
    last.and_then(|part| part.trim().rsplit('-').next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_a_number() {
        assert_eq!(number("0-1131170323-57"), 57);
        assert_eq!(number(""), 0);
        assert_eq!(number("1-5-9,0-3-8"), 8);
    }
}
