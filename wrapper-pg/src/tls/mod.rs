//! TLS: which mode a host gets, who shakes hands, and what a failed handshake means.
//!
//! What lives here: [`TlsSettings`] and its parts, the type-erased handshake under which every connector (rustls or
//! the user's own) looks alike. What may not: rustls itself outside `rustls_connector.rs` and its
//! parts `provider.rs` and `client_certificate.rs`, which exist with a TLS feature only.

#[cfg(feature = "_rustls")]
mod client_certificate;
#[cfg(feature = "_rustls")]
mod provider;
#[cfg(feature = "_rustls")]
mod roots;
#[cfg(feature = "_rustls")]
mod rustls_connector;
mod settings;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

pub use settings::{CryptoProvider, RootCertificates, TlsMode, TlsSettings};
pub(crate) use settings::{Plan, Tls};

use crate::stream::Wire;
use crate::tap::{Probe, Tap};

type BoxError = Box<dyn StdError + Send + Sync>;
/// Any TLS stream over our socket.
pub(crate) type TlsBox = Box<dyn TlsStream + Send + Unpin>;

/// The stream that a TLS connector of the user's gets: a socket of this library's.
#[derive(Debug)]
pub struct Socket(Tap<Wire>);

impl Socket {
    pub(crate) fn new(wire: Wire, probe: Arc<Probe>) -> Self {
        Self(Tap::new(wire, probe))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Shakes hands over a socket for the host called `name`; hides the connector's type.
pub(crate) trait Handshake: Send + Sync {
    fn connect(&self, name: &str, socket: Socket) -> BoxFuture<'static, Result<TlsBox, BoxError>>;
}

/// A connector of the driver's kind, such as `MakeRustlsConnect`, or one from another TLS crate.
struct Made<T>(T);

impl<T> Handshake for Made<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send + 'static,
{
    fn connect(&self, name: &str, socket: Socket) -> BoxFuture<'static, Result<TlsBox, BoxError>> {
        let connector = self.0.clone().make_tls_connect(name).map_err(Into::into);
        Box::pin(async move {
            let stream = connector?.connect(socket).await.map_err(Into::into)?;
            Ok(Box::new(stream) as TlsBox)
        })
    }
}

/// The handshake as the driver wants it: with the host's name in it and a tap above the encryption.
pub(crate) struct TapTls {
    handshake: Arc<dyn Handshake>,
    name: String,
    probe: Arc<Probe>,
}

impl TapTls {
    pub(crate) fn new(handshake: Arc<dyn Handshake>, name: &str, probe: Arc<Probe>) -> Self {
        Self { handshake, name: name.to_owned(), probe }
    }
}

impl fmt::Debug for TapTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TlsStream for Tap<TlsBox> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner().channel_binding()
    }
}

impl TlsConnect<Socket> for TapTls {
    type Stream = Tap<TlsBox>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Tap<TlsBox>, BoxError>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = self.handshake.connect(&self.name, socket).await?;
            self.probe.set_encrypted();
            Ok(Tap::new(stream, self.probe))
        })
    }
}

/// What to do about a handshake that failed; `None` when its own text says it all.
pub(crate) fn advice(error: &(dyn StdError + 'static), host: &str) -> Option<String> {
    #[cfg(feature = "_rustls")]
    return rustls_connector::advice(error, host);
    #[cfg(not(feature = "_rustls"))]
    {
        let _ = (error, host);
        None
    }
}
