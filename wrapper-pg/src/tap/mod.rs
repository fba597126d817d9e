//! The tap: reads along with the protocol above TLS, and knows from it what the driver does not tell.
//!
//! What lives here: [`Tap`], the stream that listens; [`Probe`], what it has learnt; the parsers of both directions.
//! What may not: anything that changes a byte, but for one mistake of the driver's that is kept from the server (see
//! [`Frontend::copy_end`]). A tap that meets what it does not understand turns itself off; the
//! driver, which sees the same bytes, then ends the connection.

mod backend;
mod frontend;
mod probe;
mod scanner;
#[cfg(test)]
pub(crate) mod script;
#[cfg(feature = "_fuzz")]
pub(crate) mod splits;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use backend::Backend;
use frontend::{Frontend, Opening};
pub(crate) use probe::{Mark, Parameter, Probe};
pub(crate) use scanner::Effect;

/// Where the tap stands between the first byte and the protocol proper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The first message of the client decides.
    Opening,
    /// TLS was asked for; one byte answers.
    TlsAnswer,
    /// PostgreSQL messages in both directions.
    Messages,
    /// TLS passes here, or nothing that is understood: another tap listens above, or none.
    Off,
}

/// A stream that forwards every byte and listens.
#[derive(Debug)]
pub(crate) struct Tap<S> {
    inner: S,
    probe: Arc<Probe>,
    mode: Mode,
    frontend: Frontend,
    backend: Backend,
    /// Waits for the server to answer a COPY before its end is written.
    waiting: Option<Waker>,
}

impl<S> Tap<S> {
    pub(crate) fn new(inner: S, probe: Arc<Probe>) -> Self {
        Self {
            inner,
            probe,
            mode: Mode::Opening,
            frontend: Frontend::default(),
            backend: Backend::default(),
            waiting: None,
        }
    }

    /// The stream under the tap.
    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    fn on_written(&mut self, mut bytes: &[u8]) {
        if self.mode == Mode::Opening {
            let (opening, rest) = self.frontend.open(bytes);
            bytes = rest;
            match opening {
                Opening::More => return,
                Opening::AskTls => {
                    self.mode = Mode::TlsAnswer;
                    return;
                }
                Opening::Foreign => self.mode = Mode::Off,
                Opening::Startup => self.mode = Mode::Messages,
            }
        }
        if self.mode == Mode::Messages && !self.frontend.feed(bytes, &self.probe) {
            self.mode = Mode::Off;
        }
    }

    fn on_read(&mut self, mut bytes: &[u8]) {
        if self.mode == Mode::TlsAnswer {
            let Some((answer, rest)) = bytes.split_first() else { return };
            self.mode = if *answer == b'S' { Mode::Off } else { Mode::Opening };
            bytes = rest;
        }
        if self.mode == Mode::Messages && !self.backend.feed(bytes, &self.probe) {
            self.mode = Mode::Off;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if self.mode != Mode::Off {
            self.on_read(&buf.filled()[before..]);
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.mode == Mode::Messages {
            match self.frontend.copy_end(buf) {
                None => {}
                Some(_) if self.probe.is_copying_in() => {}
                // Everything has been answered, and not by a COPY: it was refused.
                Some((0, length)) if self.probe.outstanding() == 0 => return Poll::Ready(Ok(length)),
                // A `copy_in` that was dropped before its answer: only that tells whether the end must be sent.
                Some((0, _)) => {
                    self.waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Some((at, _)) => buf = &buf[..at],
            }
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        if self.mode != Mode::Off {
            self.on_written(&buf[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
