//! Ending a transaction: the flags that say what was sent, and what the server made of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use wrapper_core::plugin::Call;
use wrapper_core::session::Operation;
use wrapper_core::{Result, TransactionOutcome};

use super::Transaction;
use crate::client::send;
use crate::connection::PgConnection;

impl Transaction<'_> {
    pub(super) async fn end(&mut self, sql: &str, commit: bool) -> Result<()> {
        let method = if commit { "commit" } else { "rollback" };
        let end = End { sql, method, sent: AtomicBool::new(false) };
        // Set by the terminal in the poll that sends: dropped before that, the transaction is rolled back by `Drop`.
        struct Settle<'a>(&'a AtomicBool, &'a mut bool);
        impl Drop for Settle<'_> {
            fn drop(&mut self) {
                *self.1 = self.0.load(Ordering::Acquire);
            }
        }
        let mut done = false;
        let result = {
            let _settle = Settle(&end.sent, &mut self.done);
            self.session.call_on(&self.pinned, &Call::new(method).sql(sql).pinned(), &end).await
        };
        std::mem::swap(&mut done, &mut self.done);
        self.done = done;
        result
    }
}

struct End<'a> {
    sql: &'a str,
    method: &'static str,
    sent: AtomicBool,
}

impl Operation<PgConnection> for End<'_> {
    type Out = ();

    async fn run(&self, connection: &Arc<PgConnection>) -> Result<()> {
        if let Some(lost) = connection.lost_before_sending() {
            return Err(lost.with_outcome(TransactionOutcome::RolledBack));
        }
        self.sent.store(true, Ordering::Release);
        send(connection, self.method, Some(self.sql), connection.client().batch_execute(self.sql)).await
    }
}

/// Sends `sql` without waiting for its answer, which the driver's task reads and drops.
pub(crate) fn forget(connection: &Arc<PgConnection>, sql: &str) {
    connection.announce(sql);
    let request = pin!(connection.client().batch_execute(sql));
    // The driver queues a request at its first poll.
    let _ = request.poll(&mut Context::from_waker(Waker::noop()));
}
