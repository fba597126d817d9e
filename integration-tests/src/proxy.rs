//! A TCP proxy that misbehaves on demand.
//!
//! What lives here: accept, dial, copy, and the faults between. It knows no protocol and no cluster. Whoever
//! needs a fault places a [`FaultProxy`] before a server and switches its [`Mode`]; open connections feel the
//! switch at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What the proxy does to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Everything comes through.
    #[default]
    Pass,
    /// What the client sends stays in the proxy; answers come through.
    StallUp,
    /// What the server sends stays in the proxy; requests come through.
    StallDown,
    /// Nothing comes through; connections stay open, ends of stream are held back too.
    StallBoth,
    /// Open connections are reset at once, new ones right after they were accepted.
    Reset,
    /// The listening socket is closed, so that new connections are refused; open ones go on.
    Refuse,
    /// Everything comes through, each piece this much later, in each direction.
    Delay(Duration),
}

impl Mode {
    fn stalls(self, direction: Direction) -> bool {
        match self {
            Mode::StallBoth => true,
            Mode::StallUp => direction == Direction::Up,
            Mode::StallDown => direction == Direction::Down,
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What has gone through a proxy since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Bytes handed on to the server.
    pub bytes_up: u64,
    /// Bytes handed on to clients.
    pub bytes_down: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    open: AtomicUsize,
    up: AtomicU64,
    down: AtomicU64,
}

/// A running proxy before one server; dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    orders: watch::Sender<u64>,
    mode: watch::Sender<Mode>,
    /// The number of the last order carried out, and why the listener could not be opened for it.
    applied: watch::Receiver<(u64, Option<String>)>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on `address` (port 0 for a free one) and hands connections on to `upstream`.
    ///
    /// # Errors
    /// When `address` cannot be bound.
    pub async fn start(address: SocketAddr, upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (mode, mode_rx) = watch::channel(Mode::Pass);
        let (orders, orders_rx) = watch::channel(0);
        let (applied_tx, applied) = watch::channel((0, None));
        let counters = Arc::new(Counters::default());
        let proxy = Accept {
            address,
            upstream,
            orders: orders_rx,
            mode: mode_rx,
            applied: applied_tx,
            counters: Arc::clone(&counters),
        };
        let task = tokio::spawn(proxy.run(listener));
        Ok(Self { address, orders, mode, applied, counters, task })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Switches the mode; returns when new connections feel it (open ones feel it at once).
    ///
    /// # Errors
    /// When the address, given up under [`Mode::Refuse`], cannot be bound again.
    ///
    /// # Cancellation
    /// The switch happens whether or not the future is polled to its end.
    pub async fn set(&self, mode: Mode) -> io::Result<()> {
        let mut applied = self.applied.clone();
        self.mode.send_replace(mode);
        let mut order = 0;
        self.orders.send_modify(|last| {
            *last += 1;
            order = *last;
        });
        match applied.wait_for(|(done, _)| *done >= order).await.as_deref() {
            Ok((_, None)) => Ok(()),
            Ok((_, Some(text))) => Err(io::Error::other(text.clone())),
            Err(_) => Err(io::Error::other("the proxy has ended")),
        }
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        Stats {
            accepted: self.counters.accepted.load(Ordering::Relaxed),
            open: self.counters.open.load(Ordering::Relaxed),
            bytes_up: self.counters.up.load(Ordering::Relaxed),
            bytes_down: self.counters.down.load(Ordering::Relaxed),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Accept {
    address: SocketAddr,
    upstream: SocketAddr,
    orders: watch::Receiver<u64>,
    mode: watch::Receiver<Mode>,
    applied: watch::Sender<(u64, Option<String>)>,
    counters: Arc<Counters>,
}

impl Accept {
    async fn run(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        // Owned here, so that aborting this task ends the connections with it.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let order = *self.orders.borrow_and_update();
            let mut error = None;
            if *self.mode.borrow() == Mode::Refuse {
                listener = None;
            } else if listener.is_none() {
                match TcpListener::bind(self.address).await {
                    Ok(again) => listener = Some(again),
                    Err(e) => error = Some(format!("cannot listen on {} again: {e}", self.address)),
                }
            }
            self.applied.send_replace((order, error));
            tokio::select! {
                biased;
                changed = self.orders.changed() => if changed.is_err() { return },
                Some(_) = connections.join_next() => {}
                accepted = accept(listener.as_ref()) => match accepted {
                    Ok(client) => {
                        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
                        let open = Open::new(&self.counters);
                        connections.spawn(relay(client, self.upstream, self.mode.clone(), open));
                    }
                    // Out of file descriptors or the like: the next accept may work.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

struct Open(Arc<Counters>);

impl Open {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn relay(mut client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<Mode>, open: Open) {
    let mut server = None;
    let mut reset = mode.clone();
    let was_reset = tokio::select! {
        biased;
        _ = reset.wait_for(|m| *m == Mode::Reset) => true,
        _ = pipe(&mut client, &mut server, upstream, mode, &open.0) => false,
    };
    if was_reset {
        // With a linger time of zero, closing sends RST instead of FIN.
        let _ = client.set_zero_linger();
        if let Some(server) = &server {
            let _ = server.set_zero_linger();
        }
    }
}

async fn pipe(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    counters: &Counters,
) -> io::Result<()> {
    // A host that nothing reaches does not hear of the connection either.
    let _ = mode.wait_for(|m| !m.stalls(Direction::Up)).await;
    let server = server.insert(TcpStream::connect(upstream).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut client_read, mut client_write) = client.split();
    let (mut server_read, mut server_write) = server.split();
    let up = pump(&mut client_read, &mut server_write, Direction::Up, mode.clone(), &counters.up);
    let down = pump(&mut server_read, &mut client_write, Direction::Down, mode, &counters.down);
    tokio::try_join!(up, down).map(|_| ())
}

/// Copies one direction. Reading and writing are apart, so that a delay adds to the latency of a piece and
/// not to that of all pieces behind it; a stalled direction fills the queue, then reads no more.
async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    direction: Direction,
    mut mode: watch::Receiver<Mode>,
    count: &AtomicU64,
) -> io::Result<()> {
    let (queue, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(32);
    let read = async move {
        loop {
            let mut piece = Vec::with_capacity(16 * 1024);
            let end = from.read_buf(&mut piece).await? == 0;
            if queue.send((Instant::now(), piece)).await.is_err() || end {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((arrived, piece)) = pieces.recv().await {
            hold(&mut mode, direction, arrived).await;
            if piece.is_empty() {
                to.shutdown().await?;
            } else {
                to.write_all(&piece).await?;
                count.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|_| ())
}

/// Waits as long as the mode keeps back a piece that arrived then; a mode that ends ends the wait.
async fn hold(mode: &mut watch::Receiver<Mode>, direction: Direction, arrived: Instant) {
    loop {
        let until = match *mode.borrow_and_update() {
            Mode::Delay(delay) => Some(arrived + delay),
            m if m.stalls(direction) => None,
            _ => return,
        };
        tokio::select! {
            biased;
            changed = mode.changed() => if changed.is_err() { return },
            () = sleep_until(until) => return,
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a proxy before it.
    async fn echo() -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        FaultProxy::start("127.0.0.1:0".parse().unwrap(), upstream).await.unwrap()
    }

    async fn say(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"hello").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.map(|_| ())
    }

    async fn is_silent(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(150), stream.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn passes_and_counts() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream).await.unwrap();
        let stats = proxy.stats();
        assert_eq!((stats.accepted, stats.open, stats.bytes_up, stats.bytes_down), (1, 1, 5, 5));
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "an end of stream comes through");
        while proxy.stats().open != 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_stall_keeps_everything_and_gives_it_back() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream).await.unwrap();
        for mode in [Mode::StallUp, Mode::StallDown, Mode::StallBoth] {
            let before = proxy.stats();
            proxy.set(mode).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            assert!(is_silent(&mut stream).await, "{mode:?}");
            let up = proxy.stats().bytes_up - before.bytes_up;
            assert_eq!(up, if mode == Mode::StallDown { 5 } else { 0 }, "{mode:?}");
            proxy.set(Mode::Pass).await.unwrap();
            stream.read_exact(&mut [0; 5]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_new_connection_under_a_stall_opens_and_stays_silent() {
        let proxy = echo().await;
        proxy.set(Mode::StallBoth).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        assert!(is_silent(&mut stream).await);
        proxy.set(Mode::Pass).await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
    }

    #[tokio::test]
    async fn a_reset_ends_open_and_new_connections() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream).await.unwrap();
        proxy.set(Mode::Reset).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(next.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        proxy.set(Mode::Pass).await.unwrap();
        say(&mut TcpStream::connect(proxy.address()).await.unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn refused_connections_fail_while_open_ones_go_on() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream).await.unwrap();
        proxy.set(Mode::Refuse).await.unwrap();
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        say(&mut stream).await.unwrap();
        proxy.set(Mode::Pass).await.unwrap();
        say(&mut TcpStream::connect(proxy.address()).await.unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn a_delay_adds_to_each_piece_once() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream).await.unwrap();
        let delay = Duration::from_millis(100);
        proxy.set(Mode::Delay(delay)).await.unwrap();
        let begin = Instant::now();
        for _ in 0..10 {
            stream.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stream.read_exact(&mut [0; 10]).await.unwrap();
        let took = begin.elapsed();
        assert!(took >= 2 * delay + Duration::from_millis(90), "{took:?}");
        // Ten pieces one after another would take two seconds.
        assert!(took < Duration::from_millis(1500), "{took:?}");
    }

    #[tokio::test]
    async fn dropping_the_proxy_ends_its_connections() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream).await.unwrap();
        drop(proxy);
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)));
    }
}
