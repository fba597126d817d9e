//! The connection of an application: the methods of `mysql_async::Conn` over a session that can be switched.
//!
//! What lives here: [`Conn`], the operations that its methods are made of, the driver's traits. What may not:
//! transactions, the connect pipeline, protocol details.

mod calls;
mod methods;
mod ops;
mod queryable;
mod result;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use mysql_async::{InfileData, OkPacket};
use wrapper_core::Result;
use wrapper_core::host::HostInfo;
use wrapper_core::plugin::Call;
use wrapper_core::session::{Current, Operation, Session};

use crate::connection::{Lent, MysqlConnection};
use crate::infile::Infile;
use crate::statement::Known;

#[cfg(any(feature = "bb8", feature = "deadpool"))]
pub(crate) use ops::Reset;
pub use result::QueryResult;

/// The connection on which a transaction was begun.
pub(crate) type Pinned = Arc<Current<MysqlConnection>>;

/// A connection to a cluster, with the methods of `mysql_async::Conn`.
///
/// When the server is lost, the session is switched to a healthy host and the call ends with a typed error; this value
/// stays usable. It implements `mysql_async::prelude::Queryable`, and `&mut Conn` is taken wherever the driver takes a
/// `ToConnection`. The methods of this type come first in a call and do more: they read whole answers before they return,
/// so that an error between two rows is an error of the call, with the library's error type. What remains the driver's
/// is said at [`Queryable`](mysql_async::prelude::Queryable#impl-Queryable-for-Conn).
///
/// # Cancellation
/// The driver cannot give an answer back that nobody has waited for. A call whose future is dropped after it has sent
/// something takes the connection with it: the next call finds it lost and switches the session. Nothing is mixed up,
/// and what was open on the connection is rolled back by the server.
pub struct Conn {
    session: Arc<Session<MysqlConnection>>,
    /// The driver's connection, while an open answer or a user of the driver's traits reads from it.
    lent: Option<Lent>,
    known: Known,
    infile: Infile,
}

impl Conn {
    pub(crate) fn new(session: Arc<Session<MysqlConnection>>) -> Self {
        Self { session, lent: None, known: Known::default(), infile: Infile::default() }
    }

    pub(crate) fn session(&self) -> &Arc<Session<MysqlConnection>> {
        &self.session
    }

    pub(crate) fn infile(&self) -> &Infile {
        &self.infile
    }

    /// Takes back what was lent; nobody can be reading any more.
    pub(crate) fn reclaim(&mut self) {
        self.lent = None;
    }

    pub(crate) fn parts(&mut self) -> (&mut Self, Option<&Pinned>) {
        (self, None)
    }

    /// Runs an operation through the chain.
    pub(crate) async fn run<O: Operation<MysqlConnection>>(
        &mut self,
        pinned: Option<&Pinned>,
        call: Call<'_>,
        operation: &O,
    ) -> Result<O::Out> {
        self.reclaim();
        match pinned {
            Some(pinned) => self.session.call_on(pinned, &call.pinned(), operation).await,
            None => self.session.call(&call, operation).await,
        }
    }

    /// The host that the session stands on, with the role that it had when the connection was opened.
    pub fn host(&self) -> HostInfo {
        self.session.load().host.clone()
    }

    /// Counts the connections of this value, from 1: it grows with every switch.
    pub fn generation(&self) -> u64 {
        self.session.load().generation
    }

    /// Whether the connection is known to be unusable: closed, broken, or leading to a demoted writer. With failover on,
    /// the next call switches the session all the same.
    pub fn is_disconnected(&self) -> bool {
        self.lent.as_ref().is_some_and(Lent::is_broken) || self.session.is_closed()
    }

    /// Ends the session: the server is told as far as that needs no waiting, and the socket is closed.
    ///
    /// # Errors
    /// None at present.
    pub async fn disconnect(mut self) -> Result<()> {
        self.reclaim();
        self.session.close();
        Ok(())
    }

    /// The server's number of the present connection, for `KILL`.
    pub fn id(&self) -> u32 {
        self.session.load().connection.facts().id
    }

    /// The version of the server, without its suffix.
    pub fn server_version(&self) -> (u16, u16, u16) {
        self.session.load().connection.facts().version
    }

    /// Whether the present connection is encrypted.
    pub fn is_secure(&self) -> bool {
        self.session.load().connection.is_secure()
    }

    fn peek<T>(&self, look: impl FnOnce(&mysql_async::Conn) -> T) -> Option<T> {
        self.session.load().connection.peek(look)
    }

    /// What the last statement has put into a column with `AUTO_INCREMENT`; `None` when it has not, or has failed.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.peek(mysql_async::Conn::last_insert_id).flatten()
    }

    /// How many rows the last statement has changed; 0 when it has failed.
    pub fn affected_rows(&self) -> u64 {
        self.peek(mysql_async::Conn::affected_rows).unwrap_or_default()
    }

    /// What the server said of the last statement; mostly empty.
    pub fn info(&self) -> Cow<'_, str> {
        Cow::Owned(self.peek(|conn| conn.info().into_owned()).unwrap_or_default())
    }

    /// How many warnings the last statement has left.
    pub fn get_warnings(&self) -> u16 {
        self.peek(mysql_async::Conn::get_warnings).unwrap_or_default()
    }

    /// The server's last answer that was no error; `None` after an error and after a switch.
    pub fn last_ok_packet(&self) -> Option<OkPacket<'static>> {
        self.peek(|conn| conn.last_ok_packet().cloned()).flatten()
    }

    /// Sets what gives the data of the next `LOAD DATA LOCAL`, once. It takes the place of one that was not used, and
    /// goes with the session through a switch until it is used; the statement itself is never repeated by the library.
    pub fn set_infile_handler<T>(&mut self, handler: T)
    where
        T: Future<Output = mysql_async::Result<InfileData>> + Send + Sync + 'static,
    {
        self.infile.set(Box::pin(handler));
    }

    /// Forgets what the session has set, but for the database in use, and rolls an open transaction back. Prepared
    /// statements are prepared again when they are used. `false` when the server is too old for it.
    ///
    /// # Errors
    /// As for any call.
    pub async fn reset(&mut self) -> Result<bool> {
        self.run(None, Call::new("reset"), &ops::Reset).await
    }

    /// Runs `call` with the driver's own connection, inside the chain. What it prepares does not survive a switch, and
    /// what it sets is not carried over; transactions are to be begun by [`start_transaction`](Self::start_transaction).
    ///
    /// ```no_run
    /// # async fn f(conn: &mut wrapper_mysql::Conn) -> wrapper_mysql::Result<()> {
    /// use wrapper_mysql::prelude::Queryable;
    /// let one: Option<u8> = conn.with_raw(|raw| raw.query_first("SELECT 1")).await?;
    /// # let _ = one; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The driver's error, classified; what the plugins made of it.
    pub async fn with_raw<T, F>(&mut self, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut mysql_async::Conn) -> BoxFuture<'c, mysql_async::Result<T>> + Send + Sync,
    {
        self.run(None, Call::new("with_raw").once(), &ops::WithRaw(call)).await
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("session", &self.session)
            .field("lent", &self.lent.is_some())
            .field("infile", &self.infile)
            .finish_non_exhaustive()
    }
}
