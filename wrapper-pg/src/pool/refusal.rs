//! The library's error as the driver's, for a trait that fixes the driver's error type.
//!
//! The driver gives no way to make one of its errors from outside. It makes them by itself when a server refuses it, so
//! this plays such a server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::DbError;
use tokio_postgres::{Config, NoTls};
use wrapper_core::{Error, ErrorKind};

/// The driver's error for `error`: the same refusal of the server where there was one, so that `code()` and
/// `as_db_error()` tell it; else one whose source is `error`, which `Error::from_driver` finds.
pub(super) async fn into_driver(error: Error) -> tokio_postgres::Error {
    let mut config = Config::new();
    // Without a user the driver would ask the system for one.
    config.user("nobody").ssl_mode(SslMode::Disable);
    loop {
        // It lets nobody in, so the first turn ends this.
        if let Err(error) = config.connect_raw(Refusing::with(&error), NoTls).await {
            return error;
        }
    }
}

/// A server that refuses whoever comes.
struct Refusing {
    answer: Vec<u8>,
    error: Error,
}

impl Refusing {
    fn with(error: &Error) -> Self {
        let refused = matches!(error.kind(), ErrorKind::Login | ErrorKind::Busy | ErrorKind::Statement);
        let answer = error.find_source::<DbError>().filter(|_| refused).map(message).unwrap_or_default();
        Self { answer, error: error.clone() }
    }
}

/// The message that a server gives this error with.
fn message(error: &DbError) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut field = |code: u8, text: &str| {
        fields.push(code);
        fields.extend_from_slice(text.as_bytes());
        fields.push(0);
    };
    field(b'S', error.severity());
    field(b'C', error.code().code());
    field(b'M', error.message());
    for (code, text) in [(b'D', error.detail()), (b'H', error.hint())] {
        if let Some(text) = text {
            field(code, text);
        }
    }
    fields.push(0);
    // The length counts itself.
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), &fields].concat()
}

impl AsyncRead for Refusing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answer.is_empty() {
            return Poll::Ready(Err(io::Error::other(self.error.clone())));
        }
        let length = self.answer.len().min(buf.remaining());
        buf.put_slice(&self.answer[..length]);
        self.answer.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Refusing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::error::SqlState;

    #[tokio::test]
    async fn the_librarys_error_is_found_in_the_drivers() {
        let error = into_driver(Error::new(ErrorKind::Timeout, "the writer was not found")).await;
        let ours = Error::from_driver(&error).unwrap();
        assert_eq!((ours.kind(), ours.message()), (ErrorKind::Timeout, "the writer was not found"));
    }

    #[tokio::test]
    async fn a_refusal_of_the_server_is_given_as_it_was() {
        let refusal = DbRefusal::of("53300", "sorry, too many clients already", "a hint").await;
        let error = Error::new(ErrorKind::Busy, "the server takes no connection now").with_source(refusal);
        // Longer than one read of a small buffer would be no matter: the driver reads on.
        let error = into_driver(error).await;
        assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{error:?}");
        let db = error.as_db_error().unwrap();
        assert_eq!((db.message(), db.hint()), ("sorry, too many clients already", Some("a hint")));
    }

    /// An error as the driver has it from a server.
    struct DbRefusal;

    impl DbRefusal {
        async fn of(code: &str, text: &str, hint: &str) -> tokio_postgres::Error {
            let fields = format!("SFATAL\0C{code}\0M{text}\0H{hint}\0\0");
            let length = u32::try_from(fields.len() + 4).unwrap();
            let answer = [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat();
            let mut config = Config::new();
            config.user("nobody").ssl_mode(SslMode::Disable);
            let server = Refusing { answer, error: Error::new(ErrorKind::Network, "over") };
            config.connect_raw(server, NoTls).await.err().unwrap()
        }
    }
}
