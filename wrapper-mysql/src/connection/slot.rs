//! Where the driver's connection is while no call has it.

use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use wrapper_core::Error;

use super::{MysqlConnection, replaced};

/// A ROLLBACK that was sent and nobody has waited for yet.
pub(super) type Rolling = BoxFuture<'static, (Box<Conn>, mysql_async::Result<()>)>;

pub(super) enum Slot {
    Idle(Box<Conn>),
    /// A call has it.
    Busy,
    /// The transaction of before is being rolled back; the next call reads the answer first.
    Rolling(Rolling),
    Gone,
}

/// Says goodbye as far as that needs no waiting, and closes the socket.
pub(super) fn close(conn: Conn) {
    // The driver would run a polite end as a task of its own if its connection were dropped without this.
    let goodbye = pin!(conn.disconnect());
    let _ = goodbye.poll(&mut Context::from_waker(Waker::noop()));
}

impl MysqlConnection {
    pub(super) fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is there; what is gone stays gone.
    pub(super) fn take(&self) -> Slot {
        let mut slot = self.slot();
        match &*slot {
            Slot::Gone => Slot::Gone,
            _ => mem::replace(&mut *slot, Slot::Busy),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(&*self.slot(), Slot::Idle(_) | Slot::Rolling(_))
    }

    /// Closes the socket unless a call has the connection, which ends by itself.
    pub(super) fn close_if_idle(&self) {
        let mut slot = self.slot();
        if matches!(&*slot, Slot::Idle(_) | Slot::Rolling(_)) {
            if let Slot::Idle(conn) = mem::replace(&mut *slot, Slot::Gone) {
                close(*conn);
            }
        }
    }

    /// Puts the driver's connection back after a call that ended in order.
    pub(super) fn put_back(&self, conn: Box<Conn>) {
        let mut slot = self.slot();
        // Looked at under the lock: who ends the connection takes it out of the slot afterwards.
        if self.fate.is_draining() && !self.fate.has_ended() {
            self.fate.end(replaced());
        }
        if self.fate.has_ended() {
            *slot = Slot::Gone;
            close(*conn);
        } else {
            *slot = Slot::Idle(conn);
        }
    }

    /// The call in flight was dropped, or the connection broke.
    pub(super) fn gone(&self, conn: Option<Box<Conn>>, reason: Error) {
        self.fate.end(reason);
        *self.slot() = Slot::Gone;
        if let Some(conn) = conn {
            close(*conn);
        }
    }

    /// Sends a ROLLBACK without waiting for its answer, which the next call reads; for the end of a transaction that
    /// nobody has ended.
    pub(crate) fn roll_back(&self) {
        let mut slot = self.slot();
        self.undone.store(false, Ordering::Release);
        let conn = match mem::replace(&mut *slot, Slot::Busy) {
            Slot::Idle(conn) => conn,
            // A call that is in flight or was given up takes the connection with it.
            other => {
                *slot = other;
                return;
            }
        };
        let mut rolling: Rolling = Box::pin(async move {
            let mut conn = conn;
            let result = conn.query_drop("ROLLBACK").await;
            (conn, result)
        });
        *slot = match rolling.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready((conn, Ok(()))) => {
                self.status.read(&conn);
                Slot::Idle(conn)
            }
            // Kept for the next call, which finds the error.
            Poll::Ready(failed) => Slot::Rolling(Box::pin(std::future::ready(failed))),
            Poll::Pending => Slot::Rolling(rolling),
        };
    }
}

impl Drop for MysqlConnection {
    fn drop(&mut self) {
        self.close_if_idle();
    }
}
