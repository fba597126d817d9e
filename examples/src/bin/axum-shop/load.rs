//! Clients of the shop: each places one order after the other over a connection of its own, until told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One connection to the shop, as plain as HTTP can be.
pub(crate) struct Http(BufReader<TcpStream>);

impl Http {
    pub(crate) async fn connect(shop: SocketAddr) -> io::Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(shop).await?)))
    }

    /// Sends a request and does not wait for the answer.
    pub(crate) async fn send(&mut self, method: &str, path: &str) -> io::Result<()> {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n");
        self.0.write_all(request.as_bytes()).await
    }

    /// Sends a request; the status and the body of the answer.
    pub(crate) async fn ask(&mut self, method: &str, path: &str) -> io::Result<(u16, String)> {
        self.send(method, path).await?;
        let unexpected = |line: &str| io::Error::new(io::ErrorKind::InvalidData, line.to_owned());
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let status =
            line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| unexpected(&line))?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).await?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(|_| unexpected(&line))?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// What the clients have seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) start: Instant,
    stop: AtomicBool,
    next: AtomicI64,
    /// Number of each order that was acknowledged, and when.
    acknowledged: Mutex<Vec<(i64, Duration)>>,
    refused: AtomicU64,
}

impl Seen {
    pub(crate) fn acknowledged(&self) -> Vec<(i64, Duration)> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests did not end with an order.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    async fn place_orders(&self, shop: SocketAddr) -> io::Result<()> {
        let mut http = Http::connect(shop).await?;
        while !self.stop.load(Ordering::SeqCst) {
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            // Until it is acknowledged: an order has a number, so it cannot be placed twice.
            while !self.stop.load(Ordering::SeqCst) {
                match http.ask("POST", &format!("/orders/{id}")).await? {
                    (200 | 201, _) => {
                        let mut acknowledged =
                            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                        acknowledged.push((id, self.start.elapsed()));
                        break;
                    }
                    _ => self.refused.fetch_add(1, Ordering::SeqCst),
                };
            }
        }
        Ok(())
    }
}

/// Clients at work.
pub(crate) struct Load {
    pub(crate) seen: Arc<Seen>,
    clients: JoinSet<io::Result<()>>,
}

impl Load {
    /// Starts `clients` of them.
    pub(crate) fn start(shop: SocketAddr, clients: usize) -> Self {
        let seen = Arc::new(Seen {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            next: AtomicI64::new(0),
            acknowledged: Mutex::default(),
            refused: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let seen = Arc::clone(&seen);
            tasks.spawn(async move { seen.place_orders(shop).await });
        }
        Self { seen, clients: tasks }
    }

    /// Lets every client finish its request.
    ///
    /// # Errors
    /// The shop hung up on a client.
    pub(crate) async fn end(mut self) -> io::Result<Arc<Seen>> {
        self.seen.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(self.seen)
    }
}
