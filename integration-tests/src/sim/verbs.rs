//! Faults and their cures: what can be done to single nodes of a simulated cluster.
//!
//! What may not live here: changes of the writer (`failover.rs`).

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::cluster::SimCluster;
use super::error::SimError;
use super::flavour::RdsTools;
use super::inner::locked;
use super::node::{CommitFate, Ending};

impl SimCluster {
    /// Kills a node: its listener closes, its connections are reset, open transactions are gone. If it is the
    /// writer, nobody writes until a [`promote`](Self::promote) or [`fail_over`](Self::fail_over); on a
    /// [`heal`](Self::heal) it comes back in its old role if nobody was promoted meanwhile.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    ///
    /// # Cancellation
    /// Dropped midway, the node goes down all the same.
    pub async fn crash(&self, node: usize) -> Result<(), SimError> {
        self.inner().stop(node, Ending::Reset).await
    }

    /// Stops a node from running: the kernel still accepts connections and data, nothing answers any more.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`], [`SimError::NodeDown`].
    pub fn freeze(&self, node: usize) -> Result<(), SimError> {
        let server = self.inner().node(node)?;
        if !server.is_up() {
            return Err(SimError::NodeDown { node });
        }
        server.frozen.send_replace(true);
        Ok(())
    }

    /// Leaves new connections without an answer, as a frozen postmaster does; open sessions go on.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`], [`SimError::NodeDown`].
    pub fn freeze_logins(&self, node: usize) -> Result<(), SimError> {
        let server = self.inner().node(node)?;
        if !server.is_up() {
            return Err(SimError::NodeDown { node });
        }
        server.deaf.send_replace(true);
        Ok(())
    }

    /// Lets a frozen node run again. Was it demoted meanwhile, it restarts as a reader.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`], and [`SimError::Listen`] if a restart finds its port taken.
    ///
    /// # Cancellation
    /// Dropped midway, a node that had to restart may be down; [`heal`](Self::heal) it.
    pub async fn thaw(&self, node: usize) -> Result<(), SimError> {
        let server = self.inner().node(node)?;
        if std::mem::take(&mut server.state().restart_when_thawed) {
            self.inner().stop(node, Ending::Reset).await?;
            return self.inner().start(node);
        }
        server.frozen.send_replace(false);
        server.deaf.send_replace(false);
        Ok(())
    }

    /// Closes a node's listener: new connections are refused, open ones stay.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`], [`SimError::NodeDown`].
    ///
    /// # Cancellation
    /// Dropped midway, the listener closes all the same.
    pub async fn refuse(&self, node: usize) -> Result<(), SimError> {
        let listener = self.inner().node(node)?.state().life.as_ref().map(|life| life.listener.clone());
        listener.ok_or(SimError::NodeDown { node })?.close().await;
        Ok(())
    }

    /// Takes back every fault of a node: starts it if it is down, thaws it, opens its listener, lets logins
    /// through and shows it the present topology.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`], and [`SimError::Listen`] if its port is taken.
    ///
    /// # Cancellation
    /// Dropped midway, some of the faults are left.
    pub async fn heal(&self, node: usize) -> Result<(), SimError> {
        self.reject_logins(node, None)?;
        self.delay_topology(&[node], Duration::ZERO)?;
        self.thaw(node).await?;
        self.inner().start(node)
    }

    /// Answers every new login of a node with an error: SQLSTATE and message, such as
    /// `("57P03", "the database system is starting up")`. `None` lets logins through again. A MySQL server sends the
    /// number that goes with the SQLSTATE (1053, 1040 for 53300, 1045 for 28000).
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn reject_logins(&self, node: usize, error: Option<(&str, &str)>) -> Result<(), SimError> {
        let rejection = error.map(|(code, message)| (Cow::Owned(code.to_owned()), message.to_owned()));
        self.inner().node(node)?.state().rejection = rejection;
        Ok(())
    }

    /// Connections that a node takes before it answers 53300, on MySQL 1040.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn set_max_connections(&self, node: usize, max: usize) -> Result<(), SimError> {
        self.inner().node(node)?.state().max_connections = max;
        Ok(())
    }

    /// Lets nodes show the topology as it was this long ago.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn delay_topology(&self, nodes: &[usize], delay: Duration) -> Result<(), SimError> {
        for node in nodes {
            self.inner().node(*node)?.state().topology_delay = delay;
        }
        Ok(())
    }

    /// How late a reader sees commits, which its topology row reports too; default 20 ms in the row, none in the
    /// data.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn set_replica_lag(&self, node: usize, lag: Duration) -> Result<(), SimError> {
        self.inner().node(node)?;
        locked(&self.inner().tuning).lags[node] = lag;
        self.inner().store.set_lag(node, lag);
        Ok(())
    }

    /// The CPU load, in percent, that a node's topology row reports; default 5.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn set_cpu(&self, node: usize, percent: f64) -> Result<(), SimError> {
        self.inner().node(node)?;
        locked(&self.inner().tuning).cpus[node] = percent;
        Ok(())
    }

    /// How long clients see the old address of a cluster endpoint after a change.
    pub fn set_dns_lag(&self, lag: Duration) {
        self.inner().names.set_lag(lag);
    }

    /// Time from a crash until the promoted reader accepts writes, drawn evenly from the range.
    pub fn set_promotion_time(&self, time: RangeInclusive<Duration>) {
        locked(&self.inner().tuning).promotion = time;
    }

    /// The same for a planned switchover.
    pub fn set_switchover_time(&self, time: RangeInclusive<Duration>) {
        locked(&self.inner().tuning).switchover = time;
    }

    /// How long after a promotion the old writer comes back as a reader.
    pub fn set_rejoin_time(&self, time: Duration) {
        locked(&self.inner().tuning).rejoin = time;
    }

    /// Whether a promoted reader restarts and so drops its connections.
    pub fn set_restart_promoted(&self, restart: bool) {
        locked(&self.inner().tuning).restart_promoted = restart;
    }

    /// What a Multi-AZ cluster lets sessions do with the extension `rds_tools`.
    pub fn set_rds_tools(&self, access: RdsTools) {
        *locked(&self.inner().rds_tools) = access;
    }

    /// Gives a user a (new) password; sessions that are logged in stay.
    pub fn set_password(&self, user: &str, password: &str) {
        locked(&self.inner().users).insert(user.to_owned(), password.to_owned());
    }

    /// Ends all sessions of a node with 57P01, as `pg_terminate_backend` does.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn terminate_sessions(&self, node: usize) -> Result<(), SimError> {
        self.inner().node(node)?.state().kill_all(Ending::Shutdown);
        Ok(())
    }

    /// Resets all connections of a node; it stays up and takes new ones.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn cut(&self, node: usize) -> Result<(), SimError> {
        self.inner().node(node)?.state().kill_all(Ending::Reset);
        Ok(())
    }

    /// What becomes of the next transaction with changes that a client of this node commits (single statements
    /// included); the one after is acknowledged again.
    ///
    /// # Errors
    /// [`SimError::NoSuchNode`].
    pub fn set_next_commit(&self, node: usize, fate: CommitFate) -> Result<(), SimError> {
        self.inner().node(node)?.state().next_commit = fate;
        Ok(())
    }
}
