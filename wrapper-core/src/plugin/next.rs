//! The cursors that a plugin runs to reach the rest of its chain.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::chain::{by, panicked};
use super::{CallContext, ConnectContext, Connected, Plugin};
use crate::driver::DriverConnection;
use crate::error::Result;

/// The end of an execute chain: runs the driver's call and keeps its typed result in the caller's frame.
pub trait Terminal: Send {
    /// Runs the call on `connection`.
    ///
    /// # Errors
    /// The driver's error; or a typed one when the inputs were consumed by an earlier run.
    fn invoke<'s>(&'s mut self, connection: &'s Arc<dyn DriverConnection>) -> BoxFuture<'s, Result<()>>;
}

/// The rest of a chain for one call. Running it again is legal; two runs at once do not compile.
pub struct ExecuteNext<'a> {
    rest: &'a [Arc<dyn Plugin>],
    terminal: &'a mut dyn Terminal,
}

impl<'a> ExecuteNext<'a> {
    /// A cursor over `rest` that ends in `terminal`; plugins' own tests start here.
    pub fn new(rest: &'a [Arc<dyn Plugin>], terminal: &'a mut dyn Terminal) -> Self {
        Self { rest, terminal }
    }

    /// Runs the rest of the chain on the context's connection.
    ///
    /// # Errors
    /// Whatever the rest of the chain returns.
    ///
    /// # Cancellation
    /// Dropping the future abandons the attempt.
    pub fn run<'s>(&'s mut self, cx: &'s mut CallContext<'_>) -> BoxFuture<'s, Result<()>> {
        match self.rest.split_first() {
            Some((plugin, rest)) => plugin.execute(cx, ExecuteNext { rest, terminal: &mut *self.terminal }),
            None => {
                cx.count_attempt();
                self.terminal.invoke(cx.connection())
            }
        }
    }
}

impl std::fmt::Debug for ExecuteNext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecuteNext").field("rest", &self.rest).finish_non_exhaustive()
    }
}

/// The rest of a chain for one connect. `Copy`: running it again opens another connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectNext<'a> {
    rest: &'a [Arc<dyn Plugin>],
    force: bool,
}

impl<'a> ConnectNext<'a> {
    /// A cursor over `rest` that ends in the cluster's driver; `force` chooses the pipeline.
    pub fn new(rest: &'a [Arc<dyn Plugin>], force: bool) -> Self {
        Self { rest, force }
    }

    /// Runs the rest of the chain towards the context's target.
    ///
    /// # Errors
    /// Whatever the rest of the chain, or the driver, returns.
    ///
    /// # Cancellation
    /// Dropping the future closes whatever it opened.
    pub async fn run(self, cx: &mut ConnectContext<'_>) -> Result<Connected> {
        match self.rest.split_first() {
            Some((plugin, rest)) => {
                let next = ConnectNext { rest, force: self.force };
                let run = async {
                    if self.force {
                        plugin.force_connect(cx, next).await
                    } else {
                        plugin.connect(cx, next).await
                    }
                };
                AssertUnwindSafe(run)
                    .catch_unwind()
                    .await
                    .unwrap_or_else(|panic| Err(panicked(by(&**plugin), &*panic)))
            }
            None => {
                let epoch = cx.cluster.writer_epoch();
                let connection = cx.cluster.driver().connect(&cx.target, cx.deadline).await?;
                Ok(Connected::new(connection, cx.target.host.clone(), epoch))
            }
        }
    }
}
