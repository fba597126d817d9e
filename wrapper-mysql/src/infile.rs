//! The data for `LOAD DATA LOCAL`: a handler that waits for its one use, on whichever connection that happens.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use mysql_async::{Conn, InfileData, LocalInfileError};

type Handler = Pin<Box<dyn Future<Output = mysql_async::Result<InfileData>> + Send + Sync>>;

/// The handler of one client. The driver keeps one with its connection, where a switch would lose it; here it is kept
/// until it is used, and each connection is given a way to it.
#[derive(Clone, Default)]
pub(crate) struct Infile(Arc<Mutex<Option<Handler>>>);

impl Infile {
    pub(crate) fn set(&self, handler: Handler) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    fn take(&self) -> Option<Handler> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a handler waits: a call that may use it does not run twice.
    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// To be called before each request.
    pub(crate) fn arm(&self, conn: &mut Conn) {
        if self.is_set() {
            let own = self.clone();
            conn.set_infile_handler(async move {
                match own.take() {
                    Some(handler) => handler.await,
                    None => Err(LocalInfileError::NoHandler.into()),
                }
            });
        }
    }
}

impl fmt::Debug for Infile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "set" } else { "none" })
    }
}
