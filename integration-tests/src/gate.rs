//! A proxy before a PostgreSQL or a MySQL-family server that counts messages and holds one back.
//!
//! What lives here: the gate. Where a message of either protocol ends is known to the private module `frame`; nothing
//! looks at a message's content. Whoever needs a client to be left exactly between two messages arms the gate with
//! [`MessageGate::hold_after`], waits until a message [is held](MessageGate::held), does what is to be done at that
//! point, and [opens](MessageGate::open) it.
//!
//! Connections are without TLS: a PostgreSQL client that asks for it is told that there is none; a MySQL client must
//! not ask. A message is, for MySQL, one packet.

mod frame;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use frame::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Whose messages are counted and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sender {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

#[derive(Debug, Default)]
struct State {
    /// Whose messages, and how many may still pass.
    plan: Option<(Sender, usize)>,
    held: bool,
    /// How many messages have passed, by sender.
    passed: [usize; 2],
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

impl Gate {
    fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits until a message of `sender` may pass.
    async fn pass(&self, sender: Sender) {
        loop {
            let mut changes = self.changes.subscribe();
            let (passes, is_news) = self.edit(|state| {
                if let Some((whose, left)) = &mut state.plan
                    && *whose == sender
                {
                    let Some(less) = left.checked_sub(1) else {
                        return (false, !std::mem::replace(&mut state.held, true));
                    };
                    *left = less;
                }
                state.passed[sender as usize] += 1;
                (true, false)
            });
            if passes {
                return;
            }
            if is_news {
                self.changed();
            }
            let _ = changes.changed().await;
        }
    }
}

/// A running gate before one server; dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct MessageGate {
    address: SocketAddr,
    gate: Arc<Gate>,
    task: JoinHandle<()>,
}

impl MessageGate {
    /// Listens on a free port of the loopback address and hands connections on to `upstream`, a PostgreSQL server. The
    /// gate is open.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::before(upstream, Protocol::Postgres).await
    }

    /// As [`start`](Self::start), before a server that speaks MySQL's protocol.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start_mysql(upstream: SocketAddr) -> io::Result<Self> {
        Self::before(upstream, Protocol::MySql).await
    }

    async fn before(upstream: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Gate::default());
        let shared = Arc::clone(&gate);
        let task = tokio::spawn(async move {
            // Owned here, so that aborting this task ends the connections with it.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    biased;
                    Some(_) = connections.join_next() => {}
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        connections.spawn(serve(client, upstream, protocol, Arc::clone(&shared)));
                    }
                }
            }
        });
        Ok(Self { address, gate, task })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `messages` messages of `sender` pass from now on, over all connections, and holds the ones after them.
    /// The other side's messages all pass.
    pub fn hold_after(&self, sender: Sender, messages: usize) {
        self.gate.edit(|state| {
            state.plan = Some((sender, messages));
            state.held = false;
        });
        self.gate.changed();
    }

    /// Lets everything pass, what is held first.
    pub fn open(&self) {
        self.gate.edit(|state| {
            state.plan = None;
            state.held = false;
        });
        self.gate.changed();
    }

    /// How many messages of `sender` have passed since the gate was started, over all connections.
    pub fn passed(&self, sender: Sender) -> usize {
        self.gate.edit(|state| state.passed[sender as usize])
    }

    /// Waits until a message is held.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn held(&self) {
        loop {
            let mut changes = self.gate.changes.subscribe();
            if self.gate.edit(|state| state.held) {
                return;
            }
            let _ = changes.changed().await;
        }
    }
}

impl Drop for MessageGate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    client: TcpStream,
    upstream: SocketAddr,
    protocol: Protocol,
    gate: Arc<Gate>,
) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut only_message = false;
    if protocol == Protocol::Postgres {
        let first = frame::startup(&mut from_client, &mut to_client).await?;
        gate.pass(Sender::Client).await;
        to_server.write_all(&first.message).await?;
        only_message = first.cancels;
    }
    let back = relay(&mut from_server, &mut to_client, protocol, &gate, Sender::Server);
    if only_message {
        return back.await;
    }
    let forth = relay(&mut from_client, &mut to_server, protocol, &gate, Sender::Client);
    tokio::try_join!(forth, back).map(|_| ())
}

/// Hands on message by message until the sender closes its end.
async fn relay(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    protocol: Protocol,
    gate: &Gate,
    sender: Sender,
) -> io::Result<()> {
    loop {
        match protocol.message(from).await {
            Ok(message) => {
                gate.pass(sender).await;
                to.write_all(&message).await?;
            }
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return to.shutdown().await,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
