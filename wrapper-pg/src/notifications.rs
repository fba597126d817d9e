//! Notifications and notices of a client, across switches.
//!
//! What lives here: the hub that every connection of a client feeds, and its receivers. What may not: the replay of
//! LISTEN, which is part of the session state.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Notification};
use wrapper_core::Result;
use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Deadline;
use wrapper_core::session::SwitchHook;

use crate::connection::PgConnection;

/// How many messages a receiver may be behind before it misses the oldest.
const BUFFERED: usize = 1024;

/// What comes in beside the answers to calls.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Message {
    /// A NOTIFY on a channel that the client listens to.
    Notification(Notification),
    /// A notice of the server.
    Notice(Box<DbError>),
    /// The session was switched: LISTENs are in force again, what was sent meanwhile is lost.
    Gap,
    /// The receiver was too slow and has missed this many messages.
    Missed(u64),
}

/// Feeds the receivers of one client. The channel is made for the first receiver: its buffer would be nearly all that
/// an idle client holds.
#[derive(Clone, Debug)]
pub(crate) struct Hub(Arc<OnceLock<Sender<Message>>>);

impl Hub {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    fn subscribe(&self) -> Receiver<Message> {
        self.0.get_or_init(|| channel(BUFFERED).0).subscribe()
    }

    fn send(&self, message: Message) {
        if let Some(sender) = self.0.get() {
            // Nobody listens any more: that is no error.
            let _ = sender.send(message);
        }
    }

    /// Makes `connection` feed this hub.
    pub(crate) fn attach(&self, connection: &PgConnection) {
        let hub = self.clone();
        connection.set_message_handler(Arc::new(move |message| {
            let message = match message {
                AsyncMessage::Notification(notification) => Message::Notification(notification),
                AsyncMessage::Notice(notice) => Message::Notice(Box::new(notice)),
                _ => return,
            };
            hub.send(message);
        }));
    }
}

/// The notifications and notices of a client; made by [`Client::notifications`](crate::Client::notifications).
///
/// Only what comes in after it was made. It outlives switches; a [`Message::Gap`] marks each.
#[derive(Debug)]
pub struct Notifications(Receiver<Message>);

impl Notifications {
    /// The next message; `None` once the client is gone.
    ///
    /// # Cancellation
    /// Safe: no message is lost.
    pub async fn recv(&mut self) -> Option<Message> {
        match self.0.recv().await {
            Ok(message) => Some(message),
            Err(RecvError::Lagged(missed)) => Some(Message::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl crate::Client {
    /// Follows the notifications and notices of this client from now on. Several receivers may follow at once.
    pub fn notifications(&self) -> Notifications {
        Notifications(self.hub().subscribe())
    }
}

/// The adapter's part of a switch: the new connection feeds the hub; the user's hook runs too.
pub(crate) struct Hook {
    pub(crate) hub: Hub,
    pub(crate) user: Option<Arc<dyn SwitchHook>>,
}

#[async_trait]
impl SwitchHook for Hook {
    async fn carry(
        &self,
        old: &Arc<dyn DriverConnection>,
        new: &Arc<dyn DriverConnection>,
        deadline: Deadline,
    ) -> Result<bool> {
        if let Ok(new) = wrapper_core::driver::downcast::<PgConnection>(Arc::clone(new)) {
            // Before LISTEN is replayed, so that no notification of the new connection is missed.
            self.hub.send(Message::Gap);
            self.hub.attach(&new);
        }
        match &self.user {
            Some(user) => user.carry(old, new, deadline).await,
            None => Ok(false),
        }
    }

    fn installed(&self, old: &Arc<dyn DriverConnection>, new: &Arc<dyn DriverConnection>) {
        if let Some(user) = &self.user {
            user.installed(old, new);
        }
    }
}
