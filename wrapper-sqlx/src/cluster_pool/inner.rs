//! What all clones of a pool share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wrapper_core::connector::ConnectorCore;
use wrapper_core::env::Environment;
use wrapper_core::host::HostSelector;
use wrapper_core::plugin::{Call, Chain};
use wrapper_core::session::{Session, SessionOptions};
use wrapper_core::{Error, ErrorKind, Result};

use super::super::error::describe_error;
use super::super::error::into_sqlx;
use super::backend::Backend;
use super::hosts::Hosts;
use super::leased::{Leased, Original};
use super::route::Route;
use super::session::ClusterSession;

pub(super) struct Inner<DB: Backend> {
    pub(super) core: ConnectorCore,
    /// One chain for all: to its plugins the pool is one client with many calls in flight.
    pub(super) chain: Arc<Chain>,
    pub(super) hosts: Arc<Hosts<DB>>,
    pub(super) route: Arc<dyn Route>,
    pub(super) selector: Arc<dyn HostSelector>,
    pub(super) strict_reader: bool,
    pub(super) acquire_timeout: Duration,
}

impl<DB: Backend> Inner<DB> {
    pub(super) fn env(&self) -> &Environment {
        self.core.cluster().env()
    }

    /// A session on a connection for `call`.
    ///
    /// # Errors
    /// See [`connect`](Self::connect).
    ///
    /// # Cancellation
    /// Safe: a connection goes back.
    pub(super) async fn open(self: &Arc<Self>, call: &Call<'_>) -> Result<ClusterSession<DB>> {
        let connected = self.connect(call).await.map_err(|error| error.with_operation(call.method))?;
        self.session(connected)
    }

    pub(super) fn session(
        self: &Arc<Self>,
        connected: wrapper_core::plugin::Connected,
    ) -> Result<ClusterSession<DB>> {
        let mut options = SessionOptions::default();
        options.socket_timeout = self.core.settings().socket_timeout;
        // What a session has set is lost with its connection, as with any pool.
        options.transfer_state = false;
        let session: Arc<Session<Leased<DB>>> =
            Session::new(connected, Arc::clone(&self.chain), self.core.cluster().clone(), options)?;
        Ok(ClusterSession::new(session, Arc::clone(self)))
    }
}

/// The error for sqlx's users: sqlx's own where nothing was done about it, else the library's inside one of sqlx's.
pub(super) fn told<DB: Backend>(error: Error, original: &Original) -> sqlx::Error {
    let own = original.take();
    match error.kind() {
        ErrorKind::Statement | ErrorKind::Driver | ErrorKind::StaleStatement => {}
        ErrorKind::Closed if error.message() == super::hosts::CLOSED => return sqlx::Error::PoolClosed,
        _ => return into_sqlx(error),
    }
    let Some(own) = own.filter(|own| is_behind(&error, own)) else { return into_sqlx(error) };
    drop(error);
    match Arc::try_unwrap(own) {
        Ok(own) => own,
        // A plugin or an observer has kept it.
        Err(kept) => into_sqlx(describe_error::<DB>(&kept).with_shared_source(kept)),
    }
}

fn is_behind(error: &Error, own: &Arc<sqlx::Error>) -> bool {
    error.find_source::<sqlx::Error>().is_some_and(|source| std::ptr::eq(source, Arc::as_ptr(own)))
}

impl<DB: Backend> fmt::Debug for Inner<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("cluster", self.core.cluster())
            .field("hosts", &self.hosts)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
