//! Replication: follow, stop, position, promote.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::{Column, Row};

use super::Error;
use super::cluster::Inner;
use super::control::Control;
use super::server::TICK;
use crate::verbs::NodeId;

impl Control {
    /// The transactions that the server has, its own and those it replicated, as the server writes them.
    pub(crate) async fn written(&mut self) -> Result<String, Error> {
        Ok(self.text("position", self.kind.position()).await?.unwrap_or_default())
    }

    /// The number of the last transaction in the server's log; 0 when it is empty.
    pub(crate) async fn position(&mut self) -> Result<u64, Error> {
        Ok(self.kind.number(&self.written().await?))
    }

    /// Lets a server replicate from another, from where its own log ends.
    pub(crate) async fn follow(&mut self, source: SocketAddr, secret: &str) -> Result<(), Error> {
        let what = "follow the writer";
        self.run(what, "STOP REPLICA").await?;
        self.wait_for_replicas(false).await?;
        self.acknowledge(true).await?;
        let position = self.written().await?;
        for statement in self.kind.change_source(source, secret, &position) {
            self.run(what, &statement).await?;
        }
        self.run(what, "START REPLICA").await
    }

    /// Whether the server's commits wait for a replica.
    pub(crate) async fn wait_for_replicas(&mut self, wait: bool) -> Result<(), Error> {
        self.switch("let commits wait", self.kind.waits(), wait).await
    }

    /// Whether the server acknowledges to its source, from when it next starts to receive.
    async fn acknowledge(&mut self, acknowledge: bool) -> Result<(), Error> {
        self.switch("acknowledge", self.kind.acknowledges(), acknowledge).await
    }

    async fn switch(&mut self, what: &'static str, variable: &str, on: bool) -> Result<(), Error> {
        self.run(what, &format!("SET GLOBAL {variable} = {}", if on { "ON" } else { "OFF" })).await
    }

    /// Takes a replica off its source, so that the source gets no acknowledgement from it any more, lets it apply all
    /// that it received, and gives the number of the last transaction that it has.
    pub(crate) async fn stop_receiving(&mut self, limit: Duration) -> Result<u64, Error> {
        self.allow(limit + Duration::from_secs(1));
        // Otherwise MariaDB's stop first asks the source to let go: a source that is frozen costs its time limit.
        self.acknowledge(false).await?;
        self.run("stop receiving", "STOP REPLICA IO_THREAD").await?;
        let status = self.replica_status().await?;
        let received = status.and_then(|row| field(&row, self.kind.received())).unwrap_or_default();
        if self.kind.number(&received) > 0 {
            self.wait_for(&received, limit).await?;
        }
        self.kill_appliers().await?;
        self.position().await
    }

    /// Lets a server that replicates stop without a wait, where it would have one.
    pub(crate) async fn prepare_to_stop(&mut self, limit: Duration) -> Result<(), Error> {
        if self.kind.appliers().is_some() {
            self.stop_receiving(limit).await?;
        }
        Ok(())
    }

    /// Ends the threads that apply, after they have applied every whole transaction that was received.
    async fn kill_appliers(&mut self) -> Result<(), Error> {
        const NO_SUCH_THREAD: u16 = 1094;
        let Some(sql) = self.kind.appliers() else { return Ok(()) };
        let ids = self.text("list the appliers", sql).await?.unwrap_or_default();
        for id in ids.split(',').filter(|id| !id.is_empty()) {
            match self.run("end an applier", &format!("KILL {id}")).await {
                // It has ended with the one before it.
                Err(Error::MySql { source: mysql_async::Error::Server(error), .. })
                    if error.code == NO_SUCH_THREAD => {}
                ended => ended?,
            }
        }
        Ok(())
    }

    /// Waits until a replica has applied the transactions up to a position.
    pub(crate) async fn wait_for(&mut self, position: &str, limit: Duration) -> Result<(), Error> {
        self.allow(limit + Duration::from_secs(1));
        match self.text("apply what was received", &self.kind.wait_for(position, limit)).await?.as_deref() {
            Some("0") => Ok(()),
            _ => {
                let status = self.replica_status().await?.map(|row| trouble(&row)).unwrap_or_default();
                Err(Error::Deadline { what: format!("a replica applies up to {position}; {status}"), limit })
            }
        }
    }

    pub(crate) async fn replica_status(&mut self) -> Result<Option<Row>, Error> {
        self.row("replica status", "SHOW REPLICA STATUS").await
    }

    /// What keeps the server from replicating from the one at this address; none when it does.
    pub(crate) async fn does_not_follow(&mut self, source: SocketAddr) -> Result<Option<String>, Error> {
        let Some(row) = self.replica_status().await? else { return Ok(Some("it follows nobody".to_owned())) };
        let wanted = [
            ("Replica_IO_Running", "Yes".to_owned()),
            ("Replica_SQL_Running", "Yes".to_owned()),
            ("Source_Host", source.ip().to_string()),
            ("Source_Port", source.port().to_string()),
        ];
        let other = wanted.iter().find_map(|(name, wanted)| {
            let value = field(&row, name).unwrap_or_default();
            (value != *wanted).then(|| format!("{name} is {value:?}; {}", trouble(&row)))
        });
        Ok(other)
    }

    /// Takes a replica out of replication for good, and gives the number of the last transaction that it has.
    pub(crate) async fn leave(&mut self) -> Result<u64, Error> {
        self.run("promote", "STOP REPLICA").await?;
        self.run("promote", "RESET REPLICA ALL").await?;
        self.position().await
    }

    /// Makes a writer of a replica, and gives the number of the last transaction from before.
    pub(crate) async fn promote(&mut self) -> Result<u64, Error> {
        let position = self.leave().await?;
        // In this order: no write of a client may slip through that waits for nobody.
        self.wait_for_replicas(true).await?;
        self.run("promote", "SET GLOBAL read_only = OFF").await?;
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
            if yes("Replica_IO_Running") && yes("Replica_SQL_Running") {
                break;
            }
            let failed = status.as_ref().is_some_and(|row| !yes("Replica_SQL_Running") || refused(row));
            if failed || Instant::now() >= end {
                let why = status.as_ref().map(trouble).unwrap_or_default();
                let what = format!("{node} replicates; {why}");
                return Err(Error::Deadline { what, limit });
            }
            tokio::time::sleep(TICK).await;
        }
        if control.kind.number(position) == 0 {
            return Ok(());
        }
        control.wait_for(position, end.saturating_duration_since(Instant::now())).await
    }
}

/// Whether the source has refused the replica: its log has another history.
fn refused(row: &Row) -> bool {
    // MySQL 8 gives its own number to the source's 1236.
    field(row, "Last_IO_Errno").is_some_and(|code| code == "1236" || code == "13114")
}

/// What a replica complains of.
fn trouble(row: &Row) -> String {
    let errors = ["Last_IO_Error", "Last_SQL_Error"].map(|name| field(row, name).unwrap_or_default());
    format!("it says: {}", errors.join(" "))
}

/// A column of the replica status by MySQL's name, as text. MariaDB has the old ones.
fn field(row: &Row, name: &str) -> Option<String> {
    let old = name.replace("Replica", "Slave").replace("Source", "Master");
    let named =
        |column: &Column| [name, &old].iter().any(|name| column.name_str().eq_ignore_ascii_case(name));
    let index = row.columns_ref().iter().position(named)?;
    row.get_opt::<Option<String>, _>(index)?.ok()?
}
