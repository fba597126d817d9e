//! What the servers themselves say, asked directly and past any proxy.

use std::time::{Duration, Instant};

use super::cluster::{CONTROL_LIMIT, Inner, LocalCluster};
use super::control::{APPLICATION, Control};
use super::error::Error;
use super::server::TICK;
use crate::verbs::NodeId;

/// What a server says of its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Not in recovery.
    Writer,
    /// In recovery.
    Reader,
    /// No answer: down, frozen, or just starting.
    Silent,
}

/// Which connections to count; those of the harness never count.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionFilter {
    pub(crate) user: Option<String>,
    pub(crate) application: Option<String>,
}

impl ConnectionFilter {
    /// All clients' connections.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those of this user.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Only those with this `application_name`.
    pub fn application(mut self, application: impl Into<String>) -> Self {
        self.application = Some(application.into());
        self
    }
}

impl LocalCluster {
    /// Role of each node, by its own `pg_is_in_recovery()`; a server has one second to answer.
    pub async fn truth(&self) -> [Truth; 3] {
        let [a, b, c] = NodeId::ALL;
        let limit = Duration::from_secs(1);
        tokio::join!(self.inner.role(a, limit), self.inner.role(b, limit), self.inner.role(c, limit)).into()
    }

    /// Client connections that a server has now.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn count_connections(&self, node: NodeId, filter: &ConnectionFilter) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                   AND application_name <> $1 AND usename = coalesce($2, usename) \
                   AND application_name = coalesce($3, application_name)";
        let control = self.inner.control(node).await?;
        let row =
            control.row("count connections", sql, &[&APPLICATION, &filter.user, &filter.application]).await?;
        let count: i64 =
            row.try_get(0).map_err(|source| Error::Sql { node, what: "count connections", source })?;
        Ok(count.unsigned_abs())
    }

    /// Waits until a node says that it is the writer.
    ///
    /// # Errors
    /// [`Error::Deadline`] with the last truth.
    pub async fn wait_until_writer(&self, node: NodeId, within: Duration) -> Result<(), Error> {
        self.inner.wait_for(node, Truth::Writer, within).await
    }

    /// Waits until a node says that it is a reader.
    ///
    /// # Errors
    /// [`Error::Deadline`] with the last truth.
    pub async fn wait_until_reader(&self, node: NodeId, within: Duration) -> Result<(), Error> {
        self.inner.wait_for(node, Truth::Reader, within).await
    }

    /// Waits until all nodes run, exactly the harness's writer is the writer, and both others stream from it.
    ///
    /// # Errors
    /// [`Error::Deadline`] that says what is missing.
    pub async fn wait_until_healthy(&self, within: Duration) -> Result<(), Error> {
        let end = Instant::now() + within;
        loop {
            // A verb in progress ends first.
            let missing = match self.inner.turn.try_lock() {
                Ok(_turn) => self.inner.ailing().await,
                Err(_) => Some("a change of roles is under way".to_owned()),
            };
            let Some(missing) = missing else { return Ok(()) };
            if Instant::now() + TICK >= end {
                let what = format!("the cluster is healthy ({missing})");
                return Err(Error::Deadline { what, limit: within });
            }
            tokio::time::sleep(TICK * 2).await;
        }
    }

    /// Waits until a standby has replayed all that the writer has written so far.
    ///
    /// # Errors
    /// [`Error::Deadline`] with how far it came.
    pub async fn wait_until_caught_up(&self, node: NodeId, within: Duration) -> Result<(), Error> {
        let writer = self.inner.control(self.writer()).await?;
        let written = writer.text("position", "SELECT pg_current_wal_lsn()").await?.unwrap_or_default();
        let standby = self.inner.control(node).await?;
        self.inner.until_replayed(&standby, node, &written, within).await
    }
}

impl Inner {
    async fn role(&self, node: NodeId, limit: Duration) -> Truth {
        let asked = tokio::time::timeout(limit, async {
            let control = self.control(node).await.ok()?;
            control.text("role", "SELECT pg_is_in_recovery()").await.ok()?
        });
        match asked.await.ok().flatten().as_deref() {
            Some("f") => Truth::Writer,
            Some("t") => Truth::Reader,
            _ => Truth::Silent,
        }
    }

    pub(crate) async fn wait_for(&self, node: NodeId, wanted: Truth, within: Duration) -> Result<(), Error> {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let truth = self.role(node, left.min(CONTROL_LIMIT)).await;
            if truth == wanted {
                return Ok(());
            }
            if Instant::now() + TICK >= end {
                let what = format!("{node} says {wanted:?} (it says {truth:?})");
                return Err(Error::Deadline { what, limit: within });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// What keeps the cluster from being healthy.
    async fn ailing(&self) -> Option<String> {
        for node in NodeId::ALL {
            let server = self.server(node);
            if !server.is_running() {
                let why = server.last_note().map(|note| format!(": {note}")).unwrap_or_default();
                return Some(format!("{node} does not run{why}"));
            }
            if server.frozen().is_some() {
                return Some(format!("{node} is frozen"));
            }
        }
        let writer = self.writer();
        for node in NodeId::ALL {
            let wanted = if node == writer { Truth::Writer } else { Truth::Reader };
            let truth = self.role(node, Duration::from_secs(1)).await;
            if truth != wanted {
                return Some(format!("{node} should say {wanted:?} and says {truth:?}"));
            }
        }
        let control = self.control(writer).await.map_err(|e| e.to_string());
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        let streams = match control {
            Ok(control) => control.text("standbys", sql).await.map_err(|e| e.to_string()),
            Err(e) => Err(e),
        };
        match streams {
            Ok(Some(count)) if count == "2" => None,
            Ok(count) => Some(format!("{} of 2 standbys stream", count.unwrap_or_default())),
            Err(e) => Some(e),
        }
    }

    /// Waits until a standby has replayed up to a position.
    pub(crate) async fn until_replayed(
        &self,
        standby: &Control,
        node: NodeId,
        position: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let end = Instant::now() + limit;
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn");
        while standby.text("position", &sql).await?.as_deref() != Some("t") {
            if Instant::now() >= end {
                let log = self.server(node).log_end();
                let what = format!("{node} replays up to {position}; the end of its log: {log}");
                return Err(Error::Deadline { what, limit });
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }
}
