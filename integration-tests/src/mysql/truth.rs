//! What the servers themselves say, asked directly and past any proxy and front.

use std::time::{Duration, Instant};

use super::cluster::{CONTROL_LIMIT, Inner, MySqlCluster};
use super::conf::HARNESS;
use super::server::TICK;
use super::{ConnectionFilter, Error, Truth};
use crate::verbs::NodeId;

impl MySqlCluster {
    /// Role of each node, by its own `@@read_only`; a server has one second to answer.
    pub async fn truth(&self) -> [Truth; 3] {
        let [a, b, c] = NodeId::ALL;
        let limit = Duration::from_secs(1);
        tokio::join!(self.inner.role(a, limit), self.inner.role(b, limit), self.inner.role(c, limit)).into()
    }

    /// Client connections that a server has now; those of the harness and of replication never count. A filter's
    /// application is the connection attribute `program_name`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn count_connections(&self, node: NodeId, filter: &ConnectionFilter) -> Result<u64, Error> {
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        let mut sql = format!(
            "SELECT COUNT(*) FROM information_schema.processlist AS p \
             WHERE p.user NOT IN ('{HARNESS}', 'system user', 'event_scheduler', 'unauthenticated user')"
        );
        if let Some(user) = &filter.user {
            sql += &format!(" AND p.user = {}", quoted(user));
        }
        if let Some(application) = &filter.application {
            sql += &format!(
                " AND EXISTS (SELECT 1 FROM performance_schema.session_connect_attrs AS a \
                 WHERE a.processlist_id = p.id AND a.attr_name = 'program_name' AND a.attr_value = {})",
                quoted(application)
            );
        }
        let mut control = self.inner.control(node).await?;
        let count = control.text("count connections", &sql).await?;
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or_default())
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

    /// Waits until all nodes run, exactly the harness's writer is the writer, and both others replicate from it.
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

    /// Waits until a replica has applied all that the writer has written so far.
    ///
    /// # Errors
    /// [`Error::Deadline`] with what the replica complains of.
    pub async fn wait_until_caught_up(&self, node: NodeId, within: Duration) -> Result<(), Error> {
        let mut writer = self.inner.control(self.writer()).await?;
        let written = writer.written().await?;
        let mut replica = self.inner.control(node).await?;
        replica.wait_for(&written, within).await
    }
}

impl Inner {
    async fn role(&self, node: NodeId, limit: Duration) -> Truth {
        let asked = tokio::time::timeout(limit, async {
            let mut control = self.control(node).await.ok()?;
            control.text("role", "SELECT @@GLOBAL.read_only").await.ok()?
        });
        match asked.await.ok().flatten().as_deref() {
            Some("0") => Truth::Writer,
            Some("1") => Truth::Reader,
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
            if server.is_frozen() {
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
        for node in NodeId::ALL.into_iter().filter(|node| *node != writer) {
            let streams = async {
                let mut control = self.control(node).await?;
                let source = self.server(writer).address;
                control.does_not_follow(source).await
            };
            match streams.await {
                Ok(None) => {}
                Ok(Some(why)) => return Some(format!("{node} does not replicate from the writer: {why}")),
                Err(error) => return Some(error.to_string()),
            }
        }
        // What the writer itself counts: each of them acknowledges.
        let clients = match self.control(writer).await {
            Ok(mut control) => control.text("replicas", control.kind.acknowledging()).await,
            Err(error) => Err(error),
        };
        match clients {
            Ok(Some(count)) if count == "2" => None,
            Ok(count) => Some(format!("{} of 2 replicas acknowledge", count.unwrap_or_default())),
            Err(error) => Some(error.to_string()),
        }
    }
}
