//! The socket under a connection: counts bytes, and stops at once when the connection is killed.
//!
//! What lives here: [`Wire`], over TCP or a Unix socket. What may not: protocol knowledge, TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::link::Link;

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A socket with a kill switch and byte counters.
///
/// After a kill no byte passes in either direction: a counter that did not move proves that nothing was sent.
#[derive(Debug)]
pub(crate) struct Wire {
    transport: Transport,
    link: Arc<Link>,
}

impl Wire {
    pub(crate) fn tcp(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { transport: Transport::Tcp(stream), link }
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream, link: Arc<Link>) -> Self {
        Self { transport: Transport::Unix(stream), link }
    }

    #[inline]
    fn alive(&self) -> io::Result<()> {
        if self.link.is_killed() { Err(killed()) } else { Ok(()) }
    }
}

#[cold]
fn killed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the wrapper")
}

/// Calls a method on whichever stream the transport is.
macro_rules! forward {
    ($transport:expr, $method:ident($($argument:expr),*)) => {
        match $transport {
            Transport::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Transport::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive()?;
        let before = buf.filled().len();
        ready!(forward!(&mut self.transport, poll_read(cx, buf)))?;
        self.link.count_received(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.alive()?;
        let written = ready!(forward!(&mut self.transport, poll_write(cx, buf)))?;
        self.link.count_written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive()?;
        forward!(&mut self.transport, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive()?;
        forward!(&mut self.transport, poll_shutdown(cx))
    }
}
