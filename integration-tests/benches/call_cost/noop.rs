//! A driver that does nothing, and plugins that do nothing around it.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::plugin::{
    BuildContext, CallContext, ExecuteNext, MethodSet, OrderClass, Plugin, PluginFactory,
};
use wrapper_core::session::Operation;
use wrapper_core::{Error, ErrorClass, Result};

/// Opens [`NoConnection`]s.
#[derive(Debug)]
pub(crate) struct NoDriver;

#[async_trait]
impl DriverDialect for NoDriver {
    fn name(&self) -> &'static str {
        "none"
    }

    async fn connect(
        &self,
        _target: &ConnectTarget,
        _deadline: Deadline,
    ) -> Result<Arc<dyn DriverConnection>> {
        Ok(Arc::new(NoConnection(7)))
    }

    fn classify(&self, _error: &(dyn StdError + 'static)) -> ErrorClass {
        ErrorClass::Other
    }
}

/// Says that it is a writer, and otherwise nothing.
#[derive(Debug)]
pub(crate) struct NoConnection(pub(crate) u64);

#[async_trait]
impl DriverConnection for NoConnection {
    async fn fetch_text(&self, _sql: &str, _deadline: Deadline) -> Result<Rows> {
        Ok(Rows::new(vec!["in_recovery".to_owned()], vec![vec![Some("f".to_owned())]]))
    }

    async fn ping(&self, _deadline: Deadline) -> Result<()> {
        Ok(())
    }

    fn kill(&self, _reason: Error) {}

    fn drain(&self) {}

    fn is_closed(&self) -> bool {
        false
    }

    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    fn bytes_received(&self) -> u64 {
        0
    }
}

/// A call that is answered at once.
pub(crate) struct Nothing;

impl Operation<NoConnection> for Nothing {
    type Out = u64;
    async fn run(&self, connection: &Arc<NoConnection>) -> Result<u64> {
        Ok(std::hint::black_box(connection.0))
    }
}

/// A call that waits once, as every call of a real driver does.
pub(crate) struct Waits;

impl Operation<NoConnection> for Waits {
    type Out = u64;
    async fn run(&self, connection: &Arc<NoConnection>) -> Result<u64> {
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        Ok(std::hint::black_box(connection.0))
    }
}

/// A plugin that goes around every call and does nothing there.
#[derive(Debug)]
pub(crate) struct Around(pub(crate) &'static str);

impl PluginFactory for Around {
    fn name(&self) -> &'static str {
        self.0
    }

    fn build(&self, _cx: &BuildContext<'_>) -> Result<Arc<dyn Plugin>> {
        Ok(Arc::new(Self(self.0)))
    }
}

#[async_trait]
impl Plugin for Around {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> OrderClass {
        OrderClass::Observe
    }

    fn subscriptions(&self) -> MethodSet {
        MethodSet::EXECUTE
    }

    async fn execute(&self, cx: &mut CallContext<'_>, mut next: ExecuteNext<'_>) -> Result<()> {
        next.run(cx).await
    }
}
