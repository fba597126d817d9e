//! What can go wrong while a local cluster is built or driven.

use std::io;
use std::time::Duration;

use crate::verbs::NodeId;

/// Why a local cluster could not be started or did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No complete set of PostgreSQL server programs on this machine.
    #[error(
        "no PostgreSQL server programs (initdb, postgres, pg_rewind, pg_basebackup) found; looked in {searched}; \
         install the Debian package `postgresql`, or set PGBIN to the folder that holds them"
    )]
    NoBinaries {
        /// The places looked at.
        searched: String,
    },
    /// No MariaDB or MySQL server programs on this machine.
    #[error(
        "no MariaDB server (mariadbd, with mariadb-install-db) and no MySQL server (mysqld, 8.4 or newer) found; looked \
         in {searched}; install the Debian package `mariadb-server`, or set MYSQLD to the path of either server"
    )]
    NoMySql {
        /// The places looked at.
        searched: String,
    },
    /// The process runs as root and finds no account for the servers, which refuse to run as root.
    #[error(
        "database servers do not run as root, and this machine has neither a user `postgres` nor `nobody` to run it as; \
         add one of them, or run as an ordinary user"
    )]
    NoAccount,
    /// No 127.x.y.0/24 with one port free on all its addresses.
    #[error("no port free on three addresses of one 127.x.y.0/24 after {attempts} attempts: {last}")]
    NoAddress {
        /// How many networks were tried.
        attempts: u32,
        /// Why the last one failed.
        last: io::Error,
    },
    /// A setting of the builder that cannot be.
    #[error("{setting} = {value:?}: {expected}")]
    Setting {
        /// The builder's method.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A file, folder or process of the cluster failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program of the database failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// A server ended instead of accepting connections.
    #[error("the server of {node} ended ({status}); the end of its log: {log}")]
    ServerEnded {
        /// Which one.
        node: NodeId,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A server answered a statement of the harness with an error, or not at all.
    #[error("{node}, {what}: {source}")]
    Sql {
        /// Which one.
        node: NodeId,
        /// What was tried.
        what: &'static str,
        /// The driver's error.
        source: tokio_postgres::Error,
    },
    /// A MySQL-family server answered a statement of the harness with an error, or not at all.
    #[error("{node}, {what}: {source}")]
    MySql {
        /// Which one.
        node: NodeId,
        /// What was tried.
        what: &'static str,
        /// The driver's error.
        source: mysql_async::Error,
    },
    /// Something did not happen in time.
    #[error("not within {limit:?}: {what}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// A verb that needs the proxies, on a cluster without.
    #[error("`{verb}` works by the proxy before the node: start the cluster with `.with_proxy(true)`")]
    NoProxy {
        /// The verb.
        verb: &'static str,
    },
    /// The node is in no state for the verb.
    #[error("cannot {verb} {node}: {reason}")]
    WrongState {
        /// The verb.
        verb: &'static str,
        /// The node.
        node: NodeId,
        /// What is in the way.
        reason: String,
    },
    /// No standby is left that could be promoted.
    #[error("no running standby is left to promote after {old_writer} was lost")]
    NoCandidate {
        /// The writer that was lost.
        old_writer: NodeId,
    },
    /// A promotion would leave the new writer alone; nothing was done.
    #[error(
        "cannot {verb}: {left} would be left alone, and a commit waits for a standby; bring another node back first \
         (`rejoin`, `restart`, `thaw`), or let old writers come back by themselves (`rejoin_after`)"
    )]
    NoStandby {
        /// The verb.
        verb: &'static str,
        /// The only node that could be promoted.
        left: NodeId,
    },
    /// The cluster was stopped meanwhile.
    #[error("the cluster was stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
