//! What goes through a chain: the description of a call or a connect, never its rows.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::driver::{ConnectPurpose, ConnectTarget, DriverConnection};
use crate::env::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostInfo, HostRole};
use crate::session::{Attempt, SessionSeam};

/// The description of a call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The method, such as `query`.
    pub method: &'static str,
    /// The SQL text, where the method has one.
    pub sql: Option<&'a str>,
    /// Whether the call can run a second time; false when its inputs are consumed.
    pub rerunnable: bool,
    /// Whether the call is made on a pinned transaction.
    pub pinned: bool,
}

impl<'a> Call<'a> {
    /// A call of `method`, which can run again and is not pinned.
    pub const fn new(method: &'static str) -> Self {
        Self { method, sql: None, rerunnable: true, pinned: false }
    }

    /// The same call with its SQL text.
    #[must_use]
    pub const fn sql(mut self, sql: &'a str) -> Self {
        self.sql = Some(sql);
        self
    }

    /// The same call, with inputs that the first attempt consumes.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.rerunnable = false;
        self
    }

    /// The same call, pinned to its transaction's connection.
    #[must_use]
    pub const fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }
}

/// A call on its way through the chain: its description, the attempt's connection, the session.
#[derive(Debug)]
pub struct CallContext<'a> {
    call: Call<'a>,
    session: &'a dyn SessionSeam,
    attempt: Attempt,
    attempts: u32,
}

impl<'a> CallContext<'a> {
    pub(crate) fn new(call: Call<'a>, session: &'a dyn SessionSeam, attempt: Attempt) -> Self {
        Self { call, session, attempt, attempts: 0 }
    }

    /// The description of the call.
    pub fn call(&self) -> &Call<'a> {
        &self.call
    }

    /// The connection of this attempt.
    pub fn connection(&self) -> &Arc<dyn DriverConnection> {
        &self.attempt.connection
    }

    /// The host of this attempt.
    pub fn host(&self) -> &HostInfo {
        &self.attempt.host
    }

    /// The attempt: connection, host, generation.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The generation of this attempt.
    pub fn generation(&self) -> u64 {
        self.attempt.generation
    }

    /// How many attempts have been started.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The session.
    pub fn session(&self) -> &'a dyn SessionSeam {
        self.session
    }

    /// Takes the session's current connection for the next attempt.
    ///
    /// # Errors
    /// [`ErrorKind::TransactionStateUnknown`] when the call is pinned to a transaction.
    pub fn follow(&mut self) -> Result<()> {
        if self.call.pinned {
            return Err(Error::new(
                ErrorKind::TransactionStateUnknown,
                "a call of a transaction cannot move to another connection",
            ));
        }
        self.attempt = self.session.current();
        Ok(())
    }

    pub(crate) fn count_attempt(&mut self) {
        self.attempts += 1;
    }
}

/// A connect on its way through the chain.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectContext<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Where to, and what for.
    pub target: ConnectTarget,
    /// The role that the connection must have.
    pub role: HostRole,
    /// When it must have ended.
    pub deadline: Deadline,
    /// Whether it opens a session, in contrast to a later switch.
    pub initial: bool,
}

impl<'a> ConnectContext<'a> {
    /// A connect to `target` that ends by `deadline`; any role will do.
    pub fn new(cluster: &'a Cluster, target: ConnectTarget, deadline: Deadline) -> Self {
        Self { cluster, target, role: HostRole::Unknown, deadline, initial: false }
    }

    /// Whether a monitor of the library asks.
    pub fn is_monitor(&self) -> bool {
        self.target.purpose == ConnectPurpose::Monitor
    }
}

/// An open connection, the host behind it, and when it began to be opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The connection.
    pub connection: Arc<dyn DriverConnection>,
    /// The host behind it; its role is the one that the host itself gave, or unknown.
    pub host: HostInfo,
    /// The cluster's count of writer changes when the connect began: a later change makes it suspect.
    pub epoch: u64,
}

impl Connected {
    /// `connection` to `host`, opened since `epoch`.
    pub fn new(connection: Arc<dyn DriverConnection>, host: HostInfo, epoch: u64) -> Self {
        Self { connection, host, epoch }
    }
}
