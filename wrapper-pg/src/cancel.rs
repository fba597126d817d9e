//! Cancelling what runs on a connection.

use std::fmt;
use std::sync::Arc;

use tokio_postgres::NoTls;
use wrapper_core::Result;
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;

use crate::driver::{Address, Shared};

/// Cancels what runs on one connection, from anywhere. Cheap to clone; keeps no connection open.
#[derive(Clone)]
pub struct CancelToken {
    token: tokio_postgres::CancelToken,
    host: HostInfo,
    address: Address,
    shared: Arc<Shared>,
}

impl CancelToken {
    pub(crate) fn new(
        token: tokio_postgres::CancelToken,
        host: HostInfo,
        address: Address,
        shared: Arc<Shared>,
    ) -> Self {
        Self { token, host, address, shared }
    }

    /// Asks the server to cancel the statement that runs now, if any. The server does not say whether it did.
    ///
    /// Dials the address of the connection, not its host name, which may lead elsewhere by now.
    ///
    /// # Errors
    /// The server was not reached, or not by `deadline`.
    ///
    /// # Cancellation
    /// Safe: the socket is closed.
    pub async fn cancel(&self, deadline: Deadline) -> Result<()> {
        let (socket, handshake) = self.shared.reopen(&self.host, &self.address, deadline).await?;
        let sent = async {
            let sent = match handshake {
                Some(tls) => self.token.cancel_query_raw(socket, tls).await,
                None => self.token.cancel_query_raw(socket, NoTls).await,
            };
            sent.map_err(|error| self.shared.connect_error(error, &self.host))
        };
        deadline.run("sending the cancel request", sent).await
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("host", &self.host.key).finish_non_exhaustive()
    }
}
