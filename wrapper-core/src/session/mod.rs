//! The session: the connection of one client, which can be swapped under it.
//!
//! What lives here: [`Session`], the seam through which plugins see it, switching, the flight that all callers of a
//! failed generation share. What may not: how a new host is found (plugins), what a call does (adapters).

mod call;
mod current;
mod flight;
mod seam;
mod switch;
mod waiting;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::cluster::Cluster;
use crate::driver::{DriverConnection, downcast};
use crate::env::watch;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Chain, Connected, ConnectionChange};

pub use call::Operation;
pub use current::Current;
pub use seam::{Attempt, SessionSeam};
pub use switch::{Disposal, Search, SwitchContext, SwitchHook, SwitchPlan};
pub use waiting::StreamWatch;

use flight::Flight;

/// What a session is made with.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SessionOptions {
    /// `socket_timeout`: the longest that one call may take; off by default. A call that takes longer is given up
    /// and its connection closed.
    pub socket_timeout: Option<Duration>,
    /// Whether session state is carried over on a switch (`transfer_session_state_on_switch`).
    pub transfer_state: bool,
    /// What the adapter or the user adds to a switch.
    pub hook: Option<Arc<dyn SwitchHook>>,
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("socket_timeout", &self.socket_timeout)
            .field("transfer_state", &self.transfer_state)
            .field("hook", &self.hook.is_some())
            .finish()
    }
}

/// The connection of one client, and the chain of plugins around its calls.
///
/// Every attempt loads the current connection once and owns it until it ends; a switch never tears a call. Nothing
/// here awaits before a call is sent, so that pipelines keep their order (R4).
pub struct Session<C> {
    current: ArcSwap<Current<C>>,
    chain: Arc<Chain>,
    cluster: Cluster,
    options: SessionOptions,
    flight: Mutex<Option<Flight>>,
    closed: watch::Sender<bool>,
    me: Weak<Session<C>>,
}

impl<C: DriverConnection> Session<C> {
    /// A session on a connection that the chain has opened.
    ///
    /// # Errors
    /// A typed error when the connection is another driver's.
    pub fn new(
        connected: Connected,
        chain: Arc<Chain>,
        cluster: Cluster,
        options: SessionOptions,
    ) -> Result<Arc<Self>> {
        let current = Arc::new(Current::new(
            1,
            downcast::<C>(connected.connection)?,
            connected.host,
            connected.epoch,
            &cluster,
        ));
        cluster.notify_chain(&chain);
        Ok(Arc::new_cyclic(|me| Self {
            current: ArcSwap::new(current),
            chain,
            cluster,
            options,
            flight: Mutex::new(None),
            closed: watch::Sender::new(false),
            me: Weak::clone(me),
        }))
    }

    /// The current connection; hold the guard for one attempt only.
    pub fn load(&self) -> Guard<Arc<Current<C>>> {
        self.current.load()
    }

    /// The current connection, to be pinned by a transaction or a stream.
    pub fn pin(&self) -> Arc<Current<C>> {
        self.current.load_full()
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The chain.
    pub fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// Whether the session was closed, or its connection is known to be unusable: broken, or to a demoted host.
    pub fn is_closed(&self) -> bool {
        let current = self.load();
        *self.closed.borrow() || current.connection.is_closed() || self.refusal(&current).is_err()
    }

    /// Closes the session: calls in flight and later ones end with [`ErrorKind::Closed`], a flight is ended.
    pub fn close(&self) {
        self.closed.send_replace(true);
        self.load().connection.kill(Error::new(ErrorKind::Closed, "the session was closed"));
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if *self.closed.borrow() {
            return Err(Error::new(ErrorKind::Closed, "the session was closed; connect again"));
        }
        Ok(())
    }

    /// Asks the plugins whether the connection may still be used; one atomic load when nothing has changed.
    #[inline]
    pub(crate) fn refusal(&self, current: &Current<C>) -> Result<()> {
        if !self.chain.refuses() {
            return Ok(());
        }
        let epoch = self.cluster.writer_epoch();
        if current.checked_epoch() == epoch { Ok(()) } else { self.ask_refusal(current, epoch) }
    }

    #[cold]
    fn ask_refusal(&self, current: &Current<C>, epoch: u64) -> Result<()> {
        self.chain.refuse(&current.attempt())?;
        current.set_checked_epoch(epoch);
        Ok(())
    }

    /// Puts a new connection in place of generation `expected` and disposes of the old one.
    fn install(&self, expected: u64, connected: Connected, disposal: &Disposal) -> Result<ConnectionChange> {
        let connection = downcast::<C>(connected.connection)?;
        let next =
            Arc::new(Current::new(expected + 1, connection, connected.host, connected.epoch, &self.cluster));
        let old = {
            // Every writer of `current` holds this lock, so compare and store are one step; readers take none.
            let _writers = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
            self.check_open()?;
            let old = self.current.load_full();
            if old.generation != expected {
                return Err(Error::new(
                    ErrorKind::Plugin,
                    "the session was switched by somebody else meanwhile",
                ));
            }
            self.current.store(Arc::clone(&next));
            old
        };
        match disposal {
            Disposal::Kill(reason) => old.connection.kill(reason.clone()),
            Disposal::Drain => old.connection.drain(),
        }
        let erased: Arc<dyn DriverConnection> = Arc::clone(&next.connection) as _;
        let change = ConnectionChange::new(old.host.clone(), next.host.clone(), next.generation, erased);
        if let Some(hook) = &self.options.hook {
            let old: Arc<dyn DriverConnection> = Arc::clone(&old.connection) as _;
            hook.installed(&old, &change.connection);
        }
        self.chain.connection_changed(&change);
        Ok(change)
    }
}

impl<C> Drop for Session<C> {
    fn drop(&mut self) {
        self.closed.send_replace(true);
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_struct("Session")
            .field("host", &current.host)
            .field("generation", &current.generation)
            .finish_non_exhaustive()
    }
}
