//! A proxy before a PostgreSQL server that counts messages and holds one back.
//!
//! What lives here: the framing of the protocol's messages, and the gate. It looks at no message's content. Whoever
//! needs a client to be left exactly between two messages arms the gate with [`MessageGate::hold_after`], waits until
//! a message [is held](MessageGate::held), does what is to be done at that point, and [opens](MessageGate::open) it.
//!
//! Connections are without TLS: a client that asks for it is told that there is none.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Codes that stand in the place of a protocol version in a client's first message.
const CANCEL: u32 = 80_877_102;
const TLS: [u32; 2] = [80_877_103, 80_877_104];

/// Longer messages are not sent by any test; more would be a length read at a wrong place.
const LONGEST: u32 = 64 * 1024 * 1024;

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
            let (passes, is_news) = self.edit(|state| match &mut state.plan {
                Some((whose, left)) if *whose == sender => match left.checked_sub(1) {
                    Some(less) => {
                        *left = less;
                        (true, false)
                    }
                    None => (false, !std::mem::replace(&mut state.held, true)),
                },
                _ => (true, false),
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
    /// Listens on a free port of the loopback address and hands connections on to `upstream`. The gate is open.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
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
                        connections.spawn(serve(client, upstream, Arc::clone(&shared)));
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
        self.gate.edit(|state| *state = State { plan: Some((sender, messages)), held: false });
        self.gate.changed();
    }

    /// Lets everything pass, what is held first.
    pub fn open(&self) {
        self.gate.edit(|state| *state = State::default());
        self.gate.changed();
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

async fn serve(client: TcpStream, upstream: SocketAddr, gate: Arc<Gate>) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let first = loop {
            let first = frame(&mut from_client, false).await?;
            if !TLS.contains(&code(&first)) {
                break first;
            }
            to_client.write_all(b"N").await?;
        };
        gate.pass(Sender::Client).await;
        to_server.write_all(&first).await?;
        // A request to cancel has no second message; its connection ends by the server's close.
        let canceled = code(&first) == CANCEL;
        let back = relay(&mut from_server, &mut to_client, &gate, Sender::Server);
        if canceled {
            return back.await;
        }
        let forth = relay(&mut from_client, &mut to_server, &gate, Sender::Client);
        tokio::try_join!(forth, back).map(|_| ())
    };
    up.await
}

/// Hands on message by message until the sender closes its end.
async fn relay(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    gate: &Gate,
    sender: Sender,
) -> io::Result<()> {
    loop {
        match frame(from, true).await {
            Ok(message) => {
                gate.pass(sender).await;
                to.write_all(&message).await?;
            }
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return to.shutdown().await,
            Err(error) => return Err(error),
        }
    }
}

/// Reads one message: a type where there is one, the length that counts itself, the rest.
async fn frame(from: &mut OwnedReadHalf, typed: bool) -> io::Result<Vec<u8>> {
    let head = if typed { 5 } else { 4 };
    let mut message = vec![0; head];
    from.read_exact(&mut message).await?;
    let length =
        u32::from_be_bytes([message[head - 4], message[head - 3], message[head - 2], message[head - 1]]);
    if !(4..=LONGEST).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    message.resize(head + length as usize - 4, 0);
    from.read_exact(&mut message[head..]).await?;
    Ok(message)
}

/// What stands behind the length of a first message.
fn code(first: &[u8]) -> u32 {
    first.get(4..8).map_or(0, |bytes| bytes.iter().fold(0, |code, byte| code << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A server that answers each message by itself, the first one too.
    async fn echo() -> MessageGate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    frame(&mut read, false).await?;
                    loop {
                        let message = frame(&mut read, true).await?;
                        write.write_all(&message).await?;
                    }
                    #[allow(unreachable_code, reason = "says what the task gives")]
                    io::Result::Ok(())
                });
            }
        });
        MessageGate::start(upstream).await.unwrap()
    }

    async fn open(gate: &MessageGate) -> TcpStream {
        let mut stream = TcpStream::connect(gate.address()).await.unwrap();
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'N', "no TLS");
        stream.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
        stream
    }

    const MESSAGE: [u8; 7] = [b'Q', 0, 0, 0, 6, 1, 2];

    async fn answers(stream: &mut TcpStream) -> usize {
        let mut count = 0;
        let mut answer = [0; 7];
        let wait = Duration::from_millis(100);
        while let Ok(read) = tokio::time::timeout(wait, stream.read_exact(&mut answer)).await {
            read.unwrap();
            assert_eq!(answer, MESSAGE);
            count += 1;
        }
        count
    }

    #[tokio::test]
    async fn lets_as_many_messages_pass_as_it_was_told_on_either_side() {
        for sender in [Sender::Server, Sender::Client] {
            let gate = echo().await;
            let mut stream = open(&gate).await;
            stream.write_all(&MESSAGE).await.unwrap();
            assert_eq!(answers(&mut stream).await, 1);
            gate.hold_after(sender, 2);
            for _ in 0..4 {
                stream.write_all(&MESSAGE).await.unwrap();
            }
            tokio::time::timeout(Duration::from_secs(5), gate.held()).await.unwrap();
            assert_eq!(answers(&mut stream).await, 2, "{sender:?}");
            gate.open();
            assert_eq!(answers(&mut stream).await, 2, "{sender:?}");
        }
    }
}
