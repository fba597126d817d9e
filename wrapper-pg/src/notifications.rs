//! Notifications and notices of a client, across switches.
//!
//! What lives here: the hub that every connection of a client feeds, its receivers, and the replay of LISTEN on a
//! switch. What may not: which channels are listened to, which is part of the session state.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Notification};
use wrapper_core::Result;
use wrapper_core::driver::{DriverConnection, downcast};
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
    /// The session was switched: what was sent meanwhile is lost. LISTENs are in force again, unless the session stands
    /// on a reader now, where PostgreSQL refuses them: then nothing comes in until a later switch leads to a writer,
    /// which takes them up again.
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

/// What PostgreSQL answers to a LISTEN during recovery.
const READ_ONLY: &str = "25006";

/// Listens to the channels of the old connection on the new one; on a reader, which refuses that, they are kept for the
/// connection after it.
async fn listen_again(old: &PgConnection, new: &PgConnection, deadline: Deadline) -> Result<()> {
    let listens = old.listens().join("; ");
    if listens.is_empty() {
        return Ok(());
    }
    match new.run_sql(&listens, deadline).await {
        Err(error) if error.sqlstate() == Some(READ_ONLY) => {
            new.remember(&listens);
            Ok(())
        }
        result => result,
    }
}

/// The adapter's part of a switch: the new connection feeds the hub and listens as the old one did; the user's hook
/// runs too.
pub(crate) struct Hook {
    pub(crate) hub: Hub,
    /// `transfer_session_state_on_switch`.
    pub(crate) transfer: bool,
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
        let ours = |connection| downcast::<PgConnection>(Arc::clone(connection)).ok();
        if let Some(new) = ours(new) {
            // Before LISTEN is replayed, so that no notification of the new connection is missed.
            self.hub.send(Message::Gap);
            self.hub.attach(&new);
        }
        if let Some(user) = &self.user {
            if user.carry(old, new, deadline).await? {
                return Ok(true);
            }
        }
        if let (Some(old), Some(new), true) = (ours(old), ours(new), self.transfer) {
            listen_again(&old, &new, deadline).await?;
        }
        Ok(false)
    }

    fn installed(&self, old: &Arc<dyn DriverConnection>, new: &Arc<dyn DriverConnection>) {
        if let Some(user) = &self.user {
            user.installed(old, new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_channel_is_made_for_the_first_receiver_only() {
        let hub = Hub::new();
        hub.send(Message::Gap);
        assert!(hub.0.get().is_none(), "an idle client pays for no buffer");
        let mut first = Notifications(hub.subscribe());
        let mut second = Notifications(hub.clone().subscribe());
        hub.send(Message::Gap);
        for receiver in [&mut first, &mut second] {
            assert!(matches!(receiver.recv().await, Some(Message::Gap)), "sent after it was made");
            assert!(receiver.0.is_empty(), "what was sent before it was made is not its business");
        }
        drop(hub);
        assert!(first.recv().await.is_none(), "the client is gone");
    }

    #[tokio::test]
    async fn a_slow_receiver_is_told_how_much_it_missed() {
        let hub = Hub::new();
        let mut slow = Notifications(hub.subscribe());
        for _ in 0..BUFFERED + 5 {
            hub.send(Message::Gap);
        }
        assert!(matches!(slow.recv().await, Some(Message::Missed(5))));
        assert!(matches!(slow.recv().await, Some(Message::Gap)));
    }
}
