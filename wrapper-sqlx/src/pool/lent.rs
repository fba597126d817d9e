//! A connection that a pool's hook has for a moment, as core's questions need it: one that can be shared.
//!
//! What lives here: [`status`]. What may not: what follows from the answer.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use wrapper_core::cluster::ClusterCore;
use wrapper_core::driver::{DriverConnection, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::topology::HostStatus;
use wrapper_core::{Error, ErrorKind, Result};

use super::super::error::map_error;
use super::super::family::Family;

/// Asks the server behind a connection who it is and what role it has, in the cluster's dialect.
///
/// # Errors
/// The question's, or a time-out.
///
/// # Cancellation
/// Safe: sqlx reads the rest of an abandoned answer before the next call.
pub(super) async fn status<DB: Family>(
    connection: &mut DB::Connection,
    cluster: &ClusterCore,
    deadline: Deadline,
) -> Result<HostStatus> {
    let Some(provider) = cluster.provider() else {
        return Err(Error::new(ErrorKind::Topology, "the cluster's dialect is not known yet"));
    };
    let (asks, mut asked) = mpsc::channel(1);
    let lent = Lent(asks);
    let question = provider.status(&lent, deadline);
    let answers = async {
        while let Some(Ask { sql, answer }) = asked.recv().await {
            let rows = match sql {
                Some(sql) => DB::ask(connection, sql).await.map(|(rows, _)| rows),
                None => DB::probe(connection).await.map(|()| Rows::default()),
            };
            // Whoever has asked may have gone.
            let _ = answer.send(rows.map_err(map_error::<DB>));
        }
        // `lent` lives as long as the question does, so the channel does not close before it.
        std::future::pending().await
    };
    let both = async {
        tokio::select! {
            biased;
            status = question => status,
            never = answers => never,
        }
    };
    deadline.run("asking a host for its role", both).await
}

struct Ask {
    /// Nothing: a ping.
    sql: Option<String>,
    answer: oneshot::Sender<Result<Rows>>,
}

/// Passes questions on to the hook that has the connection.
struct Lent(mpsc::Sender<Ask>);

impl Lent {
    async fn pass_on(&self, sql: Option<String>) -> Result<Rows> {
        let gone = || Error::new(ErrorKind::Closed, "the connection was given back to its pool");
        let (answer, answered) = oneshot::channel();
        self.0.send(Ask { sql, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl DriverConnection for Lent {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        deadline.run("query", self.pass_on(Some(sql.to_owned()))).await
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        deadline.run("ping", self.pass_on(None)).await.map(drop)
    }

    /// It is the pool's to close.
    fn kill(&self, _reason: Error) {}

    fn drain(&self) {}

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Unknown
    }

    fn bytes_received(&self) -> u64 {
        0
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lent")
    }
}
