//! Connections that the pool's hooks open themselves, to put them in the place of one that is of no use.
//!
//! What lives here: the search for a host that may stand behind a connection of the pool, and the proof that it does.
//! What may not: when that is wanted (`hooks`).
//!
//! Why not leave it to sqlx: it closes what a hook refuses, and over TLS that waits for the other side, which may be
//! silent for ever; and after a refused connect it waits longer each time, up to a fifth of the time that an acquire has.

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::cluster::ClusterCore;
use wrapper_core::dialect::Phase;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostKey};
use wrapper_core::topology::HostStatus;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use super::super::error::{classify, into_sqlx, map_error};
use super::super::family::Family;
use super::super::sqlx;
use super::lent;
use super::shared::Shared;

/// After a failed attempt; with jitter, so that the connections of a pool do not march in step.
const PAUSE: Duration = Duration::from_millis(30);
/// After refused credentials: the server must not be flooded with failing logins.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);

/// How long the others wait for the connections that are opened first. A host that is quick lets many in meanwhile; one
/// that is far away loses no more than this.
const HEAD_START: Duration = Duration::from_millis(40);

/// How long one reader has to let a connection in.
const READER_CONNECT: Duration = Duration::from_secs(2);

/// Why a connection is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The pool was switched; the topology says where to.
    Switched,
    /// It does not answer, or the host behind it is not what it should be: the topology is in doubt.
    Doubt,
}

impl<DB: Family> Shared<DB> {
    /// Whether the host behind a connection may be behind one of this pool, by its own word within `limit`; and what it
    /// said.
    ///
    /// # Errors
    /// No answer.
    pub(super) async fn prove(
        &self,
        connection: &mut DB::Connection,
        cluster: &ClusterCore,
        limit: Duration,
    ) -> Result<(bool, HostStatus)> {
        let epoch = cluster.writer_epoch();
        let status = lent::status::<DB>(connection, cluster, Deadline::after(limit, "a role check")).await?;
        let fits = cluster.topology().is_some_and(|published| self.fits(&published.topology, &status));
        Ok((fits && cluster.writer_epoch() == epoch, status))
    }

    /// Whether a connection answers within `limit`.
    pub(super) async fn answers(&self, connection: &mut DB::Connection, limit: Duration) -> bool {
        let ping = async { DB::probe(connection).await.map_err(map_error::<DB>) };
        Deadline::after(limit, "a ping").run("a ping", ping).await.is_ok()
    }

    /// Whether what the last user of a connection has left unfinished is done within `limit`: the rest of an abandoned
    /// answer, a rollback. A transaction that is open then is rolled back: sqlx forgets one whose BEGIN was abandoned.
    pub(super) async fn settles(&self, connection: &mut DB::Connection, limit: Duration) -> bool {
        let settle = async { settle::<DB>(connection).await.map_err(map_error::<DB>) };
        Deadline::after(limit, "a release").run("settling a connection", settle).await.is_ok()
    }

    /// Opens a connection to a host of the pool's role and proves that it has it; waits for the cluster to have one.
    ///
    /// # Errors
    /// At `within`, what the last attempt failed with; at once when the pool is followed no longer.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub(super) async fn open(&self, cause: Cause, within: Duration) -> sqlx::Result<DB::Connection> {
        let deadline = Deadline::after(within, "acquire_timeout");
        let opened = async {
            if self.readers.is_some() {
                self.open_reader(deadline).await
            } else {
                self.open_writer(cause, deadline).await
            }
        };
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(into_sqlx(no_longer())),
            opened = deadline.run("replacing a connection of the pool", opened) => opened.map_err(into_sqlx),
        }
    }

    async fn open_writer(&self, cause: Cause, deadline: Deadline) -> Result<DB::Connection> {
        let mut in_doubt = cause == Cause::Doubt;
        loop {
            let cluster = self.cluster().ok_or_else(no_longer)?;
            let known = cluster.topology().filter(|published| published.verified && !in_doubt);
            let published = match known {
                Some(published) => published,
                // One search for all connections of all pools; a healthy writer answers it at once.
                None => match cluster.search_writer(deadline).await {
                    Ok(published) => published,
                    Err(error) if error.class() == ErrorClass::Login => {
                        self.env.sleep(LOGIN_PAUSE).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let Some(writer) = published.topology.writer().cloned() else {
                in_doubt = true;
                continue;
            };
            let mut topology = cluster.subscribe();
            let moved = async {
                let moved = topology.wait_for(|published| {
                    let verified = published.as_ref().filter(|published| published.verified);
                    let now = verified.and_then(|published| published.topology.writer());
                    now.is_some_and(|now| now.key != writer.key)
                });
                drop(moved.await);
            };
            let attempt = tokio::select! {
                biased;
                () = moved => {
                    in_doubt = false;
                    continue;
                }
                attempt = self.open_in_turn(&cluster, &writer, deadline) => attempt,
            };
            match attempt {
                Ok(connection) => return Ok(connection),
                Err(error) if deadline.is_over() => return Err(error),
                Err(error) => self.pause_after(&error).await,
            }
            in_doubt = true;
        }
    }

    /// After a failover every connection of a pool is replaced at the same moment: a few get a head start.
    async fn open_in_turn(
        &self,
        cluster: &Arc<ClusterCore>,
        writer: &HostInfo,
        deadline: Deadline,
    ) -> Result<DB::Connection> {
        let _first = tokio::select! {
            biased;
            first = self.first.acquire() => first.ok(),
            () = self.env.sleep(HEAD_START) => None,
        };
        self.open_at(cluster, writer, deadline).await
    }

    async fn open_reader(&self, deadline: Deadline) -> Result<DB::Connection> {
        let mut tried: Vec<HostKey> = Vec::new();
        loop {
            let cluster = self.cluster().ok_or_else(no_longer)?;
            let topology = cluster.topology().map(|published| published.topology);
            let chosen = self.readers.as_ref().zip(topology).and_then(|(readers, topology)| {
                readers.choose(&topology, &tried).map(|host| (readers, host))
            });
            let Some((readers, host)) = chosen else {
                // All were tried: the next round begins with what the monitor knows by then.
                tried.clear();
                cluster.request_search();
                self.env.sleep(self.env.jitter(PAUSE * 4, 50)).await;
                continue;
            };
            match self.open_at(&cluster, &host, deadline).await {
                Ok(connection) => {
                    readers.note_answered(&host.key);
                    return Ok(connection);
                }
                Err(error) if deadline.is_over() => return Err(error),
                Err(error) => {
                    readers.note_failed(&host.key);
                    tried.push(host.key);
                    if error.class() == ErrorClass::Login {
                        self.env.sleep(LOGIN_PAUSE).await;
                    }
                }
            }
        }
    }

    async fn pause_after(&self, error: &Error) {
        let pause = if error.class() == ErrorClass::Login { LOGIN_PAUSE } else { self.env.jitter(PAUSE, 50) };
        self.env.sleep(pause).await;
    }

    /// Opens a connection to exactly `host`, proves its role, and runs the application's own hook on it.
    ///
    /// # Errors
    /// Whatever connect, question or hook return; [`ErrorKind::WrongRole`].
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub(super) async fn open_at(
        &self,
        cluster: &Arc<ClusterCore>,
        host: &HostInfo,
        deadline: Deadline,
    ) -> Result<DB::Connection> {
        // There is another reader to try; for the writer, a change of the topology ends the attempt.
        let limit = if self.readers.is_some() { READER_CONNECT } else { self.limits.connect };
        let limit = limit.min(self.limits.connect);
        let deadline = deadline.cap(limit, "connect_timeout");
        let options = self.options_for(host).ok_or_else(no_longer)?;
        let mut connection = self.connect(cluster, host, options, deadline).await?;
        let epoch = cluster.writer_epoch();
        let (fits, status) =
            self.prove(&mut connection, cluster, deadline.remaining().min(self.limits.query)).await?;
        if fits {
            self.hooks.after_connect(&mut connection).await.map_err(map_error::<DB>)?;
        }
        if !fits || cluster.writer_epoch() != epoch {
            return Err(Error::new(
                ErrorKind::WrongRole,
                format!("{} is a {}, but a {} was asked for", host.key, status.role(), self.role()),
            )
            .with_host(host.host()));
        }
        Ok(connection)
    }
}

/// How many abandoned statements may have failed on a connection that is given back.
const ABANDONED: u32 = 8;

async fn settle<DB: Family>(connection: &mut DB::Connection) -> sqlx::Result<()> {
    for _ in 0..ABANDONED {
        match DB::settle(connection).await {
            Ok(()) => return Ok(()),
            // The answer to an abandoned statement.
            Err(error)
                if classify::<DB>(&error, Phase::Session) != ErrorClass::Network && is_servers(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(sqlx::Error::Protocol("too many abandoned statements have failed".to_owned()))
}

fn is_servers(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_))
}

fn no_longer() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the pool is followed no longer: its handle was dropped, or the pool was closed",
    )
}
