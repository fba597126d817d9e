//! The client: the methods of `tokio_postgres::Client` over a session that can be switched.
//!
//! What lives here: [`Client`] and the operations that its methods are made of. What may not: transactions, the
//! connect pipeline, protocol details.

mod copy;
mod methods;
mod ops;
mod stream;

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use wrapper_core::Result;
use wrapper_core::host::HostInfo;
use wrapper_core::plugin::Call;
use wrapper_core::session::{Current, Operation, Session};

use crate::connection::PgConnection;

pub use copy::{CopyInSink, CopyOutStream};
pub use stream::{RowStream, SimpleQueryStream};

pub(crate) use ops::{Batch, Execute, ExecuteTyped, Prepare, Query, QueryTyped, RawQuery, SimpleQuery};

/// A client of a cluster, with the methods of `tokio_postgres::Client`.
///
/// Every method takes `&self` and can be called while others are in flight: calls are pipelined in the order of their
/// first polls, as in the driver. When the connection is lost, the session is switched to a healthy host and the call
/// ends with a typed error; the client itself stays usable.
///
/// # Cancellation
/// Dropping the future of any method abandons its answer, not the statement: the server finishes it, and the next
/// answer is not mixed up with it. Use [`cancel_token`](Self::cancel_token) to stop the statement itself.
#[derive(Debug)]
pub struct Client {
    session: Arc<Session<PgConnection>>,
    notifications: crate::notifications::Hub,
}

impl Client {
    pub(crate) fn new(session: Arc<Session<PgConnection>>, notifications: crate::notifications::Hub) -> Self {
        Self { session, notifications }
    }

    pub(crate) fn session(&self) -> &Arc<Session<PgConnection>> {
        &self.session
    }

    pub(crate) fn hub(&self) -> &crate::notifications::Hub {
        &self.notifications
    }

    /// The host that the session stands on, with the role that it had when the connection was opened.
    pub fn host(&self) -> HostInfo {
        self.session.load().host.clone()
    }

    /// Counts the connections of this client, from 1: it grows with every switch.
    pub fn generation(&self) -> u64 {
        self.session.load().generation
    }

    /// Whether the connection is known to be unusable: closed, broken, or leading to a demoted writer. With failover
    /// on, the next call switches the session all the same.
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Closes the client: calls in flight and later ones end with [`ErrorKind::Closed`](wrapper_core::ErrorKind).
    pub fn close(&self) {
        self.session.close();
    }

    /// Runs `call` with the driver's own client, inside the chain. What it does is not repeated, and statements that
    /// it prepares do not survive a switch; transactions are to be begun by [`transaction`](Self::transaction).
    ///
    /// ```no_run
    /// # async fn f(client: &wrapper_pg::Client) -> wrapper_pg::Result<()> {
    /// let columns = client
    ///     .with_raw(|raw| Box::pin(async move { Ok(raw.prepare("SELECT 1").await?.columns().len()) }))
    ///     .await?;
    /// # let _ = columns; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The driver's error, classified; what the plugins made of it.
    ///
    /// # Cancellation
    /// As safe as the closure.
    pub async fn with_raw<T, F>(&self, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c tokio_postgres::Client) -> BoxFuture<'c, Result<T, tokio_postgres::Error>>
            + Send
            + Sync,
    {
        self.session.call(&Call::new("with_raw").once(), &ops::WithRaw(call)).await
    }
}

/// Awaits one request of the driver: takes the connection's mark in the poll that sends, tells the connection what
/// succeeded, and maps what failed.
pub(crate) async fn send<T>(
    connection: &Arc<PgConnection>,
    operation: &'static str,
    sql: Option<&str>,
    request: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    let started = connection.start(sql);
    let unheard = connection.unheard(sql);
    let answer = request.await;
    unheard.over();
    match answer {
        Ok(out) => {
            connection.succeeded(sql);
            connection.check_commit(sql, &started, operation)?;
            Ok(out)
        }
        Err(error) => Err(connection.failed(error, &started, operation)),
    }
}

/// Where the methods of a client or of a transaction run their operations. Not an `async fn` for a client: it would be
/// one more state machine around each call.
pub(crate) trait Runner: Sync {
    fn run_on<'s, O: Operation<PgConnection>>(
        &'s self,
        call: &'s Call<'s>,
        operation: &'s O,
    ) -> impl Future<Output = Result<O::Out>> + Send + 's;

    fn session(&self) -> &Arc<Session<PgConnection>>;

    /// The connection that is pinned, for a transaction.
    fn pinned(&self) -> Option<&Arc<Current<PgConnection>>>;
}

impl Runner for Client {
    fn run_on<'s, O: Operation<PgConnection>>(
        &'s self,
        call: &'s Call<'s>,
        operation: &'s O,
    ) -> impl Future<Output = Result<O::Out>> + Send + 's {
        self.session.call(call, operation)
    }

    fn session(&self) -> &Arc<Session<PgConnection>> {
        &self.session
    }

    fn pinned(&self) -> Option<&Arc<Current<PgConnection>>> {
        None
    }
}
