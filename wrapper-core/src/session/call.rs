//! One call through the chain: the flat path that the default plugins use, and the nested one.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Current, Session};
use crate::driver::{DriverConnection, TransactionStatus, downcast};
use crate::env::Deadline;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::plugin::{Call, CallContext, ExecuteNext, Plugin, Recovery, Terminal, by, panicked};

/// What an adapter writes per driver method: a call that can run on a given connection, and again on another one.
pub trait Operation<C>: Send + Sync {
    /// The typed result, which never goes through the chain.
    type Out: Send;

    /// Runs the call on `connection`.
    ///
    /// # Errors
    /// The driver's error, classified.
    ///
    /// # Cancellation
    /// Dropping the future leaves the connection clean or marks it for discarding.
    fn run<'s>(&'s self, connection: &'s Arc<C>) -> impl Future<Output = Result<Self::Out>> + Send + 's;
}

struct Slot<'a, C, O: Operation<C>> {
    operation: &'a O,
    rerunnable: bool,
    runs: u32,
    out: Option<O::Out>,
    session: &'a Session<C>,
    given: &'a Arc<Current<C>>,
}

impl<C: DriverConnection, O: Operation<C>> Terminal for Slot<'_, C, O> {
    fn invoke<'s>(&'s mut self, connection: &'s Arc<dyn DriverConnection>) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move {
            self.out = None;
            if self.runs > 0 && !self.rerunnable {
                return Err(consumed());
            }
            self.runs += 1;
            // A pinned call stays on the connection it was given; any other attempt is on the session's.
            let out = if self.given.is_on(connection) {
                self.session.attempt(self.given, self.operation).await
            } else {
                downcast::<C>(Arc::clone(connection))?;
                let current = self.session.pin();
                self.session.attempt(&current, self.operation).await
            };
            self.out = Some(out?);
            Ok(())
        })
    }
}

impl<C: DriverConnection> Session<C> {
    /// Runs a call on the current connection.
    ///
    /// # Errors
    /// What the plugins made of the driver's error.
    ///
    /// # Cancellation
    /// Dropping the future abandons the call; see [`Operation::run`]. A switch that it has started goes on.
    pub fn call<'a, O: Operation<C>>(
        &'a self,
        call: &'a Call<'a>,
        operation: &'a O,
    ) -> impl Future<Output = Result<O::Out>> + Send + use<'a, C, O> {
        self.run_call(None, call, operation)
    }

    /// Runs a call on a given connection: the one that a transaction has pinned, or the one that was loaded.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Cancellation
    /// As for [`call`](Self::call).
    pub fn call_on<'a, O: Operation<C>>(
        &'a self,
        current: &'a Arc<Current<C>>,
        call: &'a Call<'a>,
        operation: &'a O,
    ) -> impl Future<Output = Result<O::Out>> + Send + use<'a, C, O> {
        self.run_call(Some(current), call, operation)
    }

    /// One body for the whole flat path: each `async fn` more between here and the driver is a state machine more.
    async fn run_call<O: Operation<C>>(
        &self,
        given: Option<&Arc<Current<C>>>,
        call: &Call<'_>,
        operation: &O,
    ) -> Result<O::Out> {
        let loaded;
        let current: &Arc<Current<C>> = match given {
            Some(given) => given,
            None => {
                // In the first poll: what was switched before the call was sent is not used.
                loaded = self.load();
                &loaded
            }
        };
        let entered = if self.chain().has_no_enter() { None } else { Some(self.chain().enter(call)) };
        let result = if self.chain().execute_list().is_empty() {
            let first = match self.refusal(current) {
                Ok(()) if self.options.socket_timeout.is_none() => {
                    let running = pin!(operation.run(&current.connection));
                    self.watched(current, running).await
                }
                Ok(()) => Box::pin(self.attempt(current, operation)).await,
                Err(refused) => Err(refused),
            };
            match first {
                Ok(out) => Ok(out),
                Err(error) => Box::pin(self.recovered(current, call, operation, error)).await,
            }
        } else {
            // Not boxed: it never lives together with the call's own future, which is larger.
            self.nested(current, call, operation).await
        };
        if let Some(entered) = entered {
            entered.finish(&result);
        }
        result
    }

    /// One attempt: watched, and bounded by `socket_timeout` when that is set.
    async fn attempt<O: Operation<C>>(&self, current: &Current<C>, operation: &O) -> Result<O::Out> {
        let running = pin!(operation.run(&current.connection));
        let watched = self.watched(current, running);
        let Some(timeout) = self.options.socket_timeout else { return watched.await };
        let deadline = Deadline::after(timeout, "socket_timeout");
        let before = current.connection.transaction_status();
        let result = deadline.run("the call", Box::pin(watched)).await;
        if let Err(error) = &result {
            if error.kind() == ErrorKind::Timeout && deadline.is_over() {
                // The answer may still come; nobody may read it as the answer to the next call.
                // What was sent inside a transaction shares its fate (R14); asked before the connection is gone.
                let outcome = match before {
                    TransactionStatus::Open | TransactionStatus::Failed => {
                        current.connection.outcome_if_lost()
                    }
                    _ => error.outcome(),
                };
                let lost = error
                    .clone()
                    .with_class(ErrorClass::Network)
                    .with_outcome(outcome)
                    .with_host(current.host.key.host());
                current.connection.kill(lost.clone());
                return Err(lost);
            }
        }
        result
    }

    /// The cold side of the flat path: the plugins that recover, innermost first.
    async fn recovered<O: Operation<C>>(
        &self,
        current: &Arc<Current<C>>,
        call: &Call<'_>,
        operation: &O,
        mut error: Error,
    ) -> Result<O::Out> {
        if self.chain().recover_list().is_empty() {
            return Err(error);
        }
        let mut cx = CallContext::new(*call, self, current.attempt());
        cx.count_attempt();
        loop {
            let mut rerun = false;
            for plugin in self.chain().recover_list().iter().rev() {
                match caught(&**plugin, plugin.recover(&mut cx, error.clone())).await {
                    Ok(Recovery::Fail(next)) => error = next,
                    Ok(Recovery::Rerun) => {
                        rerun = true;
                        break;
                    }
                    Err(panicked) => error = panicked.with_source(error),
                }
            }
            if !rerun {
                return Err(error);
            }
            if !call.rerunnable {
                return Err(consumed());
            }
            cx.follow()?;
            cx.count_attempt();
            let current = self.pin();
            match self.attempt(&current, operation).await {
                Ok(out) => return Ok(out),
                Err(next) => error = next,
            }
        }
    }

    /// The nested path, for sessions with a plugin that goes around `execute`.
    async fn nested<O: Operation<C>>(
        &self,
        current: &Arc<Current<C>>,
        call: &Call<'_>,
        operation: &O,
    ) -> Result<O::Out> {
        let mut slot = Slot {
            operation,
            rerunnable: call.rerunnable,
            runs: 0,
            out: None,
            session: self,
            given: current,
        };
        let mut cx = CallContext::new(*call, self, current.attempt());
        if let Err(refused) = self.refusal(current) {
            return Box::pin(self.recovered(current, call, operation, refused)).await;
        }
        let result = {
            let mut next = ExecuteNext::new(self.chain().execute_list(), &mut slot);
            let run = async { Ok(next.run(&mut cx).await) };
            AssertUnwindSafe(run)
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| Err(panicked("a plugin around `execute`", &*panic)))
        };
        result??;
        slot.out.ok_or_else(|| {
            Error::new(
                ErrorKind::Plugin,
                "a plugin returned Ok without running the rest of the chain; it must return an error instead",
            )
        })
    }
}

fn consumed() -> Error {
    Error::new(
        ErrorKind::NotRerunnable,
        "a plugin asked for a second run of a call whose inputs the first run consumed (a stream or COPY)",
    )
}

async fn caught<T>(plugin: &dyn Plugin, future: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panicked(by(plugin), &*panic))
}
